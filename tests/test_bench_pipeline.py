"""`qkd bench pipeline` on blocks of 20,000 bits: fields, stages that add up, and engines that are left as found."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from qkd import bbm92, sifting
from qkd.benchmarks import pipeline, pipeline_input, stagewatch
from qkd.benchmarks.stagewatch import Stage, StageClock
from qkd.errors import KeyTooShort, ParameterError
from qkd.testing import MemoryVault

SMALL = ["--block-bits", "20000", "--blocks", "1", "--qber", "0.02"]
FROM_TAGS = "from tags, heralding 0.5, cascade/fast, stores on disk"


@cache
def result() -> dict[str, Any]:
    done = CliRunner().invoke(main, ["bench", "pipeline", *SMALL, "--heralding", "0.5", "--json"])
    assert done.exit_code == 0, done.output
    fields: dict[str, Any] = json.loads(done.stdout)
    return fields


def test_json_has_the_headline_and_a_row_per_case() -> None:
    fields = result()
    assert fields["schema"] == "qkd.bench.pipeline.v1"
    assert fields["block_bits"] == 20000
    rows = {row["case"]: row for row in fields["rows"]}
    assert list(rows) == [
        "sifted bits to released key, cascade/fast, stores on disk",
        "sifted bits to released key, cascade/fast, stores in memory",
        "sifted bits to released key, auto, stores on disk",
        FROM_TAGS,
        pipeline.CUT_CASE,
    ]
    head = fields["rows"][0]
    for name, value in (("mbit_per_s", head["value"]), ("stages", head["stages"]), ("watched_s", head["watched_s"])):
        assert fields[name] == value
    for row in fields["rows"][:-1]:
        assert row["unit"] == "Mbit/s"
        assert row["value"] > 0
        assert row["reference"] == fields["reference_mbit_per_s"] > 0
        assert row["secret_bits"] > 0
        assert row["failed_frames"] == 0


def test_cutting_is_shown_beside_the_headline() -> None:
    fields = result()
    cut = fields["rows"][-1]
    assert cut["unit"] == "ms"
    assert cut["value"] > 0
    assert cut["units"] == pytest.approx(fields["rows"][0]["secret_bits"] / 256, rel=0.2)
    # The headline is sifted bits over the time of a block; with the cut's time added it is this.
    block_s = fields["block_bits"] / fields["mbit_per_s"] * 1e-6
    assert cut["mbit_per_s"] == pytest.approx(fields["block_bits"] / (block_s + 1e-3 * cut["value"]) * 1e-6, rel=0.01)


def test_stages_add_up_and_only_tags_need_sifting() -> None:
    for row in result()["rows"][:-1]:
        assert list(row["stages"]) == [stage.value for stage in Stage]
        assert sum(row["stages"].values()) == pytest.approx(row["watched_s"], rel=0.01, abs=1e-4)
        assert min(row["stages"].values()) > 0
        share = row["stages"]["sifting"] / row["watched_s"]
        assert share > 0.1 if row["case"] == FROM_TAGS else share < 0.01


def test_blocks_are_what_was_asked_for() -> None:
    for row in result()["rows"][:-1]:
        assert row["sifted_bits"] >= 20000
        sigma = np.sqrt(0.02 * 0.98 / row["sifted_bits"])
        # Double clicks of a million clicks a second at 2 ns and accidentals add half a per cent at most.
        added = 0.005 if row["case"] == FROM_TAGS else 0.0
        assert 0.02 - 5 * sigma < row["qber"] < 0.02 + added + 5 * sigma


def test_people_see_the_stages() -> None:
    done = CliRunner().invoke(
        main, ["bench", "pipeline", *SMALL, "--heralding", "0", "--reconciliation", "ldpc/one-way"]
    )
    assert done.exit_code == 0, done.output
    assert "ldpc/one-way, stores on disk" in done.stdout
    assert "from tags" not in done.stdout
    for stage in Stage:
        assert f"  {stage}" in done.stdout
    assert "if every block were cut at once" in done.stdout


def test_the_engines_are_left_as_they_were_found() -> None:
    """Also when a block fails: 20,000 bits at 10 % make no key."""
    before = {module: (getattr(bbm92, module).alice, getattr(bbm92, module).bob) for module in stagewatch._MODULES}
    with pytest.raises(KeyTooShort):
        pipeline.measure(pipeline.Setup(qber=0.1, block_bits=20_000, blocks=1, heralding=0.0))
    after = {module: (getattr(bbm92, module).alice, getattr(bbm92, module).bob) for module in stagewatch._MODULES}
    assert after == before
    assert bbm92.sifting.alice is sifting.alice


def test_each_instant_is_booked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested stages, by a clock that a test can wind: the inner one's time is not the outer one's."""
    now = [0.0]
    monkeypatch.setattr(stagewatch.time, "process_time", lambda: now[0])
    monkeypatch.setattr(stagewatch.time, "perf_counter", lambda: 2 * now[0])
    clock = StageClock()
    for stage, at in ((Stage.TAGS, 1.0), (Stage.STORE, 3.0)):
        now[0] = at
        clock.enter(stage)
    for at in (7.0, 15.0):
        now[0] = at
        clock.leave()
    now[0] = 31.0
    clock.stop()
    spent = {stage: seconds for stage, seconds in clock.cpu_s.items() if seconds}
    assert spent == {Stage.MESSAGES: 1.0 + 16.0, Stage.TAGS: 2.0 + 8.0, Stage.STORE: 4.0}
    assert clock.wall_s[Stage.STORE] == 8.0


def test_a_watched_vault_is_the_vault() -> None:
    clock = StageClock()
    vault = stagewatch.WatchedVault(MemoryVault(bytes(2048)), clock)
    assert vault.committed == -1
    assert vault.hash_key(pipeline.Role.ALICE) == bytes(16)
    assert clock.cpu_s[Stage.STORE] > 0


def test_a_recording_holds_what_it_says() -> None:
    """40,000 coincidences at 40 % of the clicks; seed 3."""
    made = pipeline_input.recording(np.random.default_rng(3), 20_000, 0.02, 0.4)
    for tags in (made.alice, made.bob):
        assert len(tags) == 100_000
        assert (np.diff(tags.t_ps) >= 0).all()
        # Four detectors, equally likely: 5 sigma of a count.
        assert np.abs(np.bincount(tags.channel, minlength=4) - 25_000).max() < 5 * np.sqrt(1e5 * 3 / 16)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"qber": 0.2}, "qber"),
        ({"qber": float("nan")}, "qber"),
        ({"block_bits": 10}, "block_bits"),
        ({"blocks": 0}, "blocks"),
        ({"heralding": 1.5}, "heralding"),
        ({"block_seconds": 0.0}, "block_seconds"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(ParameterError, match=word):
        pipeline.Setup(**arguments)


def test_the_command_refuses_too(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["bench", "pipeline", "--qber", "0.5"]).exit_code != 0
    assert CliRunner().invoke(main, ["bench", "pipeline", "--reconciliation", "magic"]).exit_code != 0
    assert CliRunner().invoke(main, ["bench", "pipeline", "--folder", str(tmp_path / "none")]).exit_code != 0
