"""Constants of the moist atmosphere, SI units: one published set, used everywhere.

Those of ECMWF's model (IFS Documentation CY48R1, Part IV, chapter 12), which made the reanalyses that most models learn from:
the gas constants follow from R = 8.31446 J mol⁻¹ K⁻¹ and the molar masses of dry air (28.9644 g) and water (18.0153 g), and the
heat capacities of the gases from them (7⁄2 R_d, 4 R_v). The radius of the Earth is `credit_ray.grid.EARTH_RADIUS_M`.
"""

from __future__ import annotations

GRAVITY = 9.80665
"""m s⁻²."""

ROTATION_RATE = 7.292115e-5
"""Of the Earth, s⁻¹."""

DRY_AIR_GAS_CONSTANT = 287.0597
"""R_d, J kg⁻¹ K⁻¹."""

WATER_VAPOUR_GAS_CONSTANT = 461.5250
"""R_v, J kg⁻¹ K⁻¹."""

DRY_AIR_HEAT_CAPACITY = 3.5 * DRY_AIR_GAS_CONSTANT
"""c_pd, at constant pressure, J kg⁻¹ K⁻¹."""

WATER_VAPOUR_HEAT_CAPACITY = 4.0 * WATER_VAPOUR_GAS_CONSTANT
"""c_pv, at constant pressure, J kg⁻¹ K⁻¹."""

LATENT_HEAT_OF_VAPORISATION = 2.5008e6
"""L_v at 0 °C, J kg⁻¹."""

LATENT_HEAT_OF_FUSION = 0.3345e6
"""L_f at 0 °C, J kg⁻¹."""

LIQUID_WATER_DENSITY = 1000.0
"""kg m⁻³."""

SEA_WATER_DENSITY = 1035.0
"""Reference density of a Boussinesq ocean, kg m⁻³ (Griffies 2004)."""

SEA_WATER_HEAT_CAPACITY = 3991.86795711963
"""c_p⁰ of potential (conservative) temperature, J kg⁻¹ K⁻¹ (TEOS-10; IOC et al. 2010)."""
