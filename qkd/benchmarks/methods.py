"""The methods of error correction that can be measured: one entry each, so that a new one is one entry more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qkd.errors import ParameterError
from qkd.exchange.steps import Steps
from qkd.randomness import SecretBits
from qkd.reconciliation.frame import Frame, Reconciled

RoleSteps = Callable[[Sequence[Frame], Any, SecretBits], Steps[Reconciled]]


@dataclass(frozen=True, slots=True)
class Method:
    """A method's presets by name, and its two roles: `alice(frames, preset, secrets)`, `bob(...)` alike."""

    presets: Mapping[str, Any]
    alice: RoleSteps
    bob: RoleSteps


def _cascade() -> Method:
    from qkd.reconciliation import cascade

    return Method(cascade.PRESETS, cascade.alice, lambda frames, preset, _secrets: cascade.bob(frames, preset))


def _ldpc() -> Method:
    from qkd.reconciliation import ldpc

    return Method(ldpc.PRESETS, ldpc.alice, lambda frames, preset, _secrets: ldpc.bob(frames, preset))


METHODS: dict[str, Callable[[], Method]] = {"cascade": _cascade, "ldpc": _ldpc}


def find_method(name: str, preset: str) -> Method:
    """The method of that name, sure to have the preset.

    Raises:
        ParameterError: there is no such method, or it has no such preset.
    """
    if name not in METHODS:
        raise ParameterError(f"method {name!r}: unknown", hint=f"choose {' or '.join(METHODS)}")
    method = METHODS[name]()
    if preset not in method.presets:
        known = ", ".join(method.presets)
        raise ParameterError(f"preset {preset!r} of {name}: unknown", hint=f"presets of {name}: {known}")
    return method


def all_presets() -> list[tuple[str, str]]:
    """Every (method, preset) of this installation."""
    return [(name, preset) for name, make in METHODS.items() for preset in make().presets]
