"""Syndromes and the decoder against the float64 reference: same beliefs, same decisions, same iterations."""

from __future__ import annotations

import numpy as np
import pytest

from qkd.kernels import ldpc as kernels
from qkd.reconciliation.codes import Code
from tests.reference import ldpc as reference
from tests.small_codes import checks_of, small_code

CODES = [small_code(), small_code(6, 20, 7, extra=0, seed=3), small_code(10, 20, 32, extra=3, seed=4)]


def syndrome(code: Code, bits: np.ndarray) -> np.ndarray:
    out = np.full(code.rows * code.lifting, 9, np.uint8)
    kernels.syndrome(code.starts, code.column, code.shift, code.lifting, bits, out)
    return out


class State:
    """What `decode` carries on."""

    def __init__(self, code: Code, wanted: np.ndarray, priors: np.ndarray) -> None:
        self.code = code
        self.signs = (1 - 2 * wanted.astype(np.float32)).astype(np.float32)
        self.belief = np.empty((code.columns, 2 * code.lifting), np.float32)
        self.belief[:, : code.lifting] = priors.reshape(code.columns, -1)
        self.at = np.zeros(code.columns, np.int32)
        self.inverse = np.ones(code.column.size * code.lifting, np.float32)
        self.bits = np.empty(code.columns * code.lifting, np.uint8)

    def run(self, limit: int, patience: int = 1000) -> int:
        c = self.code
        belief = self.belief.reshape(-1)
        return kernels.decode(
            c.starts, c.column, c.shift, c.lifting, self.signs,
            belief, self.at, self.inverse, limit, patience, self.bits,
        )  # fmt: skip

    def ratios(self) -> np.ndarray:
        """Beliefs by position."""
        z = self.code.lifting
        lane = np.arange(z)
        return np.array(
            [row[np.where(lane < at, lane + z, lane)] for row, at in zip(self.belief, self.at.tolist(), strict=True)]
        ).reshape(-1)


def pattern(code: Code, qber: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random error pattern, its punctured columns wholly random, and the priors that go with it."""
    rng = np.random.default_rng(seed)
    bits = (rng.random(code.columns * code.lifting) < qber).astype(np.uint8)
    priors = np.full(bits.size, (1 - qber) / qber, np.float32)
    for c in code.puncturable:
        place = slice(c * code.lifting, (c + 1) * code.lifting)
        bits[place] = rng.integers(0, 2, code.lifting)
        priors[place] = 1
    return bits, priors


@pytest.mark.parametrize("code", CODES, ids=lambda c: c.name)
def test_syndrome_is_that_of_the_definition(code: Code) -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        bits = rng.integers(0, 2, code.columns * code.lifting, dtype=np.uint8)
        np.testing.assert_array_equal(syndrome(code, bits), reference.syndrome(checks_of(code), bits))


@pytest.mark.parametrize("code", CODES, ids=lambda c: c.name)
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_beliefs_are_those_of_the_reference(code: Code, limit: int) -> None:
    for seed in range(5):
        bits, priors = pattern(code, 0.11, seed)
        wanted = syndrome(code, bits)
        state = State(code, wanted, priors)
        used = state.run(limit)
        decided, iterations, met, expected = reference.decode(checks_of(code), wanted, np.log(priors), limit)
        assert (used > 0, abs(used)) == (met, iterations)
        # Messages end at 15.9 here and at 37 there; below 12 both follow the same formula.
        found = np.log(state.ratios().astype(np.float64))
        small = np.abs(expected) < 12
        assert small.mean() > 0.3
        np.testing.assert_allclose(found[small], expected[small], atol=2e-3)
        assert (np.sign(found) == np.sign(expected))[np.abs(expected) > 1e-3].all()
        np.testing.assert_array_equal(state.bits[np.abs(expected) > 1e-3], decided[np.abs(expected) > 1e-3])


@pytest.mark.parametrize("code", CODES, ids=lambda c: c.name)
def test_the_same_frames_fail_as_in_the_reference(code: Code) -> None:
    # The error rate is about where half of the frames fail, so a decoder that is a little worse shows.
    qber = {8: 0.01, 6: 0.04, 10: 0.02}[code.rows]
    checks = checks_of(code)
    outcomes = []
    for seed in range(60):
        bits, priors = pattern(code, qber, seed)
        wanted = syndrome(code, bits)
        state = State(code, wanted, priors)
        used = state.run(30)
        decided, iterations, met, _ = reference.decode(checks, wanted, np.log(priors), 30)
        outcomes.append(met)
        assert (used > 0) == met
        if met:
            # The test of success is skipped while a quarter of the checks looks violated, as it may in codes so small.
            assert iterations <= used <= iterations + 3
            np.testing.assert_array_equal(state.bits, decided)
    assert 15 < sum(outcomes) < 45


def test_a_run_may_be_cut_in_two() -> None:
    code = CODES[2]
    bits, priors = pattern(code, 0.08, 5)
    wanted = syndrome(code, bits)
    whole, cut = State(code, wanted, priors), State(code, wanted, priors)
    assert whole.run(6) == -6
    assert cut.run(2) == -2
    assert cut.run(4) == -4
    np.testing.assert_array_equal(whole.ratios(), cut.ratios())


def test_it_gives_up_when_nothing_moves() -> None:
    code = CODES[0]
    rng = np.random.default_rng(2)
    wanted = rng.integers(0, 2, code.rows * code.lifting, dtype=np.uint8)
    state = State(code, wanted, np.full(code.columns * code.lifting, 1000, np.float32))
    assert -200 < state.run(200, patience=5) < 0


@pytest.mark.parametrize("prior", [1.0, 1.0001, 3.0, 1e8, 1e26, 1e-26])
def test_no_syndrome_makes_it_lose_its_numbers(prior: float) -> None:
    rng = np.random.default_rng(3)
    for code in CODES:
        for fill in (0, 1, None):
            wanted = rng.integers(0, 2, code.rows * code.lifting, dtype=np.uint8)
            if fill is not None:
                wanted[:] = fill
            state = State(code, wanted, np.full(code.columns * code.lifting, prior, np.float32))
            state.run(50)
            ratios = state.ratios()
            assert np.isfinite(ratios).all()
            assert (ratios > 0).all()


@pytest.mark.parametrize("code", CODES, ids=lambda c: c.name)
def test_bits_apart_share_no_check(code: Code) -> None:
    rng = np.random.default_rng(4)
    table = [set[int]() for _ in range(code.columns * code.lifting)]
    number = 0
    for layer in checks_of(code):
        for check in layer:
            for bit in check:
                table[bit].add(number)
            number += 1
    order = np.argsort(code.column, kind="stable")
    row = np.repeat(np.arange(code.rows, dtype=np.int32), np.diff(code.starts))[order]
    starts = np.searchsorted(code.column[order], np.arange(code.columns + 1)).astype(np.int32)
    candidates = rng.permutation(code.columns * code.lifting).astype(np.int64)
    chosen = np.empty(10, np.int64)
    taken = np.zeros(code.rows * code.lifting, np.uint8)
    count = kernels.apart(starts, row, code.shift[order], code.lifting, candidates, taken, chosen)
    expected: list[int] = []
    for bit in candidates.tolist():
        if len(expected) < 10 and all(not table[bit] & table[other] for other in expected):
            expected.append(bit)
    assert chosen[:count].tolist() == expected
