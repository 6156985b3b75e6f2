"""From stores to windows: `open_dataset` joins sources, `plan` decides what is read and in which order, `ingest` reads it.

store.py       arrays of a Zarr store or of NetCDF files, as they are
source.py      one store through the vocabulary: names, units, orientation, levels
derived.py     forcings that are computed from time and place
dataset.py     sources joined on their common times
plan.py        which runs are read, in which order, and which windows a step takes: pure
ingest.py      slabs through Ray Data or a thread, windows cut from them
statistics.py  moments, climatology and identity of the training period, in one pass
info.py        what a store holds, for people who do not know it yet
sample.py      weather simulated by the package itself
"""
