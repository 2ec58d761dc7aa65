"""The family of parity-check matrices: reading it, its girth, and making it anew."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from qkd.codedesign import base, family, inspection, shifts
from qkd.errors import ParameterError
from qkd.reconciliation import codes
from qkd.reconciliation.codes import SIZES, Code
from tests.reference.codes import girth


def _run(arguments: str) -> Result:
    return CliRunner().invoke(main, shlex.split(f"codes {arguments}"))


def _small(seed: int, lifting: int = 16) -> Code:
    """A code of 12 columns in 6 rows, 2 columns more to puncture."""
    generator = np.random.default_rng(seed)
    grown = base.grow([2, 2, 2, *[3] * 8, 4, 4, 5], 6, 2, generator)
    shift = shifts.choose(grown.matrix, lifting, generator)
    row, column = np.nonzero(shift >= 0)
    starts = np.searchsorted(row, np.arange(7)).astype(np.int32)
    hidden = np.array(grown.puncturable, np.int32)
    return Code(
        "small", 12 * lifting, lifting, 6, 14, starts, column.astype(np.int32), shift[row, column], hidden, 0.05
    )


@pytest.mark.parametrize("bits", SIZES)
def test_a_family_covers_every_leak_without_a_gap(bits: int) -> None:
    members = codes.family(bits)
    assert len(members) >= 9
    assert members[0].least_leak_fraction < 0.09
    assert members[-1].leak_fraction > 0.55
    for code, following in pairwise(members):
        assert code.leak_fraction < following.leak_fraction
        assert following.least_leak_fraction <= code.leak_fraction


@pytest.mark.parametrize("bits", SIZES)
def test_shipped_codes_are_well_formed(bits: int) -> None:
    for code in codes.family(bits):
        assert code.payload_bits == bits == 256 * code.lifting
        assert code.columns == 256 + code.puncturable.size
        assert code.starts.size == code.rows + 1
        assert code.starts[-1] == code.column.size == code.shift.size
        assert code.starts.dtype == code.column.dtype == code.shift.dtype == np.int32
        assert 0 <= code.shift.min() <= code.shift.max() < code.lifting
        with pytest.raises(ValueError, match="read-only"):
            code.shift[0] = 0
        # At the threshold the code cannot beat Shannon, and a design more than 16 % off is none.
        assert 1 < inspection.efficiency(code) < 1.16
    assert inspection.problems(codes.family(bits)) == []


def test_sizes_share_their_bases() -> None:
    for members in zip(*(codes.family(bits) for bits in SIZES), strict=True):
        assert len({code.column.tobytes() for code in members}) == 1


def test_no_code_has_a_four_cycle() -> None:
    """In the frames of 65 536 bits and above; those of 16 384 are too dense for it at the lowest leaks."""
    assert all(inspection.girth(code) >= 6 for bits in SIZES[1:] for code in codes.family(bits))


@pytest.mark.parametrize("seed", range(8))
def test_girth_is_that_of_the_graph_written_out(seed: int) -> None:
    small = _small(seed, lifting=[2, 4, 16, 32][seed % 4])
    assert inspection.girth(small) == min(girth(small), inspection.MOST_GIRTH)


def test_shifts_close_no_short_cycle_where_none_need_be() -> None:
    """38 entries, lifting 64: each new entry has 64 shifts and fewer cycles of length 4 and 6 to avoid."""
    assert inspection.girth(_small(3, lifting=64)) >= 8


def test_punctured_columns_share_no_check() -> None:
    for code in codes.family(65536):
        rows = np.repeat(np.arange(code.rows), np.diff(code.starts))
        touched = rows[np.isin(code.column, code.puncturable)]
        assert touched.size == base.PUNCTURED_DEGREE * code.puncturable.size == np.unique(touched).size


def test_text_and_value_are_the_same() -> None:
    text = codes.text_of(16384)
    assert codes.write(codes.parse(text)) == text


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "other"}', '{"schema": "qkd.ldpc-codes.v1", "codes": 3}'])
def test_what_is_no_data_file_is_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        codes.parse(text)


def test_no_family_of_another_size() -> None:
    with pytest.raises(ParameterError, match="16384, 65536, 262144"):
        codes.family(1000)


@pytest.mark.parametrize("degrees", [[3, 2, 2], [1, 2, 2], [2, 2, 9]])
def test_impossible_degrees_are_refused(degrees: list[int]) -> None:
    with pytest.raises(ParameterError, match="ascend"):
        base.grow(degrees, 8, 0, np.random.default_rng(1))


def test_rows_are_even_and_columns_as_asked() -> None:
    degrees = [2] * 30 + [3] * 40 + [8] * 20 + [20] * 4
    grown = base.grow(degrees, 30, 2, np.random.default_rng(2))
    assert grown.matrix.sum(axis=0).tolist() == degrees
    assert np.ptp(grown.matrix.sum(axis=1)) <= 1


@pytest.mark.parametrize("rows", [max(rows for rows, _ in family.sizes())])
def test_a_code_is_made_anew_entry_by_entry(rows: int) -> None:
    plan = next(plan for plan in family.plans() if plan.rows == rows)
    shipped = next(code for code in codes.family(16384) if code.rows == rows)
    assert codes.write((family.make(plan, 16384),)) == codes.write((shipped,))


@pytest.mark.slow
@pytest.mark.parametrize("bits", SIZES)
def test_more_codes_are_made_anew(bits: int) -> None:
    shipped = codes.family(bits)
    for plan, code in list(zip(family.plans(), shipped, strict=True))[10::6]:
        assert codes.write((family.make(plan, bits),)) == codes.write((code,)), code.name


def test_show_lists_every_code() -> None:
    fields = json.loads(_run("show --bits 16384 --json").stdout)
    assert next(iter(fields)) == "schema"
    assert [row["name"] for row in fields["codes"]] == [code.name for code in codes.family(16384)]
    assert "girth" in _run("show --bits 16384").stdout


def test_show_refuses_another_size() -> None:
    assert _run("show --bits 5").exit_code == 2


def test_check_passes_and_notices_a_changed_file(monkeypatch: pytest.MonkeyPatch) -> None:
    done = _run("check --json")
    assert done.exit_code == 0, done.stdout
    assert json.loads(done.stdout)["ok"]
    monkeypatch.setattr(codes, "checksum", lambda text: "0" * 64)
    done = _run("check")
    assert done.exit_code == 1
    assert "checksum" in done.stdout
