"""Bands of latitude: one step of one forecast on several workers.

rules.py     how each network is shared out; `domain_rule` makes another one known
bands.py     which rows are whose, and what lies beyond a band's edges
exchange.py  what bands send each other, differentiable
harmonics.py transforms of bands
whole.py     losses and constraints that need the whole globe at once
"""

from credit_ray.training.domain.bands import Bands, BandTopology, cut_topologies
from credit_ray.training.domain.exchange import Ring
from credit_ray.training.domain.rules import domain_rule, share_out

__all__ = ["BandTopology", "Bands", "Ring", "cut_topologies", "domain_rule", "share_out"]
