"""The seam between hardware and everything above: where a station's tags come from.

A `TagSource` hands out one station's stream, in order, each tag once. Both stations' tags never meet here: a source
serves one station. Sources are opened by the name of their driver, and every driver, ours or not, comes through the
same door: an entry point of the group `entangled_qkd.tag_sources` that names a `Driver`. Nothing above imports a
driver, so what a driver drags in (a vendor's library, a simulator) is loaded only where a configuration asks for it.

`docs/tag-sources.md` says how to write one; `distribution.testing.check_tag_source` says whether it keeps the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import numpy as np

from distribution.errors import FeedError, ParameterError, QkdError, TagFormatError
from distribution.health import SourceHealth
from distribution.tags import TagChunk, TimeTags

GROUP = "entangled_qkd.tag_sources"
STATIONS = ("alice", "bob")


class TagSource(Protocol):
    """One station's stream of tags. One thread asks; `close` and `health` may be called from any."""

    @property
    def simulated(self) -> bool:
        """True when the photons came from a simulator."""
        ...

    @property
    def health(self) -> SourceHealth:
        """What was counted so far; no counter ever goes down."""
        ...

    def until(self, until_ps: int | None) -> TagChunk:
        """All tags before `until_ps` that were not handed out before; blocks until the stream got that far.

        Gaps that start in the stretch are told with it; the stream goes on through them on the same clock. A time
        that was reached before gives nothing more. With None: the first tags there are, at least one unless the
        tagger ended. The caller owns the arrays.

        Raises:
            FeedError: the stream broke, its clock started anew, it was silent for too long, or was closed.
            TagFormatError: it sent what makes no sense.
        """
        ...

    def skip_backlog(self) -> None:
        """Drop what has piled up: the next tags are the newest. A source that can wait drops nothing."""
        ...

    def close(self) -> None:
        """Let go of the device, file or line; whoever waits in `until` gets a FeedError. Twice does no harm."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """Where a source is opened.

    Attributes:
        station: whose tags these are, "alice" or "bob".
        folder: relative paths in options count from here.
    """

    station: str
    folder: Path = Path()

    def __post_init__(self) -> None:
        if self.station not in STATIONS:
            raise ParameterError(f"station {self.station!r} must be one of {', '.join(STATIONS)}")


Options = TypeVar("Options", bound=msgspec.Struct)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Driver(Generic[Options]):
    """What an entry point of the group names.

    Attributes:
        options: a msgspec Struct, frozen and keyword-only: the names, types and defaults of the options.
        open: makes a source from checked options.
        summary: one line for people.
    """

    options: type[Options]
    open: Callable[[Options, Site], TagSource]
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Installed:
    """A driver as it is installed; nothing of it has been imported.

    Attributes:
        name: what configurations call it.
        distribution: which installed project it belongs to, with its version.
        where: its entry point, "module:attribute".
    """

    name: str
    distribution: str
    where: str

    def __str__(self) -> str:
        return f"driver {self.name!r} of {self.distribution}"


def installed_drivers() -> list[Installed]:
    """All drivers of this environment, by name."""
    return sorted((_installed(entry) for entry in entry_points(group=GROUP)), key=lambda d: (d.name, d.distribution))


def load_driver(name: str) -> Driver[Any]:
    """Import a driver.

    Raises:
        ParameterError: no such driver, or two projects claim the name. FeedError: the driver is broken.
    """
    entry, who = _find(name)
    try:
        driver = entry.load()
    except Exception as error:  # a foreign module may raise anything while it is imported
        raise FeedError(
            f"{who} cannot be imported: {type(error).__name__}: {error}",
            hint=f"install it again, with what it needs; its entry point is {who.where}",
        ) from error
    if not isinstance(driver, Driver) or not (
        isinstance(driver.options, type) and issubclass(driver.options, msgspec.Struct)
    ):
        raise FeedError(
            f"{who} is no Driver but {type(driver).__name__}",
            hint=f"its entry point {who.where} must name a distribution.delivery.Driver with a msgspec Struct",
        )
    return driver


def check_options(name: str, options: Mapping[str, Any]) -> msgspec.Struct:
    """The options of a driver, checked and with its defaults.

    Raises:
        ParameterError: no such driver, an option it does not know, one that is missing or out of range.
        FeedError: the driver is broken.
    """
    driver = load_driver(name)
    known = sorted(field.encode_name for field in msgspec.structs.fields(driver.options))
    for key in options:
        if key not in known:
            raise ParameterError(
                f"driver {name!r} knows no option {key!r}", hint=f"it knows: {', '.join(known) or 'none at all'}"
            )
    try:
        return msgspec.convert(dict(options), driver.options)
    except msgspec.ValidationError as error:
        raise ParameterError(f"driver {name!r}: {error}".replace("$.", "")) from error


def open_source(name: str, options: Mapping[str, Any], site: Site) -> TagSource:
    """Open a source by the name of its driver.

    Args:
        name: the driver.
        options: by name, as a configuration file gives them.
        site: for whom.

    Returns:
        The source, watched: whatever its driver does wrong comes out as one of our errors that names it.

    Raises:
        ParameterError: no such driver, or its options are wrong. FeedError, TagFormatError: it cannot be opened.
    """
    checked = check_options(name, options)
    _, who = _find(name)
    try:
        return _Watched(load_driver(name).open(checked, site), str(who))
    except QkdError:
        raise
    except Exception as error:
        raise _broken(str(who), error) from error


def _find(name: str) -> tuple[EntryPoint, Installed]:
    found = [(entry, _installed(entry)) for entry in entry_points(group=GROUP, name=name)]
    if not found:
        names = ", ".join(sorted({d.name for d in installed_drivers()})) or "none"
        raise ParameterError(
            f"no driver {name!r} is installed; there are: {names}",
            hint="install the project that brings it; if it came with this one, install this one again",
        )
    if len(found) > 1:
        owners = " and ".join(sorted(who.distribution for _, who in found))
        raise ParameterError(f"driver {name!r} is claimed by {owners}", hint="uninstall all but one of them")
    return found[0]


def _installed(entry: EntryPoint) -> Installed:
    owner = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown project"
    return Installed(entry.name, owner, entry.value)


def _broken(who: str, error: Exception) -> FeedError:
    return FeedError(
        f"{who} failed: {type(error).__name__}: {error}",
        hint="this is a fault of the driver: report it to its authors, with check_tag_source's verdict",
    )


class _Watched:
    """A driver's source behind a guard: no foreign exception and no impossible tag gets past it."""

    def __init__(self, source: TagSource, who: str) -> None:
        self._source = source
        self._who = who
        self._given_ps: int | None = None
        self.simulated = source.simulated
        if not isinstance(self.simulated, bool):
            raise FeedError(f"{who} does not say whether its photons are simulated")
        if not isinstance(source.health, SourceHealth):
            raise FeedError(f"{who} keeps no counters: its health is {type(source.health).__name__}")

    @property
    def health(self) -> SourceHealth:
        return self._guard(lambda: self._source.health)

    def until(self, until_ps: int | None) -> TagChunk:
        chunk = self._guard(lambda: self._source.until(until_ps))
        self._check(chunk, until_ps)
        return chunk

    def skip_backlog(self) -> None:
        self._guard(self._source.skip_backlog)

    def close(self) -> None:
        self._guard(self._source.close)

    def _guard(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except QkdError:
            raise
        except Exception as error:
            raise _broken(self._who, error) from error

    def _check(self, chunk: TagChunk, until_ps: int | None) -> None:
        if not isinstance(chunk, TagChunk) or not isinstance(chunk.tags, TimeTags):
            raise FeedError(f"{self._who} handed out {type(chunk).__name__} instead of a TagChunk")
        t_ps = chunk.tags.t_ps
        if t_ps.size:
            if np.any(t_ps[1:] < t_ps[:-1]) or (self._given_ps is not None and t_ps[0] < self._given_ps):
                raise TagFormatError(f"{self._who} handed out tags whose times run backwards")
            if until_ps is not None and t_ps[-1] >= until_ps:
                raise TagFormatError(f"{self._who} handed out a tag at {t_ps[-1]} ps when asked for those before it")
            self._given_ps = int(t_ps[-1])
