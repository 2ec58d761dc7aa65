"""Every format by the name that people type: how it is read and written, what it can hold, what it needs installed.

One line a format. Readers and writers are named, not imported: some need packages that not everybody has, and some
take a third of a second to load. Formats that contents cannot tell are read only by name.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from distribution.errors import ParameterError
from distribution.formats.recording import Format, Recording
from distribution.tags import TimeTags


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a caller knows about a file and the file does not say, or what is to be written into one.

    Attributes:
        unit_ps: unit of time, ps; None = the format's own.
        channel: number of the only channel.
        sync_period_ps: period of the sync input of PicoQuant's T3 recordings, ps; None = what the file says.
        repair: leave damaged stretches out and count them.
        resolution_ps, device, clock_id, start_unix_ns: to write where the format has a place for them.
    """

    unit_ps: Fraction | None = None
    channel: int | None = None
    sync_period_ps: Fraction | None = None
    repair: bool = False
    resolution_ps: float = 1.0
    device: str = ""
    clock_id: str = ""
    start_unix_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One format.

    Attributes:
        name: what people type.
        formats: what a recording of it says it was.
        suffix: a name that ends so asks for this format; "" = none.
        by_content: False = no content tells it, so it must be named.
        title: a line for people.
        module: where its functions are.
        reader, writer: their names; "" = there is none.
        unit_ps: times are written as multiples of this unless the options say otherwise.
        channels: channel numbers below this can be written.
        fixed: arguments that reader and writer always get.
        reads, writes: the fields of `Options` that each takes.
        package, extra: the module that must be importable, and the extra of this project that brings it; "" = none.
    """

    name: str
    formats: tuple[Format, ...]
    suffix: str
    title: str
    module: str
    reader: str
    writer: str = ""
    unit_ps: Fraction = Fraction(1)
    channels: int = 256
    by_content: bool = True
    fixed: dict[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    package: str = ""
    extra: str = ""

    @property
    def install(self) -> str:
        """The command that installs what it needs."""
        return f"pip install 'entangled-qkd[{self.extra}]'"

    @property
    def installed(self) -> bool:
        """True if the package that it needs is there."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    def read(self, path: Path, options: Options) -> Recording:
        """Read a file as this format, whatever its content looks like.

        Raises:
            ParameterError: the options lack what the format needs, or a package is not installed.
            TagFormatError: the file is not of this format.
        """
        recording: Recording = self._function(self.reader)(path, **self._arguments(self.reads, options))
        return recording

    def write(self, path: Path, tags: TimeTags, options: Options) -> None:
        """Write tags as this format, atomically.

        Raises:
            ParameterError: it is read only, cannot hold these tags, or a package is not installed.
        """
        if not self.writer:
            raise ParameterError(f"{self.name} can be read but not written", hint="see: qkd tags formats")
        self._function(self.writer)(path, tags, **self._arguments(self.writes, options))

    def _function(self, name: str) -> Any:
        if not self.installed:
            raise ParameterError(f"{self.name} needs {self.package}, which is not installed", hint=self.install)
        return getattr(importlib.import_module(f"distribution.formats.{self.module}"), name)

    def _arguments(self, wanted: tuple[str, ...], options: Options) -> dict[str, Any]:
        arguments = {name: getattr(options, name) for name in wanted}
        if "unit_ps" in arguments:
            arguments["unit_ps"] = options.unit_ps or self.unit_ps
        if "channel" in arguments and options.channel is None:
            raise ParameterError(f"{self.name} files do not say which channel they are", hint="name it: --channel N")
        return self.fixed | arguments


_S15_UNIT = Fraction(125, 32)
_ABOUT = ("resolution_ps", "device")

