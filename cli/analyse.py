"""`qkd analyse`: what one recording shows, or what two have in common."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import bell_fields, drawing, output, pair_fields, watching
from qkd.errors import ParameterError

if TYPE_CHECKING:
    from distribution.analysis import Comb, Histogram, Peak
    from distribution.formats import Recording
    from distribution.pairs import PairReport

SCHEMA = "qkd.analyse.v1"
STATES = ("phi+", "phi-", "psi+", "psi-")


@click.command("analyse")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path), required=False)
@click.option("--channels", metavar="I,J", help="Detectors to correlate in one recording [default: lowest two].")
@click.option("--half-range-ns", type=float, help="Histogram to +- this  [default: 150; with B, 10]")
@click.option("--bin-ps", default=100, show_default=True, help="Bin width; widened to whole tagger units.")
@click.option("--window-ps", default=1000, show_default=True, help="Coincidence window, FULL width.")
@click.option("--uncertainty-s", default=1.0, show_default=True, help="B's offset is looked for within +- this.")
@click.option("--max-drift-ppm", default=10.0, show_default=True, help="Largest drift of B's clock.")
@click.option("--sync-period-ps", type=float, help="Of T3 recordings, where the file's own is not good enough.")
@click.option("--state", type=click.Choice(STATES), default="phi+", show_default=True, help="State aimed at.")
@click.option("--skew", is_flag=True, help="Find each detector's delay and take it off.")
@click.option("--angles-a", metavar="DEG,...", help="Polarisation each detector of A looks for  [default: 0,90,45,135]")
@click.option("--angles-b", metavar="DEG,...", help="The same for B.")
@click.option("--chsh", is_flag=True, help="Make the whole Bell test of the angles  [default: E91's, of six detectors]")
@click.option(
    "--predictability", type=float, metavar="TAU", help="Settings were drawn evenly, to +- this  [with --chsh]"
)
@click.option("--dark-a-cps", default=0.0, show_default=True, help="Dark counts of A, for the heralding efficiencies.")
@click.option("--dark-b-cps", default=0.0, show_default=True, help="The same for B.")
@click.option("--epoch-s", type=float, help="Count per epoch of this length, too.")
@click.option(
    "--epochs", type=click.Path(path_type=Path), metavar="FILE.csv", help="Write the epochs [default: 1 s each]."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw the histogram.")
def command(a: Path, b: Path | None, as_json: bool, plot: Path | None, **options: Any) -> None:
    """Counts, rates, clock, coincidences and error rates of recording A, or of A and B together.

    The format is found by content; `qkd tags formats` lists what can be found. Error rates need recordings of
    four detectors each, channels 0..3 = H, V, D, A. With --angles-a and --angles-b that make a Bell test, S
    comes with its error; --chsh adds p-values, intervals, checks and the loopholes that stay open. The residual
    clock is what is left after B's clock was followed.

    \b
    Example:  printf '0,0\\n500,1\\n1000000,0\\n1000500,1\\n' > tags.csv && qkd analyse tags.csv
    """
    if plot is not None and plot.suffix.lower() != ".svg":
        raise ParameterError(f"--plot {plot}: only .svg can be drawn", hint="name a file that ends in .svg")
    if options["predictability"] is not None and not options["chsh"]:
        raise ParameterError(f"--predictability {options['predictability']} is of a Bell test", hint="give --chsh, too")
    if b is None:
        fields, rows, histogram = _one(a, **options)
    else:
        fields, rows, histogram = _two(a, b, **options)
    if as_json:
        output.emit(SCHEMA, fields)
    else:
        output.table(rows)
        if histogram is not None:
            click.echo(drawing.text(histogram))
    if plot is not None and histogram is not None:
        plot.write_text(drawing.svg(histogram, title=a.name), encoding="utf-8")
        output.say(f"drew {plot}")
    elif plot is not None:
        raise ParameterError(f"--plot {plot}: one detector alone has no delays to draw")


def _one(
    path: Path,
    *,
    channels: str | None,
    half_range_ns: float | None,
    bin_ps: int,
    window_ps: int,
    sync_period_ps: float | None,
    **others: Any,
) -> tuple[dict[str, Any], list[tuple[str, str]], Histogram | None]:
    from distribution.analysis import cross_correlation, find_comb, find_peak, whole_bin_ps
    from distribution.formats import read

    _refuse_options_of_pairs(others)
    recording = read(path, sync_period_ps=sync_period_ps)
    fields = _singles(recording)
    watched, watched_rows = watching.of_one(recording)
    rows = _singles_rows(fields) + watched_rows
    fields |= watched
    pair = _channel_pair(recording, channels)
    if pair is None:
        return fields, rows, None
    histogram = cross_correlation(
        recording.tags.select(pair[0]).t_ps,
        recording.tags.select(pair[1]).t_ps,
        _half_range_ps(half_range_ns, 150.0),
        whole_bin_ps(bin_ps, recording.resolution_ps),
    )
    comb = find_comb(histogram)
    peak = None if comb else find_peak(histogram, window_ps)
    fields["correlation"] = _correlation(pair, histogram, comb, peak)
    return fields, rows + _correlation_rows(fields["correlation"]), histogram


def _refuse_options_of_pairs(options: dict[str, Any]) -> None:
    for name in ("skew", "angles_a", "angles_b", "chsh", "dark_a_cps", "dark_b_cps", "epoch_s", "epochs"):
        if options[name]:
            option = name.replace("_", "-")
            raise ParameterError(f"--{option} needs two recordings", hint="name the other station's file, too")


def _two(
    path_a: Path,
    path_b: Path,
    *,
    half_range_ns: float | None,
    bin_ps: int,
    window_ps: int,
    uncertainty_s: float,
    max_drift_ppm: float,
    state: str,
    channels: str | None,
    skew: bool,
    angles_a: str | None,
    angles_b: str | None,
    chsh: bool,
    predictability: float | None,
    dark_a_cps: float,
    dark_b_cps: float,
    epoch_s: float | None,
    epochs: Path | None,
    sync_period_ps: float | None,
) -> tuple[dict[str, Any], list[tuple[str, str]], Histogram | None]:
    from distribution.analysis import whole_bin_ps
    from distribution.formats import read
    from distribution.pairs import compare

    if channels is not None:
        raise ParameterError(f"--channels {channels} is for one recording", hint="leave it out with two")
    first, second = (read(path, sync_period_ps=sync_period_ps) for path in (path_a, path_b))
    if chsh and angles_a is angles_b is None:
        angles_a, angles_b = bell_fields.known_angles(first.tags, second.tags) or (None, None)
    known = pair_fields.stations(state, angles_a, angles_b, (dark_a_cps, dark_b_cps))
    report = compare(
        first.tags,
        second.tags,
        window_ps=window_ps,
        half_range_ps=_half_range_ps(half_range_ns, 10.0),
        bin_ps=whole_bin_ps(bin_ps, max(first.resolution_ps, second.resolution_ps)),
        uncertainty_s=uncertainty_s,
        max_drift_ppm=max_drift_ppm,
        correct_skew=skew,
        epoch_s=1.0 if epochs is not None and epoch_s is None else epoch_s,
        shape=known.shape,
        dark_cps=known.dark_cps,
    )
    by_side: dict[str, dict[str, Any]] = {"a": _singles(first), "b": _singles(second)}
    fields: dict[str, Any] = {key: {side: by_side[side][key] for side in by_side} for key in by_side["a"]}
    fields |= _pair_fields(report) | pair_fields.measured(report, known)
    if chsh:
        fields |= bell_fields.of_recordings(report, known, predictability)
    watched, watched_rows = watching.of_two(first, second, report)
    fields |= watched
    if epochs is not None:
        pair_fields.write_epochs(epochs, fields.get("epochs", []))
    rows = [(f"{side}: {name}", text) for side in by_side for name, text in _singles_rows(by_side[side])]
    bell_rows = bell_fields.rows(fields["chsh"]) if chsh else []
    return fields, rows + _pair_rows(fields) + bell_rows + watched_rows, report.delays


def _half_range_ps(chosen_ns: float | None, otherwise_ns: float) -> int:
    half_range_ns = otherwise_ns if chosen_ns is None else chosen_ns
    if not 0.001 <= half_range_ns <= 1e9:
        raise ParameterError(f"--half-range-ns {half_range_ns}: must lie in [0.001, 1e9]")
    return round(half_range_ns * 1000)


def _singles(recording: Recording) -> dict[str, Any]:
    """What every recording has: the stable fields, and counts that add up to the records."""
    from distribution.analysis import rates_hz

    return {
        "events": recording.events,
        "rates_hz": {str(c): rate for c, rate in rates_hz(recording.tags).items()},
        "seconds": recording.seconds,
        "counts": {str(c): n for c, n in recording.tags.counts().items()},
        "patterns": {str(p): n for p, n in recording.patterns.items()},
        "format": recording.format.value,
        "device": recording.device,
        "resolution_ps": recording.resolution_ps,
        "records": recording.records,
        "dummies": recording.dummies,
        "overflows": recording.overflows,
        "markers": recording.markers,
        "rollovers": recording.rollovers,
        "reordered": recording.reordered,
        "lost": recording.lost,
    }


def _channel_pair(recording: Recording, text: str | None) -> tuple[int, int] | None:
    """The two detectors to correlate, or None when only one fired and none were asked for."""
    present = sorted(recording.tags.counts())
    if text is None:
        return (present[0], present[1]) if len(present) > 1 else None
    parts = text.split(",")
    if len(parts) != 2 or not all(p.strip().isdecimal() for p in parts):
        raise ParameterError(f"--channels {text}: give two detector numbers, like 0,1")
    first, second = int(parts[0]), int(parts[1])
    if first == second or not {first, second} <= set(present):
        raise ParameterError(f"--channels {text}: need two different ones of {present}")
    return first, second


def _correlation(pair: tuple[int, int], histogram: Histogram, comb: Comb | None, peak: Peak | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "channels": list(pair),
        "bin_ps": histogram.bin_ps,
        "half_range_ps": histogram.bin_ps * (histogram.counts.size // 2),
        "pairs": int(histogram.counts.sum()),
        "peak": None,
        "comb": None,
    }
    if peak is not None:
        fields["peak"] = {
            "delay_ps": peak.delay_ps,
            "area": peak.area,
            "background": peak.background,
            "chance": peak.chance,
        }
    if comb is not None:
        fields["comb"] = {
            "period_ps": comb.period_ps,
            "teeth": int(comb.areas.size),
            "side_area": comb.side_area,
            "dip_delay_ps": comb.dip_delay_ps,
            "dip_area": int(comb.areas[comb.dip]),
            "dip_chance": comb.dip_chance,
            "g2": comb.g2 if comb.single_photons else None,
        }
    return fields


def _pair_fields(report: PairReport) -> dict[str, Any]:
    """Clock and counts of two recordings, and what explains them."""
    model = report.acquisition.model
    return {
        "offset_ps": model.offset_ps,
        "drift_ppm": model.drift_ppm,
        "acceleration_ppm_per_s": model.acceleration_per_s * 1e6,
        "offset_error_ps": report.acquisition.offset_error_ps,
        "drift_error_ppm": report.acquisition.drift_error * 1e6,
        "acceleration_error_ppm_per_s": report.acquisition.acceleration_error_per_s * 1e6,
        "false_alarm": report.acquisition.false_alarm,
        "coincidences": report.counts.coincidences,
        "accidentals": report.counts.accidentals,
        "car": report.counts.car,
        "heralding_a": report.counts.heralding_a,
        "heralding_b": report.counts.heralding_b,
        "reference_ps": model.reference_ps,
        "spread_ps": report.acquisition.spread_ps,
        "window_ps": report.window_ps,
        "common_seconds": report.seconds,
        "singles_a": report.counts.singles_a,
        "singles_b": report.counts.singles_b,
        "ambiguous": report.ambiguous,
        "clock_jumps": report.jumps,
        "outcomes": None if report.outcomes is None else report.outcomes.tolist(),
    }


def _singles_rows(fields: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("format", fields["format"] + (f" ({fields['device']})" if fields["device"] else "")),
        ("events", f"{fields['events']} of {fields['records']} records in {fields['seconds']:.6g} s"),
    ]
    rows += [(f"  {name}", str(fields[name])) for name in _REMARKS if fields[name]]
    for channel, count in fields["counts"].items():
        rate = fields["rates_hz"].get(channel)
        rows.append((f"detector {channel}", f"{count:>10}" + ("" if rate is None else f"  {rate:14.1f} Hz")))
    multiple = {p: n for p, n in fields["patterns"].items() if int(p).bit_count() > 1}
    if multiple:
        rows.append(("multiple", ", ".join(f"{int(p):04b}: {n}" for p, n in multiple.items())))
    return rows


_REMARKS = ("dummies", "overflows", "markers", "rollovers", "reordered", "lost")


def _correlation_rows(fields: dict[str, Any]) -> list[tuple[str, str]]:
    i, j = fields["channels"]
    rows = [(f"delays {j}-{i}", f"{fields['pairs']} within +-{fields['half_range_ps'] / 1000:g} ns")]
    if peak := fields["peak"]:
        text = f"{peak['delay_ps'] / 1000:.3f} ns, {peak['area']} counts on {peak['background']:.1f}"
        rows.append(("peak", text))
    if comb := fields["comb"]:
        text = f"{comb['period_ps']:.1f} ps apart, {comb['side_area']:g} counts each"
        rows.append(("comb", text))
        if comb["g2"] is not None:
            text = f"at {comb['dip_delay_ps'] / 1000:.3f} ns, {comb['dip_area']} counts: g2 = {comb['g2']:.4f}"
            rows.append(("missing tooth", text))
    if not (fields["peak"] or fields["comb"]):
        rows.append(("peak", "none"))
    return rows


def _pair_rows(fields: dict[str, Any]) -> list[tuple[str, str]]:
    def show(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    figure = partial(pair_fields.with_error, fields)
    return [
        (
            "offset",
            f"{fields['offset_ps']} +- {fields['offset_error_ps']:.2g} ps at {fields['reference_ps']} ps (B - A)",
        ),
        ("drift", f"{fields['drift_ppm']:.6f} +- {fields['drift_error_ppm']:.2g} ppm"),
        ("its change", f"{fields['acceleration_ppm_per_s']:.6f} +- {fields['acceleration_error_ppm_per_s']:.2g} ppm/s"),
        ("false alarm", f"{fields['false_alarm']:.2g}"),
        ("coincidences", f"{fields['coincidences']} in {fields['common_seconds']:.6g} s"),
        ("window", f"{fields['window_ps']} ps, full width"),
        ("accidentals", f"{fields['accidentals']:.1f}, CAR {show(fields['car'], '.1f')}"),
        (
            "heralding",
            f"a {figure('heralding_a')}, b {figure('heralding_b')}",
        ),
        ("QBER", f"z {figure('qber_z')}, x {figure('qber_x')}"),
        ("S from visibility", f"{figure('s_from_visibility')} (inferred, no Bell test)"),
        *pair_fields.rows(fields),
    ]
