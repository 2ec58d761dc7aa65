"""The tables of docs/finite-key.md are what the code gives today."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numba
import pytest

from qkd.finitekey import Statement
from qkd.keybounds import Bound
from qkd.keyplan import Expectation, plan_biased, plan_both_bases, plan_sample
from qkd.leastblock import least_sifted

TEXT = (Path(__file__).parents[1] / "docs" / "finite-key.md").read_text(encoding="utf-8")
COLUMNS = (Bound.TLGR2012, Bound.SERFLING, Bound.LIM2021, Bound.EXACT)
slow_without_jit = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="thousands of tails in plain Python")


def _rows(header: str) -> list[list[str]]:
    """Cells of the table that has this header, without header and rule."""
    lines = TEXT.split(header, 1)[1].splitlines()[2:]
    table = lines[: next(i for i, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def _link(qber: str, eps: str = "1e-10") -> Expectation:
    return Expectation(qber=round(float(qber.removesuffix(" %")) / 100, 6), eps=float(eps))


@slow_without_jit
def test_lengths() -> None:
    rows = _rows("| exact tail | both bases | fixed | given up |")
    assert len(rows) == 8
    for qber, size, *cells in rows:
        link, m = _link(qber), int(float(size))
        fixed = plan_both_bases(replace(link, statement=Statement.FIXED_THRESHOLD), m - m // 2, m // 2)
        found = [plan_sample(link, m, bound).secret_bits for bound in COLUMNS]
        found += [plan_both_bases(link, m - m // 2, m // 2).secret_bits, fixed.secret_bits]
        assert cells == [*(f"{bits:,}" for bits in found), f"{fixed.abort_probability:.1g}"]


@slow_without_jit
def test_least_blocks() -> None:
    rows = _rows("| QBER | eps | TLGR 2012 | Serfling, TL 2017 | Lim 2021 | exact tail |")
    assert len(rows) == 6
    for qber, eps, *cells in rows:
        assert cells == [f"{least_sifted(_link(qber, eps), bound):,}" for bound in COLUMNS]


@slow_without_jit
def test_bias() -> None:
    rows = _rows("| coincidences | best p | secret bits | with p = 1/2 | ratio |")
    assert len(rows) == 5
    for size, *cells in rows:
        best, even = (plan_biased(_link("2.5"), int(float(size)), p) for p in (None, 0.5))
        ratio = best.secret_bits / even.secret_bits
        assert cells == [f"{best.p_x:.3f}", f"{best.secret_bits:,}", f"{even.secret_bits:,}", f"{ratio:.2f}"]


def test_satellite() -> None:
    link = _link("4.51")
    (revealed,), (both,) = re.findall(r"gives (\d+) bits with", TEXT), re.findall(r"and (\d+) from both bases", TEXT)
    assert plan_sample(link, 3100).secret_bits == int(revealed)
    assert plan_both_bases(link, 1550, 1550).secret_bits == int(both)
    assert all(plan_sample(link, 3100, bound).secret_bits == 0 for bound in Bound if bound is not Bound.EXACT)


def test_code_that_is_named_exists() -> None:
    root = Path(__file__).parents[1]
    named = re.findall(r"`((?:qkd|tests)/[\w/]+\.py)`", TEXT)
    assert len(named) > 8
    assert [name for name in named if not (root / name).exists()] == []