FORMATS: tuple[Entry, ...] = (
    Entry(
        name="qtag", formats=(Format.NATIVE,), suffix=".qtag", title="native: coded gaps, checked chunks",
        module="native", reader="read_native", writer="write_tags", reads=("repair",),
        writes=("unit_ps", "device", "clock_id", "start_unix_ns"),
    ),
    Entry(
        name="a1", formats=(Format.S15_A1,), suffix=".a1", title="S-Fifteen binary words",
        module="s15", reader="read_a1", writer="write_a1", unit_ps=_S15_UNIT, channels=4, fixed={"legacy": False},
    ),
    Entry(
        name="a1x", formats=(Format.S15_A1_LEGACY,), suffix=".a1x", title="S-Fifteen binary words, high half first",
        module="s15", reader="read_a1", writer="write_a1", unit_ps=_S15_UNIT, channels=4, fixed={"legacy": True},
    ),
    Entry(
        name="a0", formats=(Format.S15_A0,), suffix=".a0", title="S-Fifteen text, a half word a line",
        module="s15_text", reader="read_text", writer="write_a0", unit_ps=_S15_UNIT, channels=4,
    ),
    Entry(
        name="a2", formats=(Format.S15_A2,), suffix=".a2", title="S-Fifteen text, a word a line",
        module="s15_text", reader="read_text", writer="write_a2", unit_ps=_S15_UNIT, channels=4,
    ),
    Entry(
        name="t1", formats=(Format.S15_T1,), suffix=".t1", title="qcrypto type 1, raw events by epoch",
        module="qcrypto", reader="read_type1", writer="write_type1", unit_ps=_S15_UNIT, channels=4,
        writes=("start_unix_ns",),
    ),
    Entry(
        name="ptu", formats=(Format.PTU_T2, Format.PTU_T3), suffix=".ptu", title="PicoQuant; written in T2 mode",
        module="ptu", reader="read_ptu", writer="write_ptu", channels=65,
        reads=("sync_period_ps",), writes=("unit_ps", "device"),
    ),
    Entry(
        name="picoquant", formats=(Format.HT2, Format.HT3, Format.PT2, Format.PT3, Format.T3R), suffix="",
        title="older PicoQuant: ht2, ht3, pt2, pt3, t3r", module="picoquant", reader="read_picoquant",
        reads=("sync_period_ps",),
    ),
    Entry(
        name="swabian", formats=(Format.SWABIAN_DUMP,), suffix=".dump", title="Swabian raw dump",
        module="swabian", reader="read_swabian", writer="write_swabian",
    ),
    Entry(
        name="parquet", formats=(Format.PARQUET,), suffix=".parquet", title="Parquet table",
        module="parquet", reader="read_parquet", writer="write_parquet",
        writes=("resolution_ps", "device", "clock_id"), package="pyarrow", extra="parquet",
    ),
    Entry(
        name="hdf5", formats=(Format.PHOTON_HDF5,), suffix=".hdf5", title="Photon-HDF5",
        module="photon_hdf5", reader="read_photon_hdf5", writer="write_photon_hdf5",
        writes=("resolution_ps", "device", "clock_id"), package="h5py", extra="hdf5",
    ),
    Entry(
        name="qutag", formats=(Format.QUTAG,), suffix=".qutag", title="qutools quTAG",
        module="qutag", reader="read_qutag", writer="write_qutag", channels=128,
        reads=("unit_ps",), writes=("unit_ps",),
    ),
    Entry(
        name="qutau", formats=(), suffix="", title="qutools quTAU, IDQ ID800: as quTAG in units of 80.955 ps",
        module="qutag", reader="read_qutag", writer="write_qutag", unit_ps=Fraction("80.955"), channels=128,
        by_content=False, reads=("unit_ps",), writes=("unit_ps",),
    ),
    Entry(
        name="id900", formats=(Format.ID900,), suffix="", title="IDQ ID900, ID1000: a file of stamps a channel",
        module="id900", reader="read_id900", writer="write_id900", by_content=False,
        reads=("unit_ps", "channel"), writes=("unit_ps",),
    ),
    Entry(
        name="npz", formats=(Format.NPZ,), suffix=".npz", title="NumPy archive",
        module="generic", reader="read_npz", writer="write_npz", writes=_ABOUT,
    ),
    Entry(
        name="csv", formats=(Format.CSV,), suffix=".csv", title="text, t_ps,channel",
        module="generic", reader="read_csv", writer="write_csv",
    ),
)  # fmt: skip


def by_name(name: str) -> Entry:
    """The format of that name.

    Raises:
        ParameterError: there is none.
    """
    for entry in FORMATS:
        if entry.name == name:
            return entry
    raise ParameterError(f"no format {name!r}", hint=f"one of: {', '.join(entry.name for entry in FORMATS)}")


def by_suffix(path: Path) -> Entry:
    """The format that a file's name asks for.

    Raises:
        ParameterError: none does.
    """
    for entry in FORMATS:
        if entry.suffix and path.suffix.lower() == entry.suffix:
            return entry
    raise ParameterError(
        f"{path.name} does not say which format to write",
        hint=f"end it in one of {' '.join(entry.suffix for entry in FORMATS if entry.suffix)}, or use --to",
    )
