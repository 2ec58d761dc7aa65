"""`qkd bench finite-key`: the shape of what it prints, and that it counts wrong answers; speed is not a test."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from cli.main import main
from qkd.benchmarks import finitekey
from qkd.errors import ParameterError
from qkd.finitekey import basis_key_length


def test_json() -> None:
    done = CliRunner().invoke(main, ["bench", "finite-key", "--bits", "3000", "--repeats", "1", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["schema"] == "qkd.bench.finite-key.v1"
    assert result["seconds"] > 0
    assert result["wrong"] == 0
    rows = {row["case"]: row for row in result["rows"]}
    against = {row["against"]: row for row in rows.values() if row.get("against")}
    assert set(against) == {finitekey.SCIPY, finitekey.MPMATH}
    for row in against.values():
        assert row["value"] == result["seconds"]
        assert row["reference"] > 0
    equal = rows["lengths equal to mpmath, 60 digits, to the bit"]
    assert (equal["value"], equal["reference"], equal["wrong"]) == (10, 10, 0)
    assert {"best test of 3000 sifted bits", "best bias of 3000 coincidences", "least block"} <= rows.keys()


@pytest.mark.parametrize(("bits", "qber"), [(2000, 0.0), (2000, 0.09), (50_000, 0.3), (200_000, 0.02)])
def test_references_agree(bits: int, qber: float) -> None:
    counts = finitekey.block(bits, qber)
    ours = basis_key_length(counts, 1e-10)
    answer = min(ours.phase_errors, counts.key_bits), ours.raw
    assert finitekey._by_mpmath(counts, ours) == finitekey._by_scipy(counts, ours) == answer


def test_wrong_answers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finitekey, "_by_mpmath", lambda *_: (0, 0))
    result = finitekey.run(bits=2000, repeats=1)
    assert result.headline["wrong"] == 11  # the timed one, and 10 of all sizes


def test_a_missing_reference_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finitekey.importlib.util, "find_spec", lambda _: None)
    done = CliRunner().invoke(main, ["bench", "finite-key", "--bits", "2000", "--repeats", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert "mpmath, 60 digits: not installed" in done.stderr
    assert [row["against"] for row in json.loads(done.stdout)["rows"] if row.get("against")] == [finitekey.SCIPY]


@pytest.mark.parametrize(
    ("arguments", "named"), [({"bits": 10}, "bits = 10"), ({"qber": math.nan}, "qber = nan"), ({"eps": 2.0}, "eps = 2")]
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, float], named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        finitekey.run(**arguments)  # type: ignore[arg-type]
