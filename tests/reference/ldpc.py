"""Decoding of parity checks, the obvious way: float64, logarithms of ratios, one formula a rule. The oracle of
qkd/kernels/ldpc.py, and what its approximations are judged by.

A base matrix is a list of edges (row, column, shift) of circulants of size Z: check row Z + t joins bit
column Z + (t + shift) mod Z. A layer is the Z checks of one base row: int array (Z, degree) of the bits that they join.
Positive logarithms mean 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Edge = tuple[int, int, int]
Layer = npt.NDArray[np.int64]


def layers(edges: Sequence[Edge], rows: int, lifting: int) -> list[Layer]:
    """The checks, one base row after the other."""
    made = []
    for r in range(rows):
        mine = [(c, s) for row, c, s in edges if row == r]
        made.append(np.array([[c * lifting + (t + s) % lifting for c, s in mine] for t in range(lifting)], np.int64))
    return made


def syndrome(checks: Sequence[Layer], bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Parity of each check."""
    return np.concatenate([bits[layer].sum(axis=1) % 2 for layer in checks]).astype(np.uint8)


def sum_product(x: npt.NDArray[np.float64], signs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Messages of checks, from messages of their bits, (checks, degree): 2 atanh of the product of the others' tanh."""
    tanh = np.tanh(x / 2)
    others = np.empty_like(tanh)
    for j in range(x.shape[1]):
        others[:, j] = np.delete(tanh, j, axis=1).prod(axis=1) * signs
    # 1 - 2^-53 is where a double ends; it stands for 37.4 in the logarithm.
    return 2 * np.arctanh(np.clip(others, -1 + 2.0**-53, 1 - 2.0**-53))


def min_sum(alpha: float):  # type: ignore[no-untyped-def]
    """Normalised min-sum: alpha times the least of the others' magnitudes, with the product of their signs."""

    def rule(x: npt.NDArray[np.float64], signs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        size = np.abs(x)
        sign = np.where(x < 0, -1.0, 1.0)
        order = np.sort(size, axis=1)
        least, second = order[:, :1], order[:, 1:2]
        others = np.where(size == least, np.where(least == second, least, second), least)
        return alpha * others * sign * sign.prod(axis=1, keepdims=True) * signs[:, None]

    return rule


def decode(checks, wanted, priors, limit, rule=sum_product, *, layered=True):  # type: ignore[no-untyped-def]
    """Error pattern of the wanted syndrome.

    Args:
        checks: from `layers`.
        wanted: parity of each check.
        priors: log ratio of each bit.
        limit: most iterations.
        rule: messages of checks.
        layered: each layer sees what the one before it found; else all see the beliefs of the last iteration.

    Returns:
        (bits, iterations, met, beliefs as log ratios).
    """
    belief = np.array(priors, np.float64)
    messages = [np.zeros(layer.shape) for layer in checks]
    ends = np.cumsum([0] + [layer.shape[0] for layer in checks])
    signs = 1.0 - 2.0 * np.asarray(wanted, np.float64)
    bits = (belief < 0).astype(np.uint8)
    for iteration in range(1, limit + 1):
        before = belief.copy()
        for k, layer in enumerate(checks):
            x = (belief if layered else before)[layer] - messages[k]
            new = rule(x, signs[ends[k] : ends[k + 1]])
            np.add.at(belief, layer, new - messages[k])
            messages[k] = new
        bits = (belief < 0).astype(np.uint8)
        if (syndrome(checks, bits) == wanted).all():
            return bits, iteration, True, belief
    return bits, limit, False, belief


def small_base(rows: int, columns: int, lifting: int, degree: int, seed: int) -> list[Edge]:
    """A base matrix for tests, sorted by row, then column: every column has `degree` entries, rows as even as can be,
    shifts at random but without cycles of length four as far as a hundred tries find them."""
    rng = np.random.default_rng(seed)
    filled = np.zeros(rows, np.int64)
    edges: list[Edge] = []
    seen: set[tuple[int, int, int]] = set()
    for c in range(columns):
        chosen = np.lexsort((rng.random(rows), filled))[:degree]
        filled[chosen] += 1
        for _ in range(100):
            shifts = rng.integers(0, lifting, degree)
            pairs = {
                (int(a), int(b), int((s - t) % lifting))
                for a, s in zip(chosen, shifts, strict=True)
                for b, t in zip(chosen, shifts, strict=True)
                if a < b
            }
            if not pairs & seen:
                break
        seen |= pairs
        edges += [(int(r), c, int(s)) for r, s in zip(chosen, shifts, strict=True)]
    return sorted(edges)
