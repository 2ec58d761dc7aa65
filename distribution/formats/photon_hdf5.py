"""Photon-HDF5, the exchange format of single-molecule spectroscopy: timestamps and detectors in an HDF5 file.

Read: one spot (`/photon_data`); `timestamps` in units of `timestamps_specs/timestamps_unit` seconds, `detectors` (0 for
all where they are left out), and `nanotimes` where they can be added: that is where the timestamps count laser pulses,
`measurement_specs/laser_repetition_rate` * timestamps_unit = 1. Otherwise a nanotime refers to a pulse whose time the
timestamp does not tell, and is left alone.

Written: timestamps in ps, detectors, and the fields of `/setup` and `/identity` that format version 0.5 asks for;
device and clock id go to `/user`. Tags come back exactly.

Source: Photon-HDF5 reference documentation, "Photon-HDF5 format definition", version 0.5. Needs h5py: the extra `hdf5`.
"""

from __future__ import annotations

import datetime
import io
import math
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distribution.errors import TagFormatError
from distribution.formats.optional import optional
from distribution.formats.recording import Format, Recording, scale_to_ps, settle_order, write_atomically
from distribution.tags import TimeTags
from distribution.units import PS_PER_S

MAGIC = b"\x89HDF\r\n\x1a\n"

_SPECS = "timestamps_specs/timestamps_unit"
_MAX_DENOMINATOR = 1 << 24
_MAX_TIME_PS = 1 << 62
# Chunks that were never written cost nothing in a file and everything in memory.
_MAX_BYTES_PER_BYTE = 1000
_CHUNK = 1 << 16

# What each field is, in the words of the format definition: validators compare them with attributes called TITLE.
_TITLES = {
    "": "A file format for photon-counting detector based single-molecule spectroscopy experiments.",
    "acquisition_duration": "Measurement duration in seconds.",
    "description": "A user-defined comment describing the data file.",
    "identity": "Information about the Photon-HDF5 data file.",
    "identity/format_name": "Name of the file format.",
    "identity/format_url": "Official URL for the Photon-HDF5 format.",
    "identity/format_version": "Version for the Photon-HDF5 format.",
    "identity/creation_time": "Creation time of the current Photon-HDF5 file.",
    "identity/software_version": "Version of the software used to create current the Photon-HDF5 file.",
    "identity/software": "Name of the software used to create the current Photon-HDF5 file.",
    "photon_data": "Group containing arrays of photon-data.",
    "photon_data/detectors": "Array of pixel IDs for each timestamp.",
    "photon_data/timestamps": (
        "Array of photon timestamps. Units specified in timestamps_units (defined in timestamps_specs/)."
    ),
    "photon_data/timestamps_specs": "Specifications for timestamps.",
    "photon_data/timestamps_specs/timestamps_unit": "Value of 1-unit timestamp-increment in seconds.",
    "setup/excitation_alternated": (
        "New in version 0.5. Indicates whether each excitation source is alternated (True, or 1) or not"
        " alternated (False, or 0)."
    ),
    "setup": "Information about the experimental setup.",
    "setup/lifetime": (
        "True (i.e. 1) if the measurement includes a nanotimes array of photon arrival times with respect to "
        "a laser pulse (as in TCSPC measurements)."
    ),
    "setup/modulated_excitation": (
        "True (i.e. 1) if there is any form of excitation modulation of excitation wavelength (as in us-ALEX "
        "or PAX) or polarization. This field is also True for pulse-interleaved excitation (PIE) or ns-ALEX "
        "measurements."
    ),
    "setup/num_pixels": "Total number of detector pixels.",
    "setup/num_polarization_ch": "Number of distinct polarization states which are acquired.",
    "setup/num_spectral_ch": "Number of distinct spectral bands which are acquired.",
    "setup/num_split_ch": (
        "Number of distinct detection channels detecting the same spectral band and polarization. This value "
        "is > 1 when using a non-polarizing beam splitter."
    ),
    "setup/num_spots": ('Number of excitation (or detection) "spots" in the sample.'),
}


