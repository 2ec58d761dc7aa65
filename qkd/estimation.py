"""Error estimation: a small public sample of each basis sizes the error correction and stops a hopeless block early.

The sample leaves the key. It does not carry the security claim: after error correction both sides know every error
of the block, and those counts (sample included) enter the finite-key bound.

Positions: the sample of a string of n bits are the first s entries of `expand_permutation(seed, "sample/z", n)`
(or ".../x"), s = max(ceil(fraction * n), min(n // 4, 200)), sorted ascending.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from distribution.states import Basis
from qkd.bits import Bits, pack, unpack
from qkd.errors import KeyTooShort, QberTooHigh
from qkd.exchange.messages import SampleAnswer, SampleRequest
from qkd.exchange.steps import Steps, receive, send
from qkd.randomness import SEED_BYTES, SecretBits, expand_permutation
from qkd.session import SessionParameters
from qkd.sifting import SiftedBlock

LEAST_SAMPLE = 200


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
        return self.errors_z / self.sample_z

    @property
    def qber_x(self) -> float:
        """Sample error rate in X."""
        return self.errors_x / self.sample_x


def sample_size(bits: int, fraction: float) -> int:
    """How many of `bits` are revealed: a share, but at least 200 where a quarter allows it."""
    return max(math.ceil(fraction * bits), min(bits // 4, LEAST_SAMPLE))


def alice(block: SiftedBlock, params: SessionParameters, secrets: SecretBits) -> Steps[Estimate]:
    """Alice's part: draw the positions, show her bits, read Bob's.

    Raises:
        KeyTooShort: a basis has no bits. QberTooHigh: the sample is significantly above the limit.
    """
    _check_size(block, params)
    seed = secrets.take_bytes(SEED_BYTES)
    picked = _positions(block, params, seed)
    mine = _sampled(block, picked)
    yield from send(SampleRequest(seed, pack(mine[0]), pack(mine[1])))
    answer = yield from receive(SampleAnswer)
    theirs = (unpack(answer.bits_z, mine[0].size), unpack(answer.bits_x, mine[1].size))
    return _judge(block, params, picked, mine, theirs)


def bob(block: SiftedBlock, params: SessionParameters) -> Steps[Estimate]:
    """Bob's part: the mirror image; raises the same."""
    _check_size(block, params)
    request = yield from receive(SampleRequest)
    picked = _positions(block, params, request.seed)
    mine = _sampled(block, picked)
    theirs = (unpack(request.bits_z, mine[0].size), unpack(request.bits_x, mine[1].size))
    yield from send(SampleAnswer(pack(mine[0]), pack(mine[1])))
    return _judge(block, params, picked, mine, theirs)


Positions = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _check_size(block: SiftedBlock, params: SessionParameters) -> None:
    smaller = min(block.of(Basis.Z).size, block.of(Basis.X).size)
    if len(block) < params.least_block_bits or smaller < 4:
        raise KeyTooShort(0, len(block), params.least_block_bits)


def _positions(block: SiftedBlock, params: SessionParameters, seed: bytes) -> Positions:
    def one(basis: Basis) -> npt.NDArray[np.int64]:
        size = block.of(basis).size
        order = expand_permutation(seed, f"sample/{basis.name.lower()}", size)
        return np.sort(order[: sample_size(size, params.sample_fraction)]).astype(np.int64)

    return one(Basis.Z), one(Basis.X)


def _sampled(block: SiftedBlock, picked: Positions) -> tuple[Bits, Bits]:
    return block.of(Basis.Z)[picked[0]], block.of(Basis.X)[picked[1]]


def _judge(
    block: SiftedBlock, params: SessionParameters, picked: Positions, mine: tuple[Bits, Bits], theirs: tuple[Bits, Bits]
) -> Estimate:
    wrong_z, wrong_x = (int(np.count_nonzero(a != b)) for a, b in zip(mine, theirs, strict=True))
    found = Estimate(
        np.delete(block.of(Basis.Z), picked[0]),
        np.delete(block.of(Basis.X), picked[1]),
        mine[0].size,
        mine[1].size,
        wrong_z,
        wrong_x,
    )
    limit = params.qber_limit
    for qber, size in ((found.qber_z, found.sample_z), (found.qber_x, found.sample_x)):
        # Three standard deviations of leeway: the exact count is judged again after error correction.
        if qber > limit + 3.0 * math.sqrt(limit * (1.0 - limit) / size):
            raise QberTooHigh(found.qber_z, found.qber_x, limit)
    return found


def check_counts(qber_z: float, qber_x: float, limit: float) -> None:
    """Judge the exact error rates after error correction.

    Raises:
        QberTooHigh: either basis is above the limit.
    """
    if max(qber_z, qber_x) > limit:
        raise QberTooHigh(qber_z, qber_x, limit)
