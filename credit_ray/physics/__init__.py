"""What nature obeys: budgets, the constraints that close them after each step, and diagnostics of what a state implies.

* `constraints`: the seam: `Constraint`, `Change`, `Budget`, and `Reduce`, by which sums go over devices.
* `chain.Chain`: all constraints of a model, applied in order, their budgets closed together.
* `ranges` (positive, bounds, precipitation, sea ice); `mass` (dry air, tracers); `water`; `energy`; `ocean`.
* `columns`, `fluxes`, `closure`, `current`, `rounding`: what these are made of; `arguments`: their options, free of torch.
* `constants`: one published set. `diagnostics`: tensors in, tensors out.
"""
