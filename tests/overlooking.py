"""Error correction that overlooks errors, for tests of what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qkd.bits import Bits
from qkd.exchange.steps import Steps
from qkd.randomness import SecretBits
from qkd.reconciliation import cascade
from qkd.reconciliation.frame import Frame, Reconciled
from qkd.reconciliation.methods import Roles

Places = dict[int, tuple[int, ...]]

FAST = cascade.PRESETS["fast"]


def overlooking(places: Places, frame_bits: int) -> Roles:
    """Cascade with frames of this length, as it would be if it passed over these positions of these frames.

    What was wrong there stays wrong, what was right becomes wrong; both stations count the same corrections, as they
    do when the passes and masks all miss an error.
    """

    def spoil(number: int, bits: Bits) -> Bits:
        spoilt = bits.copy()
        spoilt[list(places.get(number, ()))] ^= 1
        return spoilt

    def bob(given: Sequence[Frame], _secrets: SecretBits) -> Steps[Reconciled]:
        done = yield from cascade.bob([Frame(spoil(i, f.bits), f.qber) for i, f in enumerate(given)], FAST)
        return replace(done, strings=tuple(spoil(i, bits) for i, bits in enumerate(done.strings)))

    return Roles(lambda given, secrets: cascade.alice(given, FAST, secrets), bob, frame_bits, 1, two_way=True)


def unknowing(method: Roles) -> Roles:
    """The same method, if only Bob could know how many bits he corrected."""

    def alice(given: Sequence[Frame], secrets: SecretBits) -> Steps[Reconciled]:
        done = yield from method.alice(given, secrets)
        return replace(done, errors=np.full(len(given), -1))

    return replace(method, alice=alice)
