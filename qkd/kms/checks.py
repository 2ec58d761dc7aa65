"""What may be asked of a key store, and in which words it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence

from qkd.errors import KeyNotFound, NotAuthorised, ParameterError
from qkd.kms.key import Assignment


def check_request(slaves: tuple[str, ...], number: int, size_bits: int) -> None:
    """Raise ParameterError unless keys of this kind can be asked for."""
    check_size(size_bits)
    if number < 1:
        raise ParameterError(f"{number} keys were asked for: must be at least 1")
    if not slaves or len(set(slaves)) != len(slaves) or not all(slaves):
        raise ParameterError(f"slaves = {slaves} must name at least one SAE, none of them twice")


def check_size(size_bits: int) -> None:
    """Raise ParameterError unless it is a length of a key in bits."""
    if size_bits < 8 or size_bits % 8:
        raise ParameterError(f"size_bits = {size_bits} must be a multiple of 8, at least 8")


def check_distinct(names: Sequence[str]) -> None:
    """Raise ParameterError if a key is named twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ParameterError(f"{_some(twice)} named more than once")


def check_present(found: Container[str], names: Sequence[str]) -> None:
    """Raise KeyNotFound unless all names are among those found."""
    missing = [name for name in names if name not in found]
    if missing:
        raise KeyNotFound(f"{_some(missing)} not here, or not any more")


def check_caller(found: dict[str, Assignment], caller: str) -> None:
    """Raise NotAuthorised unless all keys were made for this SAE."""
    foreign = [name for name, assignment in found.items() if caller not in assignment.slaves]
    if foreign:
        raise NotAuthorised(f"{_some(foreign)} not made for {caller}")


def _some(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    verb = " is" if len(names) == 1 else " are"
    return "key " + ", ".join(names[:3]) + more + verb
