"""Eavesdroppers by name, as the command line and files give them: NAME[:key=value,...] or a TOML file.

Several numbers of one key are separated by slashes: `time-shift:fraction=0.5,early=1/0.6/1/0.6`; a slash after a
single one says that there could be more: `intercept-resend:fraction=1,bases_rad=0.3927/`. A TOML file holds `name`
and the same keys.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from distribution.eavesdroppers.blinding import Blinding
from distribution.eavesdroppers.intercept import InterceptResend
from distribution.eavesdroppers.middle import SourceInTheMiddle
from distribution.eavesdroppers.timeshift import TimeShift
from distribution.errors import ParameterError
from distribution.scenario import Scenario

Attack = InterceptResend | TimeShift | Blinding | SourceInTheMiddle

ATTACKS: dict[str, type[Attack]] = {
    "intercept-resend": InterceptResend,
    "time-shift": TimeShift,
    "blinding": Blinding,
    "source-in-the-middle": SourceInTheMiddle,
}


def parse_attack(text: str) -> Attack:
    """An eavesdropper from NAME[:key=value,...], or from a file whose name ends in .toml.

    Raises:
        ParameterError: no such attack or file, an unknown key, or a value out of bounds.
    """
    name, table = _from_file(Path(text)) if text.endswith(".toml") else _from_text(text)
    if name not in ATTACKS:
        raise ParameterError(f"no attack {name!r}", hint=f"there are: {', '.join(ATTACKS)}")
    try:
        return msgspec.convert(table, ATTACKS[name], strict=False)
    except msgspec.ValidationError as error:
        raise ParameterError(f"attack {name}: {str(error).replace('`$.', '`')}") from error


def at_work(intercept: float, attack: str | None) -> Attack | None:
    """Who is at work: the short form for intercept-resend, or an attack by name, not both; None: nobody.

    Raises:
        ParameterError: both are given, or see `parse_attack`.
    """
    if attack is not None and intercept:
        raise ParameterError(
            f"an intercepted fraction of {intercept} and the attack {attack!r} at once",
            hint="name one: intercept-resend:fraction=F is an attack, too",
        )
    if attack is not None:
        return parse_attack(attack)
    return InterceptResend(intercept) if intercept else None


def describe(attack: Attack) -> dict[str, Any]:
    """Name and parameters of an attack, for a record of the truth."""
    name = next(name for name, kind in ATTACKS.items() if isinstance(attack, kind))
    return {"name": name, **msgspec.to_builtins(attack)}


def link_under(attack: Attack | None, link: Scenario) -> Scenario:
    """The link as the attack leaves it: what an outcome set cannot say, such as Eve's own dead time."""
    return attack.reshaped(link) if isinstance(attack, Blinding) else link


def _from_text(text: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = text.partition(":")
    table: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise ParameterError(f"attack {text!r}: {item!r} is no key=value", hint="like time-shift:fraction=0.5")
        table[key] = [part for part in value.split("/") if part] if "/" in value else value
    return name, table


def _from_file(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(f"attack file {path}: {error}") from error
    return str(table.pop("name", "")), table
