"""What fluxes are like on Earth: enough to see a wrong sign, or a wrong length of accumulation, before training starts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from credit_ray.physics.fluxes import Term

# Global means over any season, positive as the variable is; W m⁻² after Wild et al. 2015 (doi:10.1007/s00382-014-2430-z), mm/day
# after Trenberth et al. 2007 (doi:10.1175/JHM600.1), each with room for models and for single days.
_USUAL = {
    "tsr": (190, 290),
    "ttr": (-290, -190),
    "ssr": (110, 220),
    "str": (-100, -25),
    "sshf": (-50, -5),
    "slhf": (-140, -45),
    "rsdt": (310, 375),
    "rsut": (65, 145),
    "rlut": (190, 290),
    "rsds": (130, 250),
    "rsus": (10, 60),
    "rlds": (270, 410),
    "rlus": (330, 460),
    "hfss": (5, 50),
    "hfls": (45, 140),
    "tp": (1, 6),
    "pr": (1, 6),
    "e": (-6, -1),
    "evspsbl": (1, 6),
}


def implausible_fluxes(
    kind: str, terms: Sequence[Term], amounts: Sequence[Tensor], per_unit: float | None, units: str
) -> list[str]:
    """What is unlike the Earth in a step's amounts over the globe.

    Parameters
    ----------
    amounts : sequence of Tensor
        [trajectory], one for each term, positive into the budget.
    per_unit : float, optional
        From an amount to a global mean in `units`; None where steps differ in length.
    """
    found: list[str] = []
    if per_unit is None:
        return found
    for term, amount in zip(terms, amounts, strict=True):
        if term.channel not in _USUAL:
            continue
        mean, (low, high) = float(amount.mean()) * per_unit * term.sign, _USUAL[term.channel]
        if low <= mean <= high:
            continue
        what = "its sign is wrong" if low <= -mean <= high else "its units, or what it is accumulated over, are wrong"
        found.append(
            f"'{kind}': '{term.channel}' has a global mean of {mean:.3g} {units} in the data, where {low:g} to {high:g} is usual: {what} in the "
            "store. The source can say better: 'units:', 'positive:'."
        )
    return found
