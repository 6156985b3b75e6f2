"""The experiment config: `load_experiment` reads one, `Experiment` is one; each YAML section has a module of its own."""
