"""`qkd bench privacy`: the shape of what it prints, and that it counts wrong bits; speed is not a test."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from qkd import gf2product, toeplitz
from qkd.benchmarks import privacy
from qkd.errors import ParameterError


def _json(*arguments: str) -> dict:
    done = CliRunner().invoke(main, ["bench", "privacy", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_json() -> None:
    result = _json("--bits", "3000", "--ratio", "0.4")
    assert result["schema"] == "qkd.bench.privacy.v1"
    assert result["method"] in {str(m) for m in toeplitz.Method}
    rows = {row["case"]: row for row in result["rows"]}
    assert result["mbit_per_s"] == rows["hash"]["value"] > 0
    assert result["reference_mbit_per_s"] == rows["scipy.fft, float64"]["value"] > 0
    assert "number-theoretic transform" in rows
    assert ("additive transform over GF(2^64)" in rows) == gf2product.available()
    for case, row in rows.items():
        assert row["unit"] == "Mbit/s"
        assert row["reference"] == result["reference_mbit_per_s"]
        assert case == "hash" or row["wrong_bits"] == 0


def test_text_names_the_method() -> None:
    done = CliRunner().invoke(main, ["bench", "privacy", "--bits", "2000"])
    assert done.exit_code == 0, done.output
    assert "method" in done.stdout
    assert str(toeplitz.method(2000, 1000)) in done.stdout


def test_wrong_bits_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy.scipy.fft, "irfft", lambda *_: np.zeros(2000))
    rows = {row.case: row for row in privacy.measure(2000).rows}
    # Without the sums the output is the input: about half of 1000 bits differ (10 sigma).
    assert abs(rows["scipy.fft, float64"].details["wrong_bits"] - 500) < 160


def test_flint_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in of the two things that are used of it."""

    class Polynomial:
        def __init__(self, coefficients: list[int], modulus: int) -> None:
            assert modulus == 2
            self.values = np.array(coefficients)

        def __mul__(self, other: Polynomial) -> Polynomial:
            return Polynomial((np.convolve(self.values, other.values) % 2).tolist(), 2)

        def coeffs(self) -> list[int]:
            return np.trim_zeros(self.values, "b").tolist()

    monkeypatch.setitem(sys.modules, "flint", types.SimpleNamespace(nmod_poly=Polynomial))
    monkeypatch.setattr(privacy, "absent", lambda: ())
    rows = {row.case: row for row in privacy.measure(2000).rows}
    assert rows["python-flint, nmod_poly modulo 2"].details["wrong_bits"] == 0


@pytest.mark.parametrize(("bits", "ratio"), [(10, 0.5), (2000, 0.0), (2000, 1.0), (2000, -1.0), (10**10, 0.5)])
def test_sizes_out_of_range_are_refused(bits: int, ratio: float) -> None:
    with pytest.raises(ParameterError, match="nothing to measure"):
        privacy.measure(bits, ratio)