def read_photon_hdf5(path: Path | str) -> Recording:
    """Read a Photon-HDF5 file of one spot.

    Args:
        path: the file.

    Raises:
        TagFormatError: h5py is missing; damaged, no Photon-HDF5, or of several spots; units absurd; times out of order.
    """
    path = Path(path)
    h5py = optional("h5py", extra="hdf5", what="reading Photon-HDF5")
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path)
    except (FileNotFoundError, TagFormatError):
        raise
    except Exception as error:  # a damaged file makes a foreign parser do anything; it is the file's fault
        raise TagFormatError(f"{path.name} is no readable HDF5 file: {str(error)[:120]}", offset=0) from error


def write_photon_hdf5(
    path: Path, tags: TimeTags, *, resolution_ps: float = 1.0, device: str = "", clock_id: str = ""
) -> None:
    """Write tags as Photon-HDF5, atomically.

    Args:
        path: the file.
        tags: what to write.
        resolution_ps: the tagger's time unit, ps.
        device: the instrument, or "".
        clock_id: name of the clock that gave the times, or "".

    Raises:
        TagFormatError: h5py is missing.
    """
    h5py = optional("h5py", extra="hdf5", what="writing Photon-HDF5")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format_name"] = np.bytes_("Photon-HDF5")
        file.attrs["format_version"] = np.bytes_("0.5")
        for name, value in _fields(tags, resolution_ps, device, clock_id).items():
            chunks = (min(_CHUNK, value.size),)
            packed = {"chunks": chunks, "compression": "gzip", "shuffle": True, "fletcher32": True}
            file.create_dataset(name, data=value, **(packed if value.ndim and value.size else {}))
        for name, title in _TITLES.items():
            file[f"/{name}"].attrs["TITLE"] = np.bytes_(title)
    write_atomically(Path(path), buffer.getbuffer())


def _fields(tags: TimeTags, resolution_ps: float, device: str, clock_id: str) -> dict[str, npt.NDArray[Any]]:
    setup = {"num_pixels": len(tags.counts()), "num_spots": 1, "num_spectral_ch": 1, "num_polarization_ch": 1}
    setup |= {"num_split_ch": 1, "modulated_excitation": 0, "lifetime": 0}
    identity = {"software": "entangled-qkd", "format_name": "Photon-HDF5", "format_version": "0.5"}
    identity |= {"format_url": "http://photon-hdf5.org/", "software_version": _own_version()}
    identity["creation_time"] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    user = {"device": device, "clock_id": clock_id}
    return {
        "photon_data/timestamps": tags.t_ps,
        "photon_data/detectors": tags.channel,
        f"photon_data/{_SPECS}": np.asarray(1e-12),
        "acquisition_duration": np.asarray(tags.span_ps / PS_PER_S),
        "description": np.asarray(np.bytes_("time tags of one station")),
        **{f"setup/{key}": np.asarray(value) for key, value in setup.items()},
        "setup/excitation_alternated": np.zeros(1, np.int64),
        **{f"identity/{key}": np.asarray(np.bytes_(text)) for key, text in identity.items()},
        "user/entangled_qkd/resolution_ps": np.asarray(resolution_ps),
        **{f"user/entangled_qkd/{key}": np.asarray(np.bytes_(text.encode())) for key, text in user.items() if text},
    }


def _own_version() -> str:
    try:
        return metadata.version("entangled-qkd")
    except metadata.PackageNotFoundError:
        return "not installed"


