"""From stores to windows: `open_dataset` joins sources, `plan` decides what is read and in which order, `ingest` reads it.

store.py       a URL → arrays as they are: zarr_store.py, netcdf_store.py, series_store.py, and what they share in arrays.py;
               transport.py says who makes the requests, patience.py for how long, access.py what may be said of it
source.py      one store through the vocabulary; axes.py finds its coordinates, time_axis.py its times, locate.py its variables;
               meaning.py says what their numbers mean, units.py their scale
layer.py       sources over sources: missing.py bridges and fills, intervals.py adds up, regridded.py changes the grid, timing.py the times
derived.py     forcings that are computed from time and place
dataset.py     sources joined on one grid, calendar and time axis, by join.py
plan.py        which runs are read, in which order, and which windows a step takes: pure; runs.py cuts them
ingest.py      slabs through Ray Data (slab_source.py) or a thread, windows cut from them
statistics.py  moments, climatology and identity of the training period, in one_pass.py, by the algebra of moments.py
info.py        what a store holds, before anything is configured
rechunk.py     a store written anew as training reads it best: rechunk_layout.py says how, rechunk_target.py how far it is
ahead.py       what is asked for next is read meanwhile
sample.py      weather simulated by the package itself, in shallow_water.py; speedy.py: the moist atmosphere of speedy_model.py
"""
