"""What a violation of the CHSH inequality does not rule out by itself, said next to every S.

Only photons that both stations detected are counted on a fibre or free-space link. Then S speaks of those photons
alone, and a claim about all of them assumes fair sampling. Nothing in time tags shows that the other loopholes are
closed either: they are closed by the way an experiment is laid out, so they count as open until its owner says so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from qkd.errors import ParameterError

SYMMETRIC_LIMIT = 0.8284
"""Efficiency of both sides above which a maximally entangled state closes the detection loophole of CHSH: 2 sqrt2 - 2
(Mermin 1986; Garg and Mermin, Phys. Rev. D 35, 3831 (1987))."""
EBERHARD_LIMIT = 2.0 / 3.0
"""The same for the best two-qubit state, without background (Eberhard, Phys. Rev. A 47, R747 (1993))."""


class Loophole(Enum):
    """Ways in which a local model can show S > 2."""

    FAIR_SAMPLING = "fair sampling"
    LOCALITY = "locality"
    FREEDOM_OF_CHOICE = "freedom of choice"
    COINCIDENCE_TIME = "coincidence time"


_OPEN = {
    Loophole.FAIR_SAMPLING: "pairs of which a photon was lost are not counted; S holds for detected pairs only",
    Loophole.LOCALITY: "nothing shows that a setting cannot be known at the other side before its outcome",
    Loophole.FREEDOM_OF_CHOICE: "nothing shows that the source knows nothing of the settings; passive analysers choose "
    "by the photon itself",
    Loophole.COINCIDENCE_TIME: "pairs were found by a moving window; a delay that depends on the setting chooses them "
    "(Larsson and Gill 2004)",
}


@dataclass(frozen=True, slots=True)
class LoopholeState:
    """One loophole, whether it is open, and why."""

    loophole: Loophole
    is_open: bool
    why: str


def statement(
    closed: Collection[Loophole] = (), heralding: tuple[float, float] | None = None
) -> tuple[LoopholeState, ...]:
    """Each loophole with its state, in the order of `Loophole`.

    Args:
        closed: those that the owner of the experiment declares closed.
        heralding: coincidences over singles of the other side, of Alice and of Bob, where they are known.

    Raises:
        ParameterError: an efficiency is not in 0 .. 1.
    """
    return tuple(
        LoopholeState(loophole, False, "declared closed, not checked here")
        if loophole in closed
        else LoopholeState(loophole, True, _why(loophole, heralding))
        for loophole in Loophole
    )


def _why(loophole: Loophole, heralding: tuple[float, float] | None) -> str:
    if loophole is not Loophole.FAIR_SAMPLING or heralding is None:
        return _OPEN[loophole]
    for name, value in zip(("heralding_a", "heralding_b"), heralding, strict=True):
        if not 0.0 <= value <= 1.0:
            raise ParameterError(f"{name} = {value} must be in 0 .. 1")
    least = min(heralding)
    against = "below" if least < EBERHARD_LIMIT else "not below" if least >= SYMMETRIC_LIMIT else "between"
    limits = f"{EBERHARD_LIMIT:.1%} (Eberhard) and {SYMMETRIC_LIMIT:.1%} (CHSH, maximally entangled)"
    return f"{_OPEN[loophole]}; heralding {heralding[0]:.3g} and {heralding[1]:.3g}, {against} the limits {limits}"


def label(states: Collection[LoopholeState]) -> str:
    """What S may be called: post-selected coincidences are never device-independent."""
    still_open = [state.loophole for state in states if state.is_open]
    if Loophole.FAIR_SAMPLING in still_open:
        return "device-dependent (fair sampling assumed)"
    if still_open:
        return "violation of local realism, but for: " + ", ".join(loophole.value for loophole in still_open)
    return "violation of local realism, all loopholes declared closed"
