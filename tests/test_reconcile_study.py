"""`qkd bench reconcile-study`: points kept one by one, resumed, replaced, and what is drawn from them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from cli.bench.study_report import figure, table
from cli.charts import Axis, Panel, Series, Style, svg
from cli.main import main
from qkd.benchmarks import methods, study
from qkd.benchmarks.batches import Setup
from qkd.benchmarks.claims import CLAIMS, FER, Claim
from qkd.benchmarks.reconcile import measure
from qkd.benchmarks.study import (
    CLAIMED_1E3,
    CURVES,
    Curve,
    Kind,
    StudyFile,
    Task,
    geometric_grid,
    plan,
    run_study,
    steps,
)
from qkd.errors import ParameterError, ReconciliationFailed
from qkd.reconciliation.efficiency import binary_entropy
from tests import rigged

SVG = "{http://www.w3.org/2000/svg}"
SMALL = Curve(
    "rigged", "plain", 1024, (0.01, 0.03), 6, (0.03,), grid_frames=2, estimate_frames=2, scaling_frames=256,
    claimed_frames=10,
)  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study of one rigged preset, small; five error rates in the grid."""
    monkeypatch.setitem(methods.METHODS, "rigged", rigged.rigged)
    monkeypatch.setattr(study, "CURVES", (SMALL,))
    monkeypatch.setattr(study, "LDPC_GRID", (0.01, 0.02))
    monkeypatch.setattr(study, "GRID_RATIO", 1.2)


def points(folder: Path) -> list[dict[str, Any]]:
    """The rows on disk."""
    content = json.loads((folder / "data.json").read_text())
    assert content["schema"] == "qkd.reconcile.study.v1"
    rows: list[dict[str, Any]] = content["points"]
    return rows


def test_every_preset_is_in_the_study_with_the_frames_its_claim_needs() -> None:
    assert {f"{method}/{preset}" for method, preset in methods.all_presets()} <= {curve.name for curve in CURVES}
    tasks = plan(only="cascade/fast")
    curve = [task.setup for task in tasks if task.kind is Kind.CURVE and task.setup.frame_bits == 65536]
    assert [round(100 * setup.qber, 4) for setup in curve] == [
        0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9, 10, 11
    ]  # fmt: skip
    assert all(setup.frames == CLAIMED_1E3 >= 10_000 for setup in curve)
    (grid,) = [task.grid for task in tasks if task.kind is Kind.STEPS]
    assert (grid[0], grid[-1]) == pytest.approx((0.005, 0.11))
    assert max(b / a for a, b in itertools.pairwise(grid)) <= 1.02 + 1e-12
    assert len({task.name for task in tasks}) == len(tasks)


@pytest.mark.usefixtures("small")
def test_a_killed_run_loses_one_point_and_the_next_measures_the_others(tmp_path: Path) -> None:
    tasks = plan()
    kinds = [task.kind for task in tasks]
    assert kinds == [Kind.CURVE] * 2 + [Kind.SCALING] * 3 + [Kind.ESTIMATE] * 16 + [Kind.STEPS]
    seen: list[str] = []

    def killed(line: str) -> None:
        seen.append(line)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(StudyFile(tmp_path), tasks, threads=1, resume=False, say=killed)
    assert [row["task"] for row in points(tmp_path)] == [task.name for task in tasks[:3]]
    kept = points(tmp_path)
    run_study(StudyFile(tmp_path), tasks, threads=2, resume=True, say=seen.append)
    assert len(seen) == len(tasks)
    assert points(tmp_path)[:3] == kept  # speeds included: they were not measured again
    assert [row["task"] for row in points(tmp_path)] == [task.name for task in tasks]
    curve = points(tmp_path)[1]
    assert curve.items() >= {
        "kind": "curve", "method": "rigged", "preset": "plain", "frame": 1024, "qber": 0.03, "frames": 10, "seed": 2026
    }.items()  # fmt: skip
    assert curve["machine"]
    assert "numba" in curve["versions"]


