"""From a frame's length and the leak it may cost to a code: which one, which positions are punctured, which shortened.

A frame takes the largest family of payload F that it fills by half, and is cut into as few pieces of equal length (to
one bit) as fit: so 50 000 bits are one piece of F = 65536, 30 000 two pieces of F = 16384. A codeword has N > F
positions. With a leak of L bits wanted for n bits, the code is the one of fewest checks m >= L; of its positions

* p = min(m - L, N - n, those that may be) are punctured: Alice puts secret random bits there, which hide p of her m
  parities, so that m - p tell of her string (Elkouss, Martinez-Mateo, Martin, arXiv 1006.2660; the leak: 1304.3367);
* N - n - p are shortened: both put zeros there;
* n hold the string.

Punctured are the first p lanes of the base columns in the order that the code names; shortened are the next ones in
that order until the code is down to F, and for n < F the rest evenly over what is left, which keeps the degrees of
the others in proportion. So both L and n may be anything, and the leak follows the error rate without steps.

When a frame turns out to have far more errors than expected, revealing values one by one is a waste: a bit at random
tells h(q) of a bit about the errors and costs one. Then the code is extended by base rows of the strongest code of
the family, which are sparse: `extend`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from qkd.errors import ParameterError
from qkd.reconciliation import codes
from qkd.reconciliation.codes import Code

Ints = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
Library = Mapping[int, tuple[Code, ...]]

SHORTEST = 8  # a code may be shortened to this part of its payload


SIZES = (16384, 65536, 262144)


class _Shipped(Mapping[int, tuple[Code, ...]]):
    """The families that come with the package, loaded when first asked for."""

    def __getitem__(self, bits: int) -> tuple[Code, ...]:
        return codes.family(bits)

    def __iter__(self) -> Iterator[int]:
        return iter(SIZES)

    def __len__(self) -> int:
        return len(SIZES)


SHIPPED: Library = _Shipped()


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """A code cut to one length and leak.

    Attributes:
        code: the mother code.
        payload: int64 (n,): positions of the codeword that hold the string.
        punctured: int64 (p,): positions with secret random bits.
        shortened: int64 (N - n - p,): positions with zeros.
    """

    code: Code
    payload: Places
    punctured: Places
    shortened: Places

    @property
    def checks(self) -> int:
        """Parities sent, m."""
        return self.code.rows * self.code.lifting

    @property
    def length(self) -> int:
        """Positions of the codeword, N."""
        return self.code.columns * self.code.lifting

    @property
    def leak_bits(self) -> int:
        """What the parities tell of the string: m - p."""
        return self.checks - self.punctured.size


def split(bits: int, sizes: Iterable[int]) -> tuple[int, list[int]]:
    """Family (its payload bits) and the lengths of the pieces for a frame; `sizes` are the families there are.

    Raises:
        ParameterError: the frame is too short for any code.
    """
    sizes = sorted(sizes)
    if bits < sizes[0] // SHORTEST:
        raise ParameterError(
            f"a frame of {bits} bits is too short for the LDPC codes, which want {sizes[0] // SHORTEST} at least",
            hint="collect larger blocks, or use Cascade, which takes any length",
        )
    family = max((size for size in sizes if bits >= size // 2), default=sizes[0])
    count = -(-bits // family)
    bounds = [bits * i // count for i in range(count + 1)]
    return family, [b - a for a, b in pairwise(bounds)]


def adapt(family: tuple[Code, ...], bits: int, leak_bits: float) -> Adapted:
    """The code for a string of this many bits that may cost that leak; more or less where the family ends."""
    able = [code for code in family if code.rows * code.lifting >= leak_bits]
    code = able[0] if able else family[-1]
    wanted = max(0, int(code.rows * code.lifting - leak_bits))
    return cut(code, bits, wanted)


@lru_cache(maxsize=16)
def cut(code: Code, bits: int, punctured: int) -> Adapted:
    """That code for a string of that many bits, with at most that many positions punctured; kept, so not to be changed.

    Raises:
        ParameterError: the code is too short for the string.
    """
    length = code.columns * code.lifting
    room = length - bits
    if room < 0:
        raise ParameterError(f"code {code.name} has {length} positions, too few for {bits} bits")
    lanes = np.arange(code.lifting, dtype=np.int64)
    order = (code.puncturable.astype(np.int64)[:, None] * code.lifting + lanes).reshape(-1)[:room]
    p = min(punctured, order.size)
    spare = max(0, min(order.size, length - code.payload_bits))
    # Beyond p, the order's lanes are shortened until the code is down to its nominal payload.
    end = max(p, spare)
    shortened = order[p:end]
    rest = np.setdiff1d(np.arange(length, dtype=np.int64), order[:end], assume_unique=True)
    kept = rest[np.arange(bits) * rest.size // bits]
    more = np.setdiff1d(rest, kept, assume_unique=True)
    return Adapted(code, kept, order[:p].copy(), np.concatenate([shortened, more]))


def spare_rows(code: Code, family: tuple[Code, ...]) -> int:
    """By how many base rows the code can be extended."""
    return _spare(code, family)[1].size


def extend(adapted: Adapted, family: tuple[Code, ...], rows: int) -> Adapted:
    """The same codeword under further parities: `rows` base rows of another code after its own.

    They come from the strongest code of the family (the second strongest, where the code is that one itself) less the
    rows that have a puncturable column. Of its R rows the first is row 0, each next one is g rows on modulo R, with g
    the integer prime to R next to 0.618 R: so any number is spread evenly. The payload columns of both codes go
    together in their order; columns, places and lifting stay.

    Args:
        adapted: not extended before.

    Raises:
        ParameterError: there are not so many.
    """
    code = adapted.code
    donor, spare = _spare(code, family)
    if not 0 <= rows <= spare.size:
        raise ParameterError(f"code {code.name} cannot be extended by {rows} rows, only by 0 .. {spare.size}")
    chosen = spare[:rows]
    edges = np.concatenate([np.zeros(0, np.int64), *(np.arange(donor.starts[r], donor.starts[r + 1]) for r in chosen)])
    column = np.zeros(donor.columns, np.int32)
    column[_payload_columns(donor)] = _payload_columns(code)
    longer = replace(
        code,
        name=f"{code.name}+{rows}",
        rows=code.rows + rows,
        starts=np.concatenate(
            [code.starts, code.starts[-1] + np.cumsum(np.diff(donor.starts)[chosen], dtype=np.int32)]
        ),
        column=np.concatenate([code.column, column[donor.column[edges]]]),
        shift=np.concatenate([code.shift, donor.shift[edges]]),
    )
    return replace(adapted, code=longer)


def _payload_columns(code: Code) -> Ints:
    return np.setdiff1d(np.arange(code.columns, dtype=np.int32), code.puncturable)


def _spare(code: Code, family: tuple[Code, ...]) -> tuple[Code, Ints]:
    """The code that lends rows, and which of them it may lend, in the order in which it does."""
    donor = family[-1] if code.name != family[-1].name or len(family) == 1 else family[-2]
    if donor.name == code.name:
        return donor, np.zeros(0, np.int32)
    row = np.repeat(np.arange(donor.rows, dtype=np.int32), np.diff(donor.starts))
    able = np.setdiff1d(np.arange(donor.rows, dtype=np.int32), row[np.isin(donor.column, donor.puncturable)])
    size = able.size
    stride = min(
        (g for g in range(1, size + 1) if math.gcd(g, size) == 1), key=lambda g: abs(g - 0.618 * size), default=1
    )
    return donor, able[np.arange(size) * stride % max(size, 1)]
