"""Post-steps that smooth or stir: constraints by their seam, registered under the names in a config.

* `arguments`: the arguments of each, free of torch.
* `selection`: which channels a filter is of: scalars, and pairs that are a wind.
* `hyperdiffusion.Hyperdiffusion` (`hyperdiffusion`): scale-selective damping by spherical harmonics.
* `polar.PolarFilter` (`polar_filter`): short waves along the converging meridians.
* `wind_artefacts.WindArtefactFilter` (`wind_artefact_filter`): smooths winds around speeds that nature does not reach.
* `backscatter.Backscatter` (`skebs`): stochastic kinetic-energy backscatter.
"""