@pytest.mark.usefixtures("small")
def test_more_frames_or_another_seed_or_no_resume_measure_again(tmp_path: Path) -> None:
    task = plan()[0]
    file = StudyFile(tmp_path)
    assert not file.has(task)
    run_study(file, [task], threads=1, resume=False, say=lambda _: None)
    assert file.has(task)
    assert StudyFile(tmp_path).has(task)
    setup = task.setup
    changed = {"method": setup.method, "preset": setup.preset, "qber": setup.qber, "frame_bits": setup.frame_bits}
    more = Task(task.kind, Setup(**changed, frames=setup.frames + 1, seed=setup.seed))
    other_seed = Task(task.kind, Setup(**changed, frames=setup.frames, seed=setup.seed + 1))
    assert not file.has(more)
    assert not file.has(other_seed)
    run_study(file, [more], threads=1, resume=True, say=lambda _: None)
    assert [row["frames"] for row in points(tmp_path)] == [setup.frames + 1]


def test_what_is_not_a_study_is_refused_and_left_alone(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"schema": "other", "points": []}'):
        (tmp_path / "data.json").write_text(text)
        with pytest.raises(ParameterError, match="not a study"):
            StudyFile(tmp_path)
        assert (tmp_path / "data.json").read_text() == text
    with pytest.raises(ParameterError, match="no such preset"):
        plan(only="cascade/slow")


@pytest.mark.usefixtures("small")
def test_the_largest_step_is_found_where_it_is() -> None:
    grid = [0.03, 0.04, 0.06, 0.07]
    setups = [Setup(method="rigged", preset="jumps", qber=q, frame_bits=65536, frames=3) for q in grid]
    found = steps([measure(setup) for setup in setups])
    assert found["largest_step_qbers"] == [0.04, 0.06]
    assert found["largest_step"] == pytest.approx(0.2 / 1.1 - 0.1 / 1.1, abs=1e-4)
    assert found["largest_step_error"] == pytest.approx(0, abs=1e-12)
    assert found["f"] == pytest.approx([1.1, 1.1, 1.2, 1.2], abs=1e-4)
    gave_up = [Setup(method="rigged", preset="quits-below-4", qber=q, frame_bits=64, frames=3) for q in grid]
    with pytest.raises(ReconciliationFailed, match="no batch"):
        steps([measure(setup) for setup in gave_up])


def test_a_geometric_grid_has_both_ends_and_equal_steps() -> None:
    assert geometric_grid(0.01, 0.08, 2.0) == pytest.approx((0.01, 0.02, 0.04, 0.08))
    assert geometric_grid(0.01, 0.08, 2.1) == pytest.approx((0.01, 0.02, 0.04, 0.08))
    assert len(geometric_grid(0.01, 0.08, 1.9)) == 5


@pytest.mark.usefixtures("small")
def test_the_command_writes_data_table_and_figure(tmp_path: Path) -> None:
    out = tmp_path / "study"
    done = CliRunner().invoke(main, ["bench", "reconcile-study", "--out", str(out), "--quick", "--json"])
    assert done.exit_code == 0, done.output
    rows = points(out)
    assert json.loads(done.stdout)["points"] == len(rows) > 10
    assert (out / "table.md").read_text() == table(rows)
    assert (out / "figure.svg").read_text() == figure(rows)
    again = CliRunner().invoke(main, ["bench", "reconcile-study", "--out", str(out), "--quick", "--resume"])
    assert again.exit_code == 0
    assert points(out) == rows


@pytest.mark.usefixtures("small")
def test_the_table_says_what_was_measured(tmp_path: Path) -> None:
    file = StudyFile(tmp_path)
    run_study(file, plan(), threads=1, resume=False, say=lambda _: None)
    text = table(list(file.rows.values()))
    for title in ("## rigged/plain, 1024 bits", "## Does f jump?", "## A wrong estimate", "## Threads", "## Peers"):
        assert title in text
    leak = round(1.1 * 1024 * binary_entropy(0.03))
    (line,) = [line for line in text.splitlines() if line.startswith("| 3 | 1.")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1] == f"{leak / 1024 / binary_entropy(0.03):.4f}"
    assert cells[4:9] == ["10", "0", "0", "2.6e-01", "0"]
    assert "| cascade-cpp yanetal | 65536 | 1 | 1.059 | 0.0e+00 | 10.5 |" in text


