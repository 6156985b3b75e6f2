"""What the fields imply: quantities that a model does not predict, from those that it does, each with its published formula.

* `dataset.diagnose`, `dataset.on_pressure_levels`, `dataset.on_heights`, `dataset.spectrum`: xarray in, xarray out.
* `catalogue.diagnose`, `catalogue.DIAGNOSTICS`: by name, from tensors; `atmosphere.Atmosphere`: what they are computed from.
* `moist_air`: virtual temperature, relative humidity, density, potential temperature of air at a point.
* `hydrostatic`: geopotential and thickness of layers, pressure at mean sea level.
* `interpolation`: to pressure levels and heights, and under the ground.
* `wind`: speed, vorticity, divergence, spectra of kinetic energy.
* `column`: precipitable water, integrated vapour transport.
"""
