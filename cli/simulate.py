"""`qkd simulate`: two stations' tag files from a scenario, and the truth beside them."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import output
from qkd.errors import ParameterError

if TYPE_CHECKING:
    from distribution.scenario import Scenario

SUFFIXES = {"s15": "a1.ts", "npz": "npz"}
TRUTH_SCHEMA = "qkd.truth.v1"
WINDOW_PS = 1000  # of the expectation, full width
MAX_EVENTS = 200_000_000  # 5 GB in memory while it is written


@click.command("simulate")
@click.argument("scenario")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory for the three files.")
@click.option("--seconds", type=click.FloatRange(min=0.0, min_open=True), default=5.0, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the simulation; drawn and printed without it.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(SUFFIXES)),
    default="s15",
    show_default=True,
    help="Of the tag files; s15 has a place for four detectors, npz for any number.",
)
@click.option(
    "--intercept",
    "--eve",
    "intercept",
    type=click.FloatRange(0.0, 1.0),
    default=0.0,
    help="Fraction of Bob's photons that Eve intercepts and resends.",
)
@click.option("--attack", metavar="NAME[:KEY=VALUE,...]", help="Another eavesdropper, by name or from a TOML file.")
@click.option("--force", is_flag=True, help="Overwrite an earlier recording in that directory.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    scenario: str,
    out: Path,
    seconds: float,
    seed: int | None,
    format_: str,
    intercept: float,
    attack: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Record SCENARIO (a file, or the name of a shipped one) as two stations would, and write the truth beside.

    \b
    Example:  qkd simulate metro --out recording --seconds 2 --seed 7
    Example:  qkd simulate metro --out attacked --attack time-shift:fraction=0.5,shift_ps=200
    """
    import numpy as np

    from distribution.eavesdroppers.named import at_work, describe, link_under
    from distribution.expectation import mean_model
    from distribution.formats.generic import write_npz
    from distribution.formats.s15 import write_a1
    from distribution.scenario import load_scenario
    from distribution.simulate import simulate
    from distribution.states import Basis
    from distribution.truth import Cause

    paths = {name: out / f"{name}.{SUFFIXES[format_]}" for name in ("alice", "bob")} | {"truth": out / "truth.json"}
    eve = at_work(intercept, attack)
    link = link_under(eve, load_scenario(scenario))
    _refuse_too_many_detectors(link, format_)
    _refuse_overwriting(list(paths.values()), force)
    if seed is None:
        seed = secrets.randbits(63)
        output.say(f"seed {seed}")
    expected = mean_model(link, seconds, np.random.default_rng(seed), eve)
    _refuse_too_many(link, seconds, float(expected.singles_a.sum() + expected.singles_b.sum()) * seconds)
    recording = simulate(link, seconds, np.random.default_rng(seed), eve)
    out.mkdir(parents=True, exist_ok=True)
    # The truth comes last and goes first: where there is a truth.json, both recordings beside it are its own.
    paths["truth"].unlink(missing_ok=True)
    for name, tags in (("alice", recording.alice), ("bob", recording.bob)):
        (write_npz if format_ == "npz" else write_a1)(paths[name], tags)
    truth = {
        "scenario": scenario,
        "title": link.title,
        "seed": seed,
        "seconds": seconds,
        "format": format_,
        "intercept_fraction": intercept,
        "attack": describe(eve) if eve else None,
        "events_alice": len(recording.alice),
        "events_bob": len(recording.bob),
        "offset_ps": recording.truth.offset_ps,
        "drift_ppm": recording.truth.drift_ppm,
        "pairs_in_both_files": int(recording.truth.partners()[0].size),
        "afterpulses_alice": int((recording.truth.alice_cause == Cause.AFTERPULSE).sum()),
        "afterpulses_bob": int((recording.truth.bob_cause == Cause.AFTERPULSE).sum()),
        "lost_in_tagger_alice": len(recording.truth.alice_lost_ps),
        "lost_in_tagger_bob": len(recording.truth.bob_lost_ps),
        "window_ps": WINDOW_PS,
        "expected_qber_z": expected.qber(WINDOW_PS, Basis.Z),
        "expected_qber_x": expected.qber(WINDOW_PS, Basis.X),
        "expected_sifted_cps": expected.sifted_cps(WINDOW_PS),
    }
    _write_truth(paths["truth"], truth)
    _report(paths, truth, as_json)


def _refuse_overwriting(paths: list[Path], force: bool) -> None:
    there = [path for path in paths if path.exists()]
    if there and not force:
        raise ParameterError(f"{there[0]} exists already", hint="name another directory, or say --force")


def _refuse_too_many_detectors(link: Scenario, format_: str) -> None:
    most = max(2 * len(station.analyser.bases) for station in (link.alice, link.bob))
    if format_ == "s15" and most > 4:
        raise ParameterError(
            f"{link.title!r} has {most} channels at a station; an s15 file has a place for 4", hint="say --format npz"
        )


def _refuse_too_many(link: Scenario, seconds: float, events: float) -> None:
    if events > MAX_EVENTS:
        raise ParameterError(
            f"{seconds:g} s of {link.title!r} are {events:.3g} events; a recording holds {MAX_EVENTS:.3g} at most",
            hint="record a shorter time, or stream it with qkd source",
        )


def _write_truth(path: Path, truth: dict[str, Any]) -> None:
    from distribution.formats.recording import write_atomically

    write_atomically(path, (json.dumps({"schema": TRUTH_SCHEMA, **truth}, indent=2) + "\n").encode())


def _report(paths: dict[str, Path], truth: dict[str, Any], as_json: bool) -> None:
    files = {name: str(path) for name, path in paths.items()}
    if as_json:
        output.emit("qkd.simulate.v1", {**truth, "files": files})
        return
    rows = [(name, path) for name, path in files.items()]
    rows.append(("events", f"{truth['events_alice']} at Alice, {truth['events_bob']} at Bob"))
    rows.append(("pairs", f"{truth['pairs_in_both_files']} with both photons recorded"))
    rows.append(("clock", f"Bob's is {truth['offset_ps']} ps ahead and {truth['drift_ppm']:g} ppm fast"))
    rows.append(("seed", str(truth["seed"])))
    output.table(rows)
