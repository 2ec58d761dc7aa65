"""The study's rows as people read them: tables in Markdown and a figure, both made from nothing but `data.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cli.charts import Axis, Panel, Series, Style, svg
from qkd.benchmarks.claims import CLAIMS, LARGEST_STEP
from qkd.benchmarks.limits import one_way_limit_f
from qkd.benchmarks.peers import MACHINE, PEERS, Peer
from qkd.benchmarks.study import CASCADE_QBERS, Kind, geometric_grid

Row = dict[str, Any]

COLOURS = {
    "cascade/fast": "#1f4e9c",
    "cascade/tight": "#2a9d4a",
    "cascade/serial": "#7a3fb0",
    "cascade/large": "#008b8b",
    "ldpc/one-way": "#d95f02",
    "ldpc/blind": "#c0143c",
}
OTHER_COLOURS = ("#5a5a5a", "#8a6d1b", "#3b7a57", "#a0522d")
PEER_COLOURS = {"yanetal": "#444444", "option7": "#999999", "option8": "#c49a00"}
LIMIT_COLOUR = "#000000"


def table(rows: Sequence[Row]) -> str:
    """Every figure in Markdown: curves, jumps, wrong estimates, threads, peers."""
    parts = ["# Error correction measured", _where(rows), _claim_table(rows), *_curve_tables(rows)]
    parts += [text for make in (_steps_table, _estimate_table, _scaling_table) if (text := make(rows))]
    return "\n\n".join([*parts, _peer_table()]) + "\n"


def figure(rows: Sequence[Row]) -> str:
    """The same as a picture, SVG: f at three sizes of frames, and what it costs, against the error rate."""
    curves = _curves(rows)
    middle = {key: points for key, points in curves.items() if key[1] == 65536}
    panels = [
        _f_panel("f, frames of 65536 bits", middle, 65536, (65536,)),
        _f_panel("f, frames of 16384 bits (cascade-cpp: 10000)", _of_size(curves, 16384), 16384, (10000, 16384)),
        _f_panel("f, larger frames (limit: 1048576 bits)", _larger(curves), 1 << 20, (1000000,)),
        _panel("frame errors, 95 % upper bound", "frame error rate", (1e-4, 1.0), curves, "frame_error_rate_upper"),
        _panel("rounds of a batch", "rounds", (0.7, 1e4), curves, "rounds"),
        _panel("bits on the wire, both ways", "per key bit", (0.02, 5.0), curves, "wire_bits_per_key_bit"),
        _speed_panel(curves),
        _steps_panel(rows),
    ]
    return svg(panels, columns=2)


def _where(rows: Sequence[Row]) -> str:
    machines = " and ".join(dict.fromkeys(row["machine"] for row in rows))
    versions = " and ".join(dict.fromkeys(row["versions"] for row in rows))
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(row["seed"] for row in rows))
    return (
        f"Made by `qkd bench reconcile-study` on {machines}; {versions}; seed {seeds}. What the columns mean and how to"
        " repeat this: docs/reconciliation.md. In short: QBER in per cent; FER with its one-sided 95 % upper bound;"
        " undet. are frame errors that verification would not have seen; rounds are of the slowest batch; wire are bits"
        " on the line per key bit, both ways; Mbit/s are both parties' work on one core; limit is the least f of any"
        " one-way code at this FER (its upper bound where no frame failed)."
    )


def _claim_table(rows: Sequence[Row]) -> str:
    header = ["preset", "bits", "QBER", "figure", "claim", "worst measured", "at QBER", "kept"]
    measured = [(claim, row) for claim in CLAIMS if (row := claim.worst(rows)) is not None]
    body = [
        [
            claim.preset,
            str(claim.frame),
            " - ".join(dict.fromkeys(f"{100 * q:g}" for q in (claim.low, claim.high))),
            claim.figure,
            f"{'at least' if claim.at_least else 'at most'} {claim.bound:g}",
            f"{row[claim.figure]:.4g}",
            f"{100 * row['qber']:g}",
            claim.verdict(row).value,
        ]
        for claim, row in measured
    ]
    undetected = sum(row["undetected_errors"] for row in rows)
    frames = sum(row["frames"] * len(row.get("qbers", [0])) for row in rows)
    return (
        f"## What is claimed, and the worst that was measured\n\n{_markdown(header, body)}\n\n"
        f"Undetected errors in all {frames} frames of this study: {undetected}."
    )


def _curves(rows: Iterable[Row]) -> dict[tuple[str, int], list[Row]]:
    curves: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        if row["kind"] == Kind.CURVE.value:
            curves.setdefault((_preset(row), row["frame"]), []).append(row)
    return {key: sorted(curves[key], key=lambda row: row["qber"]) for key in sorted(curves, key=_rank)}


def _rank(key: tuple[str, int]) -> tuple[int, int]:
    """Presets in the order of their colours, short frames first."""
    preset, frame = key
    return list(COLOURS).index(preset) if preset in COLOURS else len(COLOURS), frame


def _preset(row: Row) -> str:
    return f"{row['method']}/{row['preset']}"


def _markdown(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---:"] * len(header), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _curve_tables(rows: Sequence[Row]) -> list[str]:
    header = ["QBER", "f", "+-", "f realised", "frames", "failed", "FER", "95 % below", "undet.", "rounds", "wire"]
    header += ["Mbit/s", "limit"]
    titled = [
        (f"## {preset}, {frame} bits, {points[0]['batch']} frames a batch", _markdown(header, map(_curve_line, points)))
        for (preset, frame), points in _curves(rows).items()
    ]
    return [text for pair in titled for text in pair]


def _curve_line(row: Row) -> list[str]:
    return [
        f"{100 * row['qber']:g}",
        _number(row["f"], ".4f"),
        _number(row["f_error"], ".4f"),
        _number(row["f_realised"], ".4f"),
        *_failures(row),
        str(row["rounds"]),
        f"{row['wire_bits_per_key_bit']:.3f}",
        f"{row['mbit_per_s']:.3g}",
        f"{row['one_way_limit_f']:.3f}",
    ]


def _failures(row: Row) -> list[str]:
    rate, upper = row["frame_error_rate"], row["frame_error_rate_upper"]
    return [
        str(row["frames"]),
        str(row["frame_errors"]),
        f"{rate:.1e}" if rate else "0",
        f"{upper:.1e}",
        str(row["undetected_errors"]),
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _steps_table(rows: Sequence[Row]) -> str:
    steps = [row for row in rows if row["kind"] == Kind.STEPS.value]
    if not steps:
        return ""
    header = ["preset", "bits", "from", "to", "points", "frames a point", "largest step of f", "+-", "at", "within 1 %"]
    body = [
        [
            _preset(row),
            str(row["frame"]),
            f"{100 * row['qbers'][0]:g}",
            f"{100 * row['qbers'][-1]:g}",
            str(len(row["qbers"])),
            str(row["frames"]),
            f"{row['largest_step']:.2%}",
            _number(row["largest_step_error"], ".2%"),
            " - ".join(f"{100 * q:.3g}" for q in row["largest_step_qbers"]),
            "yes" if row["largest_step"] <= LARGEST_STEP else "NO",
        ]
        for row in steps
    ]
    title = "## Does f jump?\n\nNeighbours on a fine grid of error rates, equal random numbers."
    return f"{title}\n\n{_markdown(header, body)}"


def _estimate_table(rows: Sequence[Row]) -> str:
    wrong = [row for row in rows if row["kind"] == Kind.ESTIMATE.value]
    if not wrong:
        return ""
    header = ["preset", "bits", "QBER", "estimate", "f", "frames", "failed", "FER", "95 % below", "undet.", "rounds"]
    body = [
        [
            _preset(row),
            str(row["frame"]),
            f"{100 * row['qber']:g}",
            f"x{row['estimate_factor']:g}",
            _number(row["f"], ".4f"),
            *_failures(row),
            str(row["rounds"]),
        ]
        for row in wrong
    ]
    return f"## A wrong estimate of the error rate\n\n{_markdown(header, body)}"


def _scaling_table(rows: Sequence[Row]) -> str:
    scaling = [row for row in rows if row["kind"] == Kind.SCALING.value]
    if not scaling:
        return ""
    header = ["preset", "bits", "QBER", "threads", "Mbit/s, all threads", "times one thread", "frames"]
    body = [
        [
            _preset(row),
            str(row["frame"]),
            f"{100 * row['qber']:g}",
            str(row["threads"]),
            f"{row['mbit_per_s']:.3g}",
            f"{row['scaling']:.2f}",
            str(row["frames"]),
        ]
        for row in scaling
    ]
    return f"## Threads\n\nWall clock, one thread and all of them by turns in one run.\n\n{_markdown(header, body)}"


def _peer_table() -> str:
    header = ["program", "bits", "QBER", "f", "FER", "Mbit/s"]
    body = [
        [peer.name, str(peer.frame), f"{100 * q:g}", f"{f:.3f}", _number(fer, ".1e"), _number(speed, ".3g")]
        for peer in PEERS
        for q, f, fer, speed in peer.points
    ]
    how = "\n".join(f"* {text}." for text in dict.fromkeys(peer.how for peer in PEERS))
    return f"## Peers, as we ran them\n\nOn {MACHINE}:\n\n{how}\n\n{_markdown(header, body)}"


def _of_size(curves: dict[tuple[str, int], list[Row]], frame: int) -> dict[tuple[str, int], list[Row]]:
    return {key: points for key, points in curves.items() if key[1] == frame}


def _larger(curves: dict[tuple[str, int], list[Row]]) -> dict[tuple[str, int], list[Row]]:
    return {key: points for key, points in curves.items() if key[1] > 65536}


def _qber_axis() -> Axis:
    return Axis("QBER, %", 0.09, 12.0, logarithmic=True)


def _colour(preset: str) -> str:
    return COLOURS.get(preset, OTHER_COLOURS[sum(preset.encode()) % len(OTHER_COLOURS)])


def _series(curves: dict[tuple[str, int], list[Row]], value: Callable[[Row], float | None]) -> list[Series]:
    found = []
    for (preset, frame), points in curves.items():
        places = [(100 * row["qber"], y) for row in points if (y := value(row)) is not None]
        found.append(Series(f"{preset}, {frame}", places, _colour(preset), _size_style(frame)))
    return found


def _size_style(frame: int) -> Style:
    """Frames of 65536 bits and the large preset as lines, other sizes of the same preset dashed."""
    return Style.LINE if frame in (65536, 1 << 20) else Style.DASHES


def _f_panel(title: str, curves: dict[tuple[str, int], list[Row]], bits: int, peer_bits: Sequence[int]) -> Panel:
    limits = [_limit(bits, 1e-3, "#000000"), _limit(bits, 1e-2, "#9a9a9a")]
    peers = [_peer(peer, lambda point: point[1]) for peer in PEERS if peer.frame in peer_bits]
    return Panel(title, _qber_axis(), Axis("f", 1.0, 1.2), [*limits, *peers, *_series(curves, lambda row: row["f"])])


def _limit(bits: int, frame_error_rate: float, colour: str) -> Series:
    low, high = CASCADE_QBERS[0], CASCADE_QBERS[-1]
    points = [(100 * q, one_way_limit_f(bits, q, frame_error_rate)) for q in geometric_grid(low, high, 1.1)]
    return Series(f"least f of one-way codes, FER {frame_error_rate:g}", points, colour, Style.DASHES)


def _peer(peer: Peer, value: Callable[[tuple[float, float, float | None, float | None]], float | None]) -> Series:
    points = [(100 * point[0], y) for point in peer.points if (y := value(point)) is not None]
    colour = next((c for word, c in PEER_COLOURS.items() if word in peer.name), "#b08080")
    return Series(f"{peer.name} (peer)", points, colour, Style.MARKS)


def _panel(
    title: str, label: str, limits: tuple[float, float], curves: dict[tuple[str, int], list[Row]], name: str
) -> Panel:
    axis = Axis(label, *limits, logarithmic=True)
    return Panel(title, _qber_axis(), axis, _series(curves, lambda row: row[name]))


def _speed_panel(curves: dict[tuple[str, int], list[Row]]) -> Panel:
    peers = [_peer(peer, lambda point: point[3]) for peer in PEERS if peer.frame >= 65536]
    series = [*(peer for peer in peers if peer.points), *_series(curves, lambda row: row["mbit_per_s"])]
    return Panel("speed, both parties on one core", _qber_axis(), Axis("Mbit/s", 0.03, 500, logarithmic=True), series)


def _steps_panel(rows: Iterable[Row]) -> Panel:
    series = [
        Series(
            f"{_preset(row)}, {row['frame']}",
            [(100 * q, f) for q, f in zip(row["qbers"], row["f"], strict=True)],
            _colour(_preset(row)),
        )
        for row in rows
        if row["kind"] == Kind.STEPS.value
    ]
    return Panel("f on a fine grid", _qber_axis(), Axis("f", 1.0, 1.12), series)