def test_a_claim_is_kept_or_broken_by_its_worst_point() -> None:
    def row(qber: float, f: float | None, speed: float, kind: str = "curve") -> dict[str, Any]:
        named = {"kind": kind, "method": "cascade", "preset": "fast", "frame": 65536}
        return named | {"qber": qber, "f": f, "mbit_per_s": speed}

    rows = [row(0.01, 1.02, 90), row(0.03, 1.06, 70), row(0.05, 1.2, 10), row(0.02, None, 80)]
    rows += [
        row(0.02, 1.9, 1, kind="estimate"),
        row(0.02, 1.9, 1) | {"frame": 16384},
        row(0.02, 1.9, 1) | {"preset": "x"},
    ]
    least_f = Claim("cascade/fast", 65536, "f", 0.01, 0.03, 1.055)
    speed = Claim("cascade/fast", 65536, "mbit_per_s", 0.01, 0.03, 70, at_least=True)
    assert least_f.worst(rows) == rows[1]
    assert speed.worst(rows) == rows[1]
    assert least_f.worst(rows[2:3]) is None
    assert [least_f.verdict({"f": f}).value for f in (1.05, 1.055, 1.06)] == ["yes", "yes", "NO"]
    assert [speed.verdict({"mbit_per_s": value}).value for value in (69, 70, 71)] == ["NO", "yes", "yes"]
    rate = Claim("cascade/fast", 65536, FER, 0.01, 0.03, 1e-3)
    for upper, measured, verdict in ((9e-4, 4e-4, "yes"), (1.1e-3, 5e-4, "too few frames"), (3e-3, 2e-3, "NO")):
        assert rate.verdict({FER: upper, "frame_error_rate": measured}).value == verdict


def test_claims_are_about_points_that_the_study_has() -> None:
    measured = {(curve.name, curve.frame_bits, qber) for curve in CURVES for qber in curve.qbers}
    for claim in CLAIMS:
        for qber in (claim.low, claim.high):
            assert (claim.preset, claim.frame, qber) in measured, claim


@pytest.mark.usefixtures("small")
def test_the_figure_is_svg_with_a_line_for_every_curve(tmp_path: Path) -> None:
    file = StudyFile(tmp_path)
    run_study(file, plan(), threads=1, resume=False, say=lambda _: None)
    root = ElementTree.fromstring(figure(list(file.rows.values())))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"frame errors, 95 % upper bound", "rigged/plain, 1024", "cascade-cpp yanetal (peer)"} <= set(texts)
    assert len(set(texts)) > 20


def test_a_chart_puts_points_where_they_belong() -> None:
    axis = Axis("x", 1.0, 100.0, logarithmic=True)
    assert [axis.place(x) for x in (1, 10, 100)] == pytest.approx([0, 0.5, 1])
    assert axis.ticks() == pytest.approx([1, 2, 5, 10, 20, 50, 100])
    assert Axis("x", 1e-4, 1.0, logarithmic=True).ticks() == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert Axis("y", 1.0, 1.2).ticks() == pytest.approx([1, 1.05, 1.1, 1.15, 1.2])
    series = [
        Series("a <line>", [(1, 0), (10, 5), (100, 10)], "red"),
        Series("dashes", [(1, 10), (100, 10)], "blue", Style.DASHES),
        Series("marks", [(10, 5)], "green", Style.MARKS),
    ]
    root = ElementTree.fromstring(svg([Panel("one & only", axis, Axis("y", 0, 10), series)] * 2, columns=1))
    lines = [element.get("points") for element in root.iter(f"{SVG}polyline")]
    # 56 px and 14 px beside, 30 px above and 42 px below the plot in 440 x 300.
    assert lines[0] == "56.0,258.0 241.0,144.0 426.0,30.0"
    assert len(lines) == 2 * 2 + 2  # both panels, and the legend once
    assert [element.text for element in root.iter(f"{SVG}text")].count("a <line>") == 1


@pytest.mark.usefixtures("small")
def test_speeds_taken_anew_leave_what_was_counted(tmp_path: Path) -> None:
    tasks = plan()[:2]
    file = StudyFile(tmp_path)
    run_study(file, tasks[:1], threads=1, resume=False, say=lambda _: None)
    row = dict(file.rows[tasks[0].name])
    file.put(tasks[0], row | {"mbit_per_s": -1.0, "one_core_mbit_per_s": -1.0})
    seen: list[str] = []
    study.retime(file, tasks, seen.append)
    assert len(seen) == 1  # the other point is not there
    (again,) = points(tmp_path)
    assert again["mbit_per_s"] > 0
    assert {**again, "mbit_per_s": 0, "one_core_mbit_per_s": 0} == {**row, "mbit_per_s": 0, "one_core_mbit_per_s": 0}
