"""How fast privacy amplification hashes, by each way this machine has, beside others' exact and inexact products.

A speed is input bits over processor time of one core, the best of several whole hashes: bits in as bytes, key out as
bytes. The references compute the same key from the same bits, and theirs is compared with ours before it is timed:
scipy.fft, the convolution that anybody would write first (floating point; whether every bit came out right at this
size is stated), and python-flint's polynomials over GF(2) where that package is installed (the product alone, its
input built beforehand).
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

from qkd import gf2product, toeplitz
from qkd.benchmarks.result import Row
from qkd.bits import Bits
from qkd.errors import ParameterError
from qkd.kernels import gf64steps

LEAST_BITS, MOST_BITS = 1_000, 200_000_000
# Work beyond which one call is enough, and how many calls at most, s.
_LONG_S, _MOST_CALLS = 2.0, 25
# Above, the references take minutes and gigabytes.
_MOST_REFERENCE_BITS = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySpeed:
    """One size.

    Attributes:
        method: what a hash of this size uses on this machine.
        carryless_bits: width of the carry-less products it may use; 0 for none.
        mbit_per_s: input of the whole hash, one core.
        reference_mbit_per_s: of scipy.fft in the same run; None where the size is beyond it.
        rows: every way measured.
    """

    method: str
    carryless_bits: int
    mbit_per_s: float
    reference_mbit_per_s: float | None
    rows: tuple[Row, ...]

    def fields(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "method": self.method,
            "carryless_bits": self.carryless_bits,
            "mbit_per_s": self.mbit_per_s,
            "reference_mbit_per_s": self.reference_mbit_per_s,
            "rows": [row.fields() for row in self.rows],
        }


def measure(bits: int = 1_000_000, ratio: float = 0.5, seed: int = 1) -> PrivacySpeed:
    """Hash `bits` bits to `ratio` times as many, by every way there is.

    Args:
        bits: input.
        ratio: output over input, 0 < ratio < 1.
        seed: of input and seed bits.

    Raises:
        ParameterError: an argument out of its range.
    """
    length = round(bits * ratio)
    if not LEAST_BITS <= bits <= MOST_BITS or not 0 < length < bits:
        raise ParameterError(
            f"{bits} bits to a share of {ratio}: nothing to measure",
            hint=f"{LEAST_BITS} <= bits <= {MOST_BITS} and at least one bit in each part",
        )
    rng = np.random.default_rng(seed)
    text, drawn = (rng.integers(0, 2, n, dtype=np.uint8) for n in (bits, toeplitz.seed_length(bits)))
    key = toeplitz.hash_bits(text, length, drawn)
    speed, calls = _speed(lambda: toeplitz.hash_bits(text, length, drawn), bits)
    rows = [Row(case="hash", value=speed, unit="Mbit/s", details={"calls": calls})]
    rows += _ours(text, length, drawn, key)
    others = _others(text, length, drawn, key) if bits <= _MOST_REFERENCE_BITS else []
    reference = next((row.value for row in others if row.case == _SCIPY), None)
    return PrivacySpeed(
        method=str(toeplitz.method(bits, length)),
        carryless_bits=gf64steps.WIDTH,
        mbit_per_s=speed,
        reference_mbit_per_s=reference,
        rows=tuple(
            Row(
                case=row.case,
                value=row.value,
                unit=row.unit,
                reference=reference,
                against=_SCIPY if reference else "",
                details=row.details,
            )
            for row in (*rows, *others)
        ),
    )


def absent() -> tuple[str, ...]:
    """References that are not installed."""
    return () if importlib.util.find_spec("flint") else (_FLINT,)


_SCIPY = "scipy.fft, float64"
_FLINT = "python-flint, nmod_poly modulo 2"


def _speed(work: Callable[[], object], bits: int) -> tuple[float, int]:
    """(Mbit/s of the best call, calls)."""
    spent: list[float] = []
    while not spent or (len(spent) < _MOST_CALLS and sum(spent) < _LONG_S):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return bits / min(spent) * 1e-6, len(spent)


def _ours(text: Bits, length: int, drawn: Bits, key: Bits) -> list[Row]:
    """Each way by itself, forced."""
    late = text[length:][::-1]
    tiling = toeplitz._tiling(late.size, length)

    def carryless() -> Bits:
        output = text[:length].copy()
        gf2product.add_windows(output, late, drawn)
        return output

    def portable() -> Bits:
        output = text[:length].copy()
        toeplitz._add_by_transform(output, late, drawn, tiling)
        return output

    ways: dict[str, Callable[[], Bits]] = {str(toeplitz.Method.NUMBER_THEORETIC): portable}
    if gf2product.available():
        ways[str(toeplitz.Method.CARRYLESS)] = carryless
    return [_compared(case, way, key, text.size) for case, way in ways.items()]


def _others(text: Bits, length: int, drawn: Bits, key: Bits) -> list[Row]:
    rest = text[length:]
    points = scipy.fft.next_fast_len(text.size, real=True)

    def by_scipy() -> Bits:
        # Sum i, of seed bits i + j and input bits n - 1 - j, stands at n - length - 1 + i; what wraps falls below.
        spectrum = scipy.fft.rfft(drawn.astype(float), points) * scipy.fft.rfft(rest.astype(float), points)
        sums = scipy.fft.irfft(spectrum, points)[rest.size - 1 : rest.size - 1 + length]
        return text[:length] ^ (np.rint(sums).astype(np.int64) & 1).astype(np.uint8)

    rows = [_compared(_SCIPY, by_scipy, key, text.size)]
    if not absent():
        polynomial = importlib.import_module("flint").nmod_poly
        a, b = polynomial(drawn.tolist(), 2), polynomial(rest.tolist(), 2)
        coefficients = (a * b).coeffs()
        coefficients += [0] * (text.size + rest.size - len(coefficients))
        sums = np.array([int(c) for c in coefficients[rest.size - 1 : rest.size - 1 + length]], np.uint8)
        wrong = int(np.count_nonzero((text[:length] ^ sums) != key))
        speed, calls = _speed(lambda: a * b, text.size)
        rows.append(Row(case=_FLINT, value=speed, unit="Mbit/s", details={"wrong_bits": wrong, "calls": calls}))
    return rows


def _compared(case: str, way: Callable[[], Bits], key: Bits, bits: int) -> Row:
    wrong = int(np.count_nonzero(way() != key))
    speed, calls = _speed(way, bits)
    return Row(case=case, value=speed, unit="Mbit/s", details={"wrong_bits": wrong, "calls": calls})
