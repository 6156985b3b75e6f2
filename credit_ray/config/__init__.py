"""The experiment config: `load_experiment` reads one, `Experiment` is one; each YAML section has a module of its own.

section.py     what all sections have in common
data.py  model.py  training.py  tuning.py  forecast.py  serving.py  experiment.py
               the sections, and all of them together
loader.py      a file, those that it extends, --set and the environment → an Experiment, or everything that is wrong with it
yaml_lines.py  YAML without surprises, each value with its line
located.py     the tree of values that know where they were written
problems.py    what validation found → messages for people; words.py: types in plain words
paths.py       the paths in it, and all of them made absolute
dump.py        an Experiment → YAML, flat keys, digests
schema.py      what can be written: JSON Schema, a page to read
"""
