"""How far a station may be from what the theorem wants before the claim goes; the two stations' limits may differ.

Each is a tolerance: a station that is off by less keeps its label however long it is watched, because a verdict falls
only when the counts are `sigma` standard deviations beyond the limit. Nothing is corrected for what is tolerated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from qkd.errors import ParameterError


class OnFailed(Enum):
    """What becomes of a block in which an assumption failed."""

    LABEL = "label"
    ABORT = "abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumptionLimits:
    """Tolerances, and what the operator declares of the station.

    Attributes:
        efficiency_ratio: of the two detectors of a basis, larger over smaller, 1 or more.
        basis_ratio: of the odds of the bases among pairs to the declared odds, larger over smaller, 1 or more.
        split_share: how far a passive analyser's share of Z may be from 1/2.
        memory: lag-1 autocorrelation of the outcomes of one basis, of either sign.
        near_share: by how much equal outcomes may be too rare or too frequent right after the dead window.
        sigma: so many standard deviations beyond a limit make a failure.
        z_share: share of Z that the analyser aims at.
        passive: True if a photon finds its basis at a beam splitter, False if the station chooses it.
        efficiencies: declared efficiency of each detector, H V D A; empty: not known, then only counts are judged.
        dead_ps: declared dead time of the slowest detector; 0: not known, then only counts are judged.
        on_failed: "label": the key is made and its label says so; "abort": no key from such a block.
    """

    efficiency_ratio: float = 1.1
    basis_ratio: float = 1.1
    split_share: float = 0.02
    memory: float = 0.01
    near_share: float = 0.05
    sigma: float = 5.0
    z_share: float = 0.5
    passive: bool = True
    efficiencies: tuple[float, ...] = ()
    dead_ps: int = 0
    on_failed: OnFailed = OnFailed.LABEL

    def __post_init__(self) -> None:
        bounds = {
            "efficiency_ratio": (1.0, 100.0),
            "basis_ratio": (1.0, 100.0),
            "split_share": (0.0, 0.5),
            "memory": (0.0, 1.0),
            "near_share": (0.0, 1.0),
            "sigma": (1.0, 20.0),
            "z_share": (0.01, 0.99),
            "dead_ps": (0, 10**12),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ParameterError(f"{name} = {getattr(self, name)} must be in {low} .. {high}")
        if self.efficiencies and len(self.efficiencies) != 4:
            raise ParameterError(
                f"efficiencies has {len(self.efficiencies)} numbers, a station has 4 detectors: H V D A"
            )
        for efficiency in self.efficiencies:
            if not 0.0 < efficiency <= 1.0:
                raise ParameterError(f"an efficiency of {efficiency} must be in (0, 1]")

    @property
    def chance(self) -> float:
        """Probability of a Gaussian more than `sigma` above its mean."""
        return 0.5 * math.erfc(self.sigma / math.sqrt(2.0))
