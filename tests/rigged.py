"""A method of error correction whose every figure is known beforehand, for tests of what measures methods.

Alice tells Bob her strings outside the line. On it they say two messages, one, and one: two rounds of Alice's, one of
Bob's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qkd.benchmarks.methods import Method
from qkd.bits import Bits
from qkd.errors import ReconciliationFailed
from qkd.exchange.messages import CascadeStart, Parities, ParityDifferences
from qkd.exchange.steps import Steps, receive, send
from qkd.randomness import SecretBits
from qkd.reconciliation.efficiency import shannon_limit_bits
from qkd.reconciliation.frame import Frame, Reconciled
from qkd.reconciliation.ledger import Ledger

SAID = (CascadeStart(bytes(32)), Parities(bytes(5)), ParityDifferences(bytes(7)), Parities(bytes(11)))


@dataclass(frozen=True, slots=True)
class Rigged:
    """What goes wrong.

    Attributes:
        leave: the last so many frames of a batch are left as they are.
        quit_below: a batch of fewer frames gives up.
        jump_at: estimates above disclose 1.2 n h(q), those below 1.1.
    """

    leave: int = 0
    quit_below: int = 0
    jump_at: float = 1.0


PRESETS = {
    "plain": Rigged(),
    "leaves-one": Rigged(leave=1),
    "quits-below-4": Rigged(quit_below=4),
    "jumps": Rigged(jump_at=0.05),
}
_hers: list[list[Bits]] = []


def rigged() -> Method:
    """The entry for `qkd.benchmarks.methods.METHODS`."""
    return Method(PRESETS, _alice, _bob)


def leak_bits(frame: Frame, preset: Rigged) -> int:
    """What it says it disclosed."""
    return round((1.2 if frame.qber > preset.jump_at else 1.1) * shannon_limit_bits(frame.bits.size, frame.qber))


def _alice(frames: Sequence[Frame], preset: Rigged, _secrets: SecretBits) -> Steps[Reconciled]:
    _hers.append([frame.bits for frame in frames])
    yield from send(SAID[0])
    yield from send(SAID[1])
    yield from receive(ParityDifferences)
    yield from send(SAID[3])
    return _result(frames, preset, tuple(frame.bits for frame in frames))


def _bob(frames: Sequence[Frame], preset: Rigged, _secrets: SecretBits) -> Steps[Reconciled]:
    yield from receive(CascadeStart)
    yield from receive(Parities)
    if len(frames) < preset.quit_below:
        raise ReconciliationFailed("rigged to fail")
    yield from send(SAID[2])
    yield from receive(Parities)
    done, kept = len(frames) - preset.leave, [frame.bits for frame in frames]
    return _result(frames, preset, (*_hers.pop()[:done], *kept[done:]))


def _result(frames: Sequence[Frame], preset: Rigged, strings: tuple[Bits, ...]) -> Reconciled:
    leak = np.array([leak_bits(frame, preset) for frame in frames], np.int64)
    return Reconciled(strings, Ledger(leak, leak), np.zeros(len(frames), np.int64), 2)