def _read(file: Any, path: Path) -> Recording:
    if "photon_data" not in file:
        several = "photon_data0" in file
        raise TagFormatError(
            f"{path.name} is an HDF5 file, but {'of several spots' if several else 'has no /photon_data'}",
            hint="export one spot as Photon-HDF5" if several else "only Photon-HDF5 is known; export as NPZ or Parquet",
        )
    data = file["photon_data"]
    limit = path.stat().st_size * _MAX_BYTES_PER_BYTE
    units = _vector(data, "timestamps", limit, path.name).astype(np.int64)
    channel = np.zeros(units.size, np.uint8)
    if "detectors" in data:
        channel = _channels(_vector(data, "detectors", limit, path.name), path.name)
    unit_ps = _picoseconds(_scalar(data, _SPECS), "timestamps_unit", path.name)
    fine, fine_ps = _fine(data, unit_ps, limit, path.name)
    if channel.size != units.size or fine.size not in (0, units.size):
        raise TagFormatError(f"{path.name}: {units.size} timestamps, {channel.size} detectors, {fine.size} nanotimes")
    if units.size and max(abs(int(units.min())), abs(int(units.max()))) * unit_ps >= _MAX_TIME_PS:
        raise TagFormatError(f"{path.name}: times of more than 53 days in units of {float(unit_ps):g} ps")
    t_ps = scale_to_ps(units, unit_ps.numerator, unit_ps.denominator)
    if fine.size:
        t_ps = t_ps + scale_to_ps(fine, fine_ps.numerator, fine_ps.denominator)
    depth_ps = math.ceil(unit_ps) if fine.size else 0
    order, reordered = settle_order(t_ps, depth_ps=depth_ps, what=path.name, header_bytes=0, record_bytes=0)
    user = file.get("user/entangled_qkd", {})
    stated = _scalar(user, "resolution_ps")
    return Recording(
        tags=TimeTags(t_ps, channel) if order is None else TimeTags(t_ps[order], channel[order]),
        format=Format.PHOTON_HDF5,
        resolution_ps=stated if stated and 1e-3 <= stated <= 1e12 else float(fine_ps if fine.size else unit_ps),
        records=units.size,
        reordered=reordered,
        device=_text(user, "device"),
        clock_id=_text(user, "clock_id"),
    )


def _fine(data: Any, unit_ps: Fraction, limit: int, name: str) -> tuple[npt.NDArray[np.int64], Fraction]:
    """Nanotimes and their unit, ps; none where they cannot be added to the timestamps."""
    rate_hz = _scalar(data, "measurement_specs/laser_repetition_rate") or 0.0
    if "nanotimes" not in data or not abs(rate_hz * float(unit_ps) * 1e-12 - 1) < 0.02:
        return np.empty(0, np.int64), Fraction(0)
    fine = _vector(data, "nanotimes", limit, name).astype(np.int64)
    fine_ps = _picoseconds(_scalar(data, "nanotimes_specs/tcspc_unit"), "tcspc_unit", name)
    # A TCSPC range may reach over the next pulse by a little, never over many.
    if fine.size and not (fine.min() >= 0 and int(fine.max()) * fine_ps <= 8 * unit_ps):
        raise TagFormatError(
            f"{name}: nanotimes reach {fine.max()} units of {float(fine_ps):g} ps, the laser period is less"
        )
    return fine, fine_ps


def _vector(data: Any, key: str, limit: int, name: str) -> npt.NDArray[Any]:
    node = data.get(key)
    if getattr(node, "ndim", None) != 1 or node.dtype.kind not in "iu":
        raise TagFormatError(f"{name}: /photon_data/{key} is no vector of whole numbers")
    if node.size * node.dtype.itemsize > limit:
        raise TagFormatError(f"{name}: {node.size} {key} in so small a file are absurd", offset=0)
    values: npt.NDArray[Any] = node[:]
    if values.dtype == np.uint64 and values.size and int(values.max()) >= _MAX_TIME_PS:
        raise TagFormatError(f"{name}: {key} reach {values.max()}")
    return values


def _channels(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    if values.size and not (values.min() >= 0 and values.max() <= 255):
        raise TagFormatError(f"{name}: detectors from {values.min()} to {values.max()}, 0..255 are possible")
    return values.astype(np.uint8)


def _scalar(data: Any, key: str) -> float | None:
    node = data.get(key)
    if getattr(node, "size", None) != 1 or node.dtype.kind not in "fiu":
        return None
    value = float(np.asarray(node[()]).reshape(-1)[0])
    return value if math.isfinite(value) else None


def _text(data: Any, key: str) -> str:
    node = data.get(key)
    value = node[()] if getattr(node, "shape", None) == () else b""
    return value.decode("utf-8", "replace")[:200] if isinstance(value, bytes) else ""


def _picoseconds(seconds: float | None, key: str, name: str) -> Fraction:
    if seconds is None or not 1e-15 <= seconds <= 1:
        raise TagFormatError(f"{name}: {key} of {seconds!r} s is missing or absurd")
    return Fraction(seconds * 1e12).limit_denominator(1000 if seconds < 1e-9 else _MAX_DENOMINATOR)
