"""Time tag files: `read(path)` finds the format by content, never by suffix, and returns a `Recording`.

Vendors' and scientific containers and our own qtag have magic bytes, CSV and S-Fifteen a0 and a2 are plain text, and
qcrypto's type 1 has a header of its own. S-Fifteen a1, quTAG and Swabian dumps have no signature at all, so they are
told by whether their records make sense: which lay-out gives ascending times and possible channels. A file that fits
none is an error that names the first byte which does not fit. How a format is called, read by name and written is in
`registry`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

from distribution.errors import ParameterError, TagFormatError
from distribution.formats import qcrypto
from distribution.formats.generic import NPZ_MAGIC, TEXT_BYTES, read_csv
from distribution.formats.native import MAGIC as NATIVE_MAGIC
from distribution.formats.qutag import HEADER_BYTES, RECORD, read_qutag
from distribution.formats.qutag import fits as fits_qutag
from distribution.formats.recording import Format, Recording
from distribution.formats.s15 import WORD_BYTES, read_a1
from distribution.formats.s15 import fits as fits_a1
from distribution.formats.s15_text import digits_of, read_text
from distribution.formats.swabian import fits as fits_swabian
from distribution.formats.swabian import read_swabian

__all__ = ["Format", "Recording", "read"]

HEAD_BYTES = 1 << 16

# Magic bytes -> module and function of the reader, imported only by those who need it.
_READERS = {
    NATIVE_MAGIC: ("distribution.formats.native", "read_native"),
    NPZ_MAGIC: ("distribution.formats.generic", "read_npz"),
    b"PQTTTR\0\0": ("distribution.formats.ptu", "read_ptu"),
    b"HydraHarp\0": ("distribution.formats.picoquant", "read_picoquant"),
    b"PicoHarp 300": ("distribution.formats.picoquant", "read_picoquant"),
    b"TimeHarp 200": ("distribution.formats.picoquant", "read_picoquant"),
    b"PAR1": ("distribution.formats.parquet", "read_parquet"),
    b"\x89HDF\r\n\x1a\n": ("distribution.formats.photon_hdf5", "read_photon_hdf5"),
}
_TAKE_SYNC_PERIOD = ("read_ptu", "read_picoquant")
# Named, because "is a PNG image" helps more than "time runs backwards at word 1".
_FOREIGN = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "gzip-compressed: decompress it first",
    b"BZh": "bzip2-compressed: decompress it first",
    b"\xfd7zXZ": "xz-compressed: decompress it first",
    b"\x28\xb5\x2f\xfd": "zstd-compressed: decompress it first",
    b"\x93NUMPY": "a single NumPy array: save t_ps and channel together with numpy.savez",
    b"\x7fELF": "a program",
    b"PQHISTO": "a PicoQuant histogram: it has no time tags",
}


def read(path: Path | str, *, sync_period_ps: Fraction | float | None = None) -> Recording:
    """Read a recording of any format that we know.

    Args:
        path: the file.
        sync_period_ps: for PicoQuant's T3 recordings: the period of the sync input, ps, where the caller knows it
            better than the file; None: what the file says.

    Returns:
        Its tags, with counts that add up.

    Raises:
        TagFormatError: the file is empty, cut short, shuffled or no tag file.
        ParameterError: a sync period for a file that has none.
        OSError: it cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise TagFormatError(f"{path.name} is empty", offset=0)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise TagFormatError(f"{path.name} is {what}", offset=0)
    if (recording := _read_marked(path, head, sync_period_ps)) is not None:
        return recording
    if not head.translate(None, TEXT_BYTES):
        return read_text(path) if digits_of(head) in (8, 16) else read_csv(path)
    if qcrypto.fits(head):
        return qcrypto.read_type1(path)
    return _read_unsigned(path, head)


def _read_marked(path: Path, head: bytes, sync_period_ps: Fraction | float | None) -> Recording | None:
    """The formats with magic bytes; None for all others."""
    timing = {} if sync_period_ps is None else {"sync_period_ps": sync_period_ps}
    for magic, (module, function) in _READERS.items():
        if head.startswith(magic) and (not timing or function in _TAKE_SYNC_PERIOD):
            reader: Callable[..., Recording] = getattr(importlib.import_module(module), function)
            return reader(path, **timing)
    if timing:
        raise ParameterError(f"sync_period_ps is for PicoQuant's T3 recordings, {path.name} is none")
    return None


def _read_unsigned(path: Path, head: bytes) -> Recording:
    """The formats without a signature: take the one whose records make sense."""
    size = path.stat().st_size
    if fits_swabian(head):
        return read_swabian(path)
    whole_a1 = size % WORD_BYTES == 0
    whole_qutag = size > HEADER_BYTES and (size - HEADER_BYTES) % RECORD.itemsize == 0
    # Two or three records may make sense as both; then the length decides, and a1 before quTAG.
    as_a1, as_qutag = fits_a1(head), fits_qutag(head)
    if as_qutag and (not as_a1 or (whole_qutag and not whole_a1)):
        return read_qutag(path)
    if as_a1:
        return read_a1(path)
    _refuse(path, read_qutag if whole_qutag and not whole_a1 else read_a1)


def _refuse(path: Path, reader: Callable[[Path], Recording]) -> NoReturn:
    """Say what keeps the file from being read as the format that its length fits best."""
    unknown = TagFormatError(
        f"{path.name} is in no format that we know",
        hint="qkd tags formats lists the known ones, some of which must be named; if it is one of them, it is broken",
    )
    if packet := qcrypto.describe(path):
        raise TagFormatError(f"{path.name} is {packet}", offset=0)
    try:
        reader(path)
    except TagFormatError as error:
        unknown = TagFormatError(f"{unknown}; nearest guess: {error}", hint=unknown.hint)
        unknown.offset = error.offset  # the message names the byte already
        raise unknown from error
    raise unknown
