"""`qkd bench read` on tiny files: the shape of its JSON, and a refusal to time what is read wrongly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distribution.formats import Recording, read
from distribution.tags import TimeTags
from qkd.benchmarks import read as benchmark
from tests.commands import one_object, qkd


def test_json_has_the_stable_fields() -> None:
    done = qkd("bench", "read", "--events", "3000", "--repeats", "1", "--json")
    assert done.returncode == 0, done.stderr
    fields = one_object(done)
    assert fields["schema"] == "qkd.bench.read.v1"
    rows = {row["case"]: row for row in fields["rows"]}
    assert list(rows) == ["s-fifteen a1", "picoquant ptu t2", "picoquant ptu t3"]
    assert fields["mevents_per_s"] == rows["s-fifteen a1"]["value"]
    for row in rows.values():
        assert row["value"] > 0
        assert row["reference"] > 0
        assert row["against"]
        assert row["records"] >= 2990  # two clicks of one picosecond share an a1 word
    assert rows["picoquant ptu t2"]["records"] > 3000  # overflows
    assert {row["unit"] for row in rows.values()} == {"Mevents/s", "Mrecords/s"}


def test_t3_files_hold_the_clicks(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    # Two seconds of random times: every remainder of the pulse period, and the step from one second to the next.
    short = TimeTags(np.sort(rng.integers(0, 2 * 10**12, 200_000)), rng.integers(0, 4, 200_000).astype(np.uint8))
    benchmark._write_t3(tmp_path / "x", short)
    recording = read(tmp_path / "x")
    late = short.t_ps - recording.tags.t_ps
    # Fine times are cut off to a unit; pulse times are rounded to a picosecond when read.
    assert late.min() >= -1
    assert late.max() <= benchmark._FINE_PS
    assert np.array_equal(recording.tags.channel, short.channel)


def test_what_is_read_wrongly_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(path: Path) -> Recording:
        recording = read(path)
        recording.tags.t_ps[0] -= 100
        return recording

    monkeypatch.setattr(benchmark, "read", shifted)
    with pytest.raises(AssertionError, match="not what was written"):
        benchmark.run(np.random.default_rng(1), events=100, repeats=1)
