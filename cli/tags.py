"""`qkd tags`: tag files turned into other formats, looked into, described."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import output
from qkd.errors import ParameterError

if TYPE_CHECKING:
    from distribution.formats import Recording
    from distribution.formats.convert import Conversion
    from distribution.formats.registry import Entry, Options

_PATH = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


def _reading(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say how to read a file whose content does not."""
    for option in (
        click.option("--repair", is_flag=True, help="Leave damaged stretches of a qtag file out, and count them."),
        click.option("--channel", "channels", metavar="N", type=click.IntRange(0, 255), multiple=True,
                     help="Channel of an input that does not say (id900); once for every input."),
        click.option("--sync-period-ps", metavar="X", help="Of T3 recordings, where the file's is not good enough."),
        click.option("--unit-ps", metavar="X", help="Time unit of inputs that do not say (qutag, qutau, id900)."),
        click.option("--from", "source", metavar="FORMAT", help="Read as this, not as the content says."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Tag files: convert, look into, describe.

    A format is found by content where the content tells it; `qkd tags formats` lists them all.

    \b
    Example:  printf '0,1\\n500,2\\n' > tags.csv && qkd tags convert tags.csv tags.qtag && qkd tags info tags.qtag
    """


@command.command()
@click.argument("files", metavar="IN... OUT", nargs=-1, required=True, type=_PATH)
@click.option("--to", "target", metavar="FORMAT", help="Write this  [default: what OUT's suffix says].")
@click.option("--out-unit-ps", metavar="X", help="Time unit of OUT  [default: qtag: the finest that is exact].")
@click.option("--map", "mapping", metavar="A=B,...", help="Give channel A the number B.")
@click.option("--from-zero", is_flag=True, help="Let the first tag be at t = 0.")
@click.option("--force", is_flag=True, help="Replace OUT.")
@_reading
@_JSON
def convert(
    files: tuple[Path, ...], target: str | None, out_unit_ps: str | None, mapping: str | None, from_zero: bool,
    force: bool,
    as_json: bool, **reading: Any,
) -> None:  # fmt: skip
    """Write the tags of one or more recordings of ONE clock as the file OUT.

    OUT is read back and compared before it gets its name; what was rounded, and what OUT has no place for, is said.
    Recordings of two clocks do not belong into one file: see qkd analyse.

    \b
    Example:  printf '0,1\\n500,2\\n1000000,1\\n' > tags.csv && qkd tags convert tags.csv tags.a1 --map 1=0,2=1
    """
    from distribution.formats import convert as conversion
    from distribution.formats.registry import Options, by_name, by_suffix

    *inputs, out = files
    if not inputs:
        raise click.UsageError("name one or more files to read and one to write")
    if out.exists() and not force:
        raise ParameterError(f"{out} exists already", hint="name another file, or replace it with --force")
    entry = by_name(target) if target else by_suffix(out)
    recordings = _read(inputs, **reading)
    combined = conversion.combine(recordings, _channel_map(mapping))
    if from_zero:
        combined = conversion.from_zero(combined)
    unit = None if out_unit_ps is None else _unit(out_unit_ps, "--out-unit-ps")
    done = conversion.convert(combined, out, entry, Options(unit_ps=unit))
    fields = _converted(out, entry, done)
    if as_json:
        output.emit("qkd.tags-convert.v1", fields | {"inputs": [_described(r) for r in recordings]})
        return
    for path, recording in zip(inputs, recordings, strict=True):
        output.say(f"{path.name}: {recording.format.value}, {len(recording.tags)} tags{_repairs(recording)}")
    units = sorted({recording.resolution_ps for recording in recordings})
    if len(units) > 1:
        output.say(
            f"the inputs count in {' and '.join(f'{unit:g}' for unit in units)} ps: mixed, the coarsest is stated"
        )
    output.say(f"{out.name}: {entry.name}, {done.events} tags in units of {fields['unit_ps']:g} ps, {_cost(done)}")
    if done.dropped:
        output.say(f"{entry.name} has no place for: {', '.join(done.dropped)}")
    click.echo(out)


@command.command()
@click.argument("file", type=_PATH)
@_reading
@_JSON
def info(file: Path, as_json: bool, **reading: Any) -> None:
    """What a recording is: format, device, unit, counts, rates, and what was repaired in reading it.

    \b
    Example:  printf '0,1\\n500,2\\n1000000,1\\n' > tags.csv && qkd tags info tags.csv
    """
    (recording,) = _read([file], **reading)
    fields = _described(recording)
    if as_json:
        output.emit("qkd.tags-info.v1", fields)
        return
    plain = {k: v for k, v in fields.items() if not isinstance(v, dict) and v not in (None, "", 0)}
    rows = [(k.replace("_", " "), f"{v:.6g}" if isinstance(v, float) else str(v)) for k, v in plain.items()]
    for channel, count in fields["counts"].items():
        rate = fields["rates_hz"].get(channel)
        rows.append((f"channel {channel}", f"{count}" + (f"  {rate:.6g} Hz" if rate is not None else "")))
    output.table(rows)


@command.command()
@click.argument("file", type=_PATH)
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="How many tags.")
@_reading
@_JSON
def head(file: Path, count: int, as_json: bool, **reading: Any) -> None:
    """The first tags of a recording: time in ps, and channel.

    \b
    Example:  printf '0,1\\n500,2\\n1000000,1\\n' > tags.csv && qkd tags head tags.csv -n 2
    """
    (recording,) = _read([file], **reading)
    t_ps, channel = recording.tags.t_ps[:count].tolist(), recording.tags.channel[:count].tolist()
    if as_json:
        output.emit("qkd.tags-head.v1", {"t_ps": t_ps, "channel": channel})
        return
    for time, number in zip(t_ps, channel, strict=True):
        click.echo(f"{time},{number}")


@command.command()
@_JSON
def formats(as_json: bool) -> None:
    """Every format: its name for --from and --to, what it can hold, and what must be installed for it.

    \b
    Example:  qkd tags formats
    """
    from distribution.formats.registry import FORMATS

    rows = [
        {
            "name": entry.name, "title": entry.title, "suffix": entry.suffix, "found_by_content": entry.by_content,
            "writes": bool(entry.writer), "channels": entry.channels, "needs": entry.package,
            "installed": entry.installed, "install": entry.install if entry.package else "",
        }
        for entry in FORMATS
    ]  # fmt: skip
    if as_json:
        output.emit("qkd.tags-formats.v1", {"formats": rows})
        return
    for row in rows:
        marks = "read, write" if row["writes"] else "read"
        need = "" if row["installed"] else f"  needs: {row['install']}"
        click.echo(f"{row['name']:<11}{row['suffix'] or '-':<10}{marks:<13}{row['title']}{need}")


def _read(
    files: list[Path],
    *,
    source: str | None,
    unit_ps: str | None,
    sync_period_ps: str | None,
    channels: tuple[int, ...],
    repair: bool,
) -> list[Recording]:
    from distribution.formats.convert import read_as
    from distribution.formats.registry import Options, by_name

    entry = by_name(source) if source else None
    _check_options(entry, unit_ps, channels)
    if channels and len(channels) != len(files):
        raise ParameterError(f"{len(channels)} times --channel for {len(files)} files", hint="once for every file")
    unit = None if unit_ps is None else _unit(unit_ps, "--unit-ps")
    sync = None if sync_period_ps is None else _unit(sync_period_ps, "--sync-period-ps")
    options: list[Options] = [
        Options(unit_ps=unit, sync_period_ps=sync, channel=channels[k] if channels else None, repair=repair)
        for k in range(len(files))
    ]
    return [read_as(path, entry, each) for path, each in zip(files, options, strict=True)]


def _check_options(entry: Entry | None, unit_ps: str | None, channels: tuple[int, ...]) -> None:
    known = entry.reads if entry else ()
    for option, name, given in (
        ("--unit-ps", "unit_ps", unit_ps is not None),
        ("--channel", "channel", bool(channels)),
    ):
        if given and name not in known:
            whose = f"{entry.name} files say it themselves" if entry else "the content says it, unless you name --from"
            raise ParameterError(f"{option} does not apply: {whose}", hint="see: qkd tags formats")


def _unit(text: str, option: str) -> Fraction:
    """A unit as people write it: 80.955, 3.90625 or 125/32."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9}|/\d{1,9})?", text) or text.endswith("/0") or not Fraction(text):
        raise ParameterError(f"{option} {text}: not a positive number such as 80.955 or 125/32")
    return Fraction(text)


def _channel_map(text: str | None) -> dict[int, int]:
    if text is None:
        return {}
    pairs = [re.fullmatch(r"(\d{1,3})=(\d{1,3})", pair) for pair in text.split(",")]
    numbers = {int(pair[1]): int(pair[2]) for pair in pairs if pair}
    if None in pairs or len(numbers) != len(pairs) or max([*numbers, *numbers.values()]) > 255:
        raise ParameterError(f"--map {text}: write old=new,old=new, each old channel once, numbers up to 255")
    return numbers


def _described(recording: Recording) -> dict[str, Any]:
    from distribution.analysis import rates_hz

    tags = recording.tags
    return {
        "format": recording.format.value,
        "device": recording.device,
        "clock_id": recording.clock_id,
        "start_unix_ns": recording.start_unix_ns,
        "resolution_ps": recording.resolution_ps,
        "records": recording.records,
        "tags": len(tags),
        "first_ps": int(tags.t_ps[0]) if len(tags) else None,
        "seconds": recording.seconds,
        "counts": {str(channel): count for channel, count in tags.counts().items()},
        "rates_hz": {str(channel): rate for channel, rate in rates_hz(tags).items()},
        "dummies": recording.dummies,
        "overflows": recording.overflows,
        "markers": recording.markers,
        "rollovers": recording.rollovers,
        "reordered": recording.reordered,
        "damaged": recording.damaged,
        "lost": recording.lost,
    }


def _repairs(recording: Recording) -> str:
    """What reading left out or mended, for people."""
    lost = "an unknown number of" if recording.lost is None else str(recording.lost)
    said = [
        (recording.dummies, f"{recording.dummies} dummies left out"),
        (recording.markers, f"{recording.markers} markers left out"),
        (recording.rollovers, f"counter carried on {recording.rollovers} times"),
        (recording.reordered, f"{recording.reordered} late records put in order"),
        (recording.damaged, f"{recording.damaged} damaged stretches left out with {lost} events"),
    ]
    return "".join(f", {text}" for count, text in said if count)


def _converted(out: Path, entry: Entry, done: Conversion) -> dict[str, Any]:
    return {
        "file": str(out),
        "format": entry.name,
        "tags": done.events,
        "unit_ps": float(done.unit_ps),
        "rounded": done.rounded,
        "largest_ps": done.largest_ps,
        "dropped": list(done.dropped),
        "bytes": out.stat().st_size,
    }


def _cost(done: Conversion) -> str:
    if not done.rounded:
        return "every time exact"
    return f"{done.rounded} times rounded by at most {done.largest_ps} ps"
