"""What a forecast is judged by in training: one file for each family, and the weights by place and channel.

* `loss.Loss`: the seam; `build.build_loss`: from the config to a loss.
* `pointwise`: mse, mae, huber, log_cosh. `ensemble`: crps, energy_score. `spectral`: spectral, power_spectrum, adjusted_mse.
* `combined`: sum. `learnable.LearnableWeights`: scales of the channels that are learnt along.
* `weights`: by place; `channels`: by variable, level and variance.
"""
