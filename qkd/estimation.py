"""Error estimation: a small public sample of each basis sizes the error correction and stops a hopeless block early.

The sample leaves the key. It does not carry the security claim: after error correction both sides know every error
of the block, and those counts (sample included) enter the finite-key bound.

Positions: the sample of a string of n bits are the last s entries of `expand_permutation(seed, "sample/z", n)` (or
".../x"), s = max(ceil(fraction * n), min(n // 4, 200)), sorted ascending. The last ones, because the shuffle comes to
them first and can stop there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qkd.bits import Bits, pack, unpack
from qkd.errors import KeyTooShort, QberTooHigh, RemoteProtocolError
from qkd.exchange.messages import SampleAnswer, SampleRequest
from qkd.exchange.steps import Steps, receive, send
from qkd.kernels.split import leave_out
from qkd.protocols import settings_of
from qkd.randomness import SEED_BYTES, SecretBits, expand_sample
from qkd.session import SessionParameters
from qkd.sifting import SiftedBlock

LEAST_SAMPLE = 200
LEAST_BASIS = 4  # bits of a basis from which a quarter can be shown


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the sample said, and the bits that remain.

    Attributes:
        z, x: remaining bits of each basis.
        sample_z, sample_x: sizes of the samples; errors_z, errors_x: differing bits in them.
    """

    z: Bits = field(repr=False)
    x: Bits = field(repr=False)
    sample_z: int
    sample_x: int
    errors_z: int
    errors_x: int

    @property
    def qber_z(self) -> float:
        """Sample error rate in Z."""
        return self.errors_z / self.sample_z if self.sample_z else 0.0

    @property
    def qber_x(self) -> float:
        """Sample error rate in X."""
        return self.errors_x / self.sample_x if self.sample_x else 0.0


def sample_size(bits: int, fraction: float) -> int:
    """How many of `bits` are revealed: a share, but at least 200 where a quarter allows it."""
    return max(math.ceil(fraction * bits), min(bits // 4, LEAST_SAMPLE))


def alice(block: SiftedBlock, params: SessionParameters, secrets: SecretBits) -> Steps[Estimate]:
    """Alice's part: draw the positions, show her bits, read Bob's.

    Raises:
        KeyTooShort: a basis has no bits. QberTooHigh: the sample is significantly above the limit.
    """
    z, x = _strings(block, params)
    seed = secrets.take_bytes(SEED_BYTES)
    at_z, at_x = _positions(z, "z", params, seed), _positions(x, "x", params, seed)
    yield from send(SampleRequest(seed, pack(z[at_z]), pack(x[at_x])))
    answer = yield from receive(SampleAnswer)
    wrong_z, wrong_x = _differing(z[at_z], answer.bits_z), _differing(x[at_x], answer.bits_x)
    return _judge(_without(z, at_z), _without(x, at_x), (at_z.size, at_x.size), (wrong_z, wrong_x), params)


def bob(block: SiftedBlock, params: SessionParameters) -> Steps[Estimate]:
    """Bob's part: the mirror image; raises the same, and RemoteProtocolError for a seed of another length."""
    z, x = _strings(block, params)
    request = yield from receive(SampleRequest)
    if len(request.seed) != SEED_BYTES:
        raise RemoteProtocolError(f"a seed has {SEED_BYTES} bytes, the peer sent {len(request.seed)}")
    at_z, at_x = _positions(z, "z", params, request.seed), _positions(x, "x", params, request.seed)
    wrong_z, wrong_x = _differing(z[at_z], request.bits_z), _differing(x[at_x], request.bits_x)
    yield from send(SampleAnswer(pack(z[at_z]), pack(x[at_x])))
    return _judge(_without(z, at_z), _without(x, at_x), (at_z.size, at_x.size), (wrong_z, wrong_x), params)


def _strings(block: SiftedBlock, params: SessionParameters) -> tuple[Bits, Bits]:
    """The bits of each basis, if there are enough of both; X is empty where the protocol makes one string only.

    Nothing is known of the errors yet, so the least size named is that of the rule which is broken: the session's, or
    four bits of the shorter basis in blocks with this one's shares (four at least of the one that has none).
    """
    z, x = block.strings()
    single = len(settings_of(params.protocol).keys) == 1
    shorter = z.size if single else min(z.size, x.size)
    if len(block) < params.least_block_bits or shorter < LEAST_BASIS:
        larger = -(-len(block) * LEAST_BASIS // max(shorter, 1))
        raise KeyTooShort(0, len(block), max(params.least_block_bits, larger))
    return z, x


def _positions(bits: Bits, basis: str, params: SessionParameters, seed: bytes) -> npt.NDArray[np.int64]:
    if not bits.size:
        return np.empty(0, np.int64)
    return expand_sample(seed, f"sample/{basis}", bits.size, sample_size(bits.size, params.sample_fraction))


def _without(bits: Bits, places: npt.NDArray[np.int64]) -> Bits:
    """What remains of a string without the bits at some places, ascending."""
    rest = np.empty(bits.size - places.size, np.uint8)
    leave_out(bits, places, rest)
    return rest


def _differing(mine: Bits, theirs: bytes) -> int:
    return int(np.count_nonzero(mine != unpack(theirs, mine.size)))


def _judge(z: Bits, x: Bits, sample: tuple[int, int], errors: tuple[int, int], params: SessionParameters) -> Estimate:
    found = Estimate(z, x, *sample, *errors)
    limit = params.qber_limit
    for qber, size in ((found.qber_z, found.sample_z), (found.qber_x, found.sample_x)):
        # Three standard deviations of leeway: the exact count is judged again after error correction.
        if size and qber > limit + 3.0 * math.sqrt(limit * (1.0 - limit) / size):
            raise QberTooHigh(found.qber_z, found.qber_x, limit)
    return found


def check_counts(qber_z: float, qber_x: float, limit: float) -> None:
    """Judge the exact error rates after error correction.

    Raises:
        QberTooHigh: either basis is above the limit.
    """
    if max(qber_z, qber_x) > limit:
        raise QberTooHigh(qber_z, qber_x, limit)
