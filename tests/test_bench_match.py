"""`qkd bench match` on a recording of a tenth of a second: its fields, and that what it times is right."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from distribution.clock import acquire
from distribution.coincidence import match
from distribution.formats import s15
from distribution.model import link_model
from distribution.simulate import simulate
from distribution.states import Basis
from qkd.benchmarks import match as bench

# The closed form of this link, accidentals included; both bases come equally often.
QBER = sum(link_model(bench.link()).qber(bench.WINDOW_PS, basis) for basis in Basis) / 2


def test_the_command_prints_rows_and_the_headline() -> None:
    done = CliRunner().invoke(main, ["bench", "match", "--seconds", "0.1", "--repeats", "1", "--json"])
    assert done.exit_code == 0, done.output
    fields = json.loads(done.stdout)
    assert fields["schema"] == "qkd.bench.match.v1"
    rows = {row["case"]: row for row in fields["rows"]}
    assert list(rows) == ["match", "match stream", "decode", "group", "clock", "sift", "decode, clock, match, sift"]
    assert all(row["unit"] == "Mevents/s" and row["value"] > 0 for row in rows.values())
    assert fields["mevents_per_s"] == rows["match"]["value"]
    assert fields["whole_mevents_per_s"] == rows["decode, clock, match, sift"]["value"]
    assert rows["match"]["reference"] > 0
    assert rows["decode, clock, match, sift"]["qber"] == pytest.approx(QBER, abs=5 * np.sqrt(QBER / 8000))
    people = CliRunner().invoke(main, ["bench", "match", "--seconds", "0.1", "--repeats", "1"])
    assert "numpy.searchsorted" in people.stdout


def test_the_reference_finds_the_same_pairs_but_for_ambiguous_ones() -> None:
    rng = np.random.default_rng(1)
    a, b = (np.sort(rng.integers(0, 10**9, 5000)) for _ in range(2))
    ours = match(a, b, 2000)
    theirs = {tuple(pair) for pair in bench.nearest_pairs(a, b, 2000).tolist()}
    pairs = np.stack([ours.index_a, ours.index_b], axis=1)
    clear = [tuple(pair) for pair in pairs[~ours.ambiguous].tolist()]
    assert len(clear) > 20
    assert set(clear) <= theirs


def test_working_by_stretches_loses_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sifted bits of 0.3 s in stretches of 8192 words against one stretch: the same number, and as few errors."""
    recording = simulate(bench.link(), 0.3, np.random.default_rng(2))
    words = s15.encode_words(recording.alice), s15.encode_words(recording.bob)
    clock = acquire(recording.alice.t_ps, recording.bob.t_ps)
    whole = bench.sifted_bits(*words, clock)
    monkeypatch.setattr(bench, "STRETCH_BYTES", 1 << 16)
    pieces = bench.sifted_bits(*words, clock)
    # An unfinished cell of the clock is aligned with what is known by then: a few picoseconds at the window's edges,
    # and a double click may be cut at a stretch's end.
    assert pieces.alice.size == pytest.approx(whole.alice.size, rel=1e-3)
    assert whole.alice.size == pytest.approx(1.6e5 * 0.3 / 2, rel=0.1)
    for bits in (whole, pieces):
        sigma = np.sqrt(QBER / whole.alice.size)
        assert (bits.alice != bits.bob).mean() == pytest.approx(QBER, abs=5 * sigma)
        assert set(np.unique(bits.basis)) == {0, 1}
