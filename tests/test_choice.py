"""The choice of the error correction: by error rate, round trip and length, and what it says about itself."""

from __future__ import annotations

import itertools

import pytest

from qkd.errors import ParameterError
from qkd.reconciliation.choice import (
    FIGURES,
    MOST_REASON_CHARACTERS,
    ROUND_S,
    Choice,
    Method,
    Task,
    choose,
    forced,
)

ALL = tuple(FIGURES)
LIMIT_S = 5.0


def chosen(bits: int, qber: float, round_trip_s: float, limit_s: float = LIMIT_S) -> Method:
    return choose(Task((bits, bits), (qber, qber), round_trip_s), ALL, limit_s).method


GRID = list(
    itertools.product(
        (100, 20_000, 100_000, 500_000, 5_000_000),
        (0.001, 0.002, 0.01, 0.03, 0.08, 0.10, 0.12, 0.25),
        (0.0, 1e-3, 1e-2, 0.05, 0.2, 1.0),
    )
)


@pytest.mark.parametrize(("bits", "qber", "round_trip_s"), GRID)
def test_the_choice_leaks_least_of_those_in_time(bits: int, qber: float, round_trip_s: float) -> None:
    """Recomputed from the frozen figures, for every cell of a grid."""

    def seconds(method: Method) -> float:
        cost = FIGURES[method]
        rounds = cost.rounds + round(100 * qber * cost.rounds_per_percent)
        return rounds * (round_trip_s + ROUND_S) + 2 * bits / (1e6 * cost.mbit_per_s)

    best = FIGURES[chosen(bits, qber, round_trip_s)]
    assert best.qber_low <= qber <= best.qber_high
    assert bits >= best.least_bits
    others = [m for m in ALL if FIGURES[m].qber_low <= qber <= FIGURES[m].qber_high and bits >= FIGURES[m].least_bits]
    timely = [m for m in others if seconds(m) <= LIMIT_S]
    if timely:
        assert best.f == min(FIGURES[m].f for m in timely)
    else:
        assert seconds(chosen(bits, qber, round_trip_s)) == min(seconds(m) for m in others)


@pytest.mark.parametrize(
    ("bits", "qber", "round_trip_s", "method"),
    [
        (100_000, 0.02, 0.0, Method.CASCADE_SERIAL),
        (500_000, 0.02, 0.0, Method.CASCADE_LARGE),
        (100_000, 0.02, 0.003, Method.CASCADE_TIGHT),
        (100_000, 0.02, 0.01, Method.CASCADE_FAST),
        (100_000, 0.02, 0.2, Method.LDPC_BLIND),
        (5_000_000, 0.02, 0.2, Method.LDPC_ONE_WAY),
        (100_000, 0.002, 0.2, Method.CASCADE_FAST),  # too few errors for the codes: late rather than not at all
        (100_000, 0.12, 0.2, Method.CASCADE_FAST),  # too many
        (1_000, 0.02, 0.2, Method.CASCADE_FAST),  # too short
    ],
)
def test_the_choice_on_lines_one_can_picture(bits: int, qber: float, round_trip_s: float, method: Method) -> None:
    assert chosen(bits, qber, round_trip_s) is method


@pytest.mark.parametrize(
    ("limit_s", "method"),
    [
        (30.0, "cascade/serial"),
        (5.0, "cascade/tight"),
        (1.5, "cascade/fast"),
        (0.5, "ldpc/blind"),
        (0.1, "ldpc/one-way"),
    ],
)
def test_time_buys_secrecy(limit_s: float, method: str) -> None:
    """Strings of 100,000 bits at 2 % over a line of 3 ms."""
    assert chosen(100_000, 0.02, 0.003, limit_s).value == method


def test_rounds_grow_with_the_larger_error_rate() -> None:
    for method, cost in FIGURES.items():
        rounds = [Task((1000, 1000), qber, 0.0).rounds(method) for qber in ((0.01, 0.05), (0.05, 0.01), (0.0, 0.0))]
        assert rounds == [cost.rounds + 5 * cost.rounds_per_percent] * 2 + [cost.rounds]


def test_one_basis_out_of_range_is_enough() -> None:
    assert choose(Task((100_000, 100_000), (0.02, 0.12), 0.2), ALL, LIMIT_S).method is Method.CASCADE_FAST
    assert choose(Task((100_000, 4_000), (0.02, 0.02), 0.2), ALL, LIMIT_S).method is Method.CASCADE_FAST


def test_only_what_is_installed_is_chosen() -> None:
    assert choose(Task((9999, 9999), (0.02, 0.02), 0.2), [Method.CASCADE_TIGHT], 1.0).method is Method.CASCADE_TIGHT
    with pytest.raises(ParameterError, match="no method"):
        choose(Task((9999, 9999), (0.2, 0.2), 0.2), [Method.LDPC_BLIND], LIMIT_S)


@pytest.mark.parametrize(("bits", "qber", "round_trip_s"), GRID)
def test_the_reason_is_one_plain_line_with_the_numbers(bits: int, qber: float, round_trip_s: float) -> None:
    reason = choose(Task((bits, bits), (qber, qber), round_trip_s), ALL, LIMIT_S).reason
    assert reason.isascii()
    assert reason.isprintable()
    assert len(reason) <= MOST_REASON_CHARACTERS
    assert f"{2 * bits} bits" in reason
    assert f"QBER {qber:.2%} in Z" in reason


def test_reasons_tell_apart_least_leak_fastest_and_forced() -> None:
    assert "least leak (f 1.055)" in choose(Task((10_000, 10_000), (0.02, 0.02), 0.01), ALL, LIMIT_S).reason
    late = choose(Task((10_000, 10_000), (0.12, 0.12), 0.5), ALL, LIMIT_S)
    assert "nothing finishes in 5 s" in late.reason
    assert "300 rounds at 500 ms" in late.reason
    assert forced(Method.LDPC_BLIND) == Choice(Method.LDPC_BLIND, "set by the session's parameters")


def test_every_method_has_figures() -> None:
    assert set(FIGURES) == set(Method) - {Method.AUTO}
    for cost in FIGURES.values():
        assert cost.f >= 1
        assert cost.rounds >= 1
        assert cost.least_bits >= 1
        assert cost.qber_low < cost.qber_high
        assert cost.source


@pytest.mark.parametrize("round_trip_s", [-1e-3, float("nan")])
def test_impossible_tasks_are_refused(round_trip_s: float) -> None:
    with pytest.raises(ParameterError):
        Task((1000, 1000), (0.02, 0.02), round_trip_s)
    with pytest.raises(ParameterError):
        Task((-1, 1000), (0.02, 0.02), 0.0)
