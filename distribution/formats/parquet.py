"""Tags as Parquet, for whoever works with tables: columns `ts` (int64, ps) and `ch` (uint8), one row a tag.

Written with delta-coded times and dictionary-coded channels, zstd, checksums on every page, and at most 2^20 rows in a
group, so that a reader need not hold more. Unit, device and clock id stand in the schema's metadata.

Read is also what others write: the time column may be called ts, t_ps, timestamps, timestamp or time, the channel
column ch, channel, channels, detector or detectors, both of any integer type that fits. What a count of time is worth
is taken from metadata (of the schema or of the column): `unit_ps`, a number or fraction, or `unit`, one of ps, ns, us,
ms, s; a column called t_ps says it by its name. A table that leaves a choice is refused, not guessed at.

Needs pyarrow: the extra `parquet`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distribution.errors import TagFormatError
from distribution.formats.optional import optional
from distribution.formats.recording import Format, Recording, scale_to_ps, settle_order, write_atomically
from distribution.tags import TimeTags

GROUP_ROWS = 1 << 20
TIME_NAMES = ("ts", "t_ps", "timestamps", "timestamp", "time")
CHANNEL_NAMES = ("ch", "channel", "channels", "detector", "detectors")

_UNITS_PS = {"ps": 1, "ns": 10**3, "us": 10**6, "ms": 10**9, "s": 10**12}
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,18}|/[1-9]\d{0,8})?")
# Run lengths make huge tables of tiny files; no real recording has less than a hundredth of a bit for a tag.
_MAX_ROWS_PER_BYTE = 1000
_MAX_TIME_PS = 1 << 62


def read_parquet(path: Path | str) -> Recording:
    """Read tags from a Parquet file.

    Args:
        path: the file.

    Raises:
        TagFormatError: pyarrow is missing; damaged; columns or unit missing, ambiguous or of a wrong type; nulls; times
            out of order.
    """
    path = Path(path)
    parquet = optional("pyarrow.parquet", extra="parquet", what="reading Parquet")
    try:
        table = parquet.ParquetFile(path, page_checksum_verification=True)
        schema = table.schema_arrow
        rows = int(table.metadata.num_rows)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file makes a foreign parser do anything; it is the file's fault
        raise _damaged(path.name, error) from error
    time, channel = _column(schema, TIME_NAMES, path.name), _column(schema, CHANNEL_NAMES, path.name)
    unit_ps = _unit(schema, time, path.name)
    if not 0 <= rows <= path.stat().st_size * _MAX_ROWS_PER_BYTE:
        raise TagFormatError(f"{path.name}: {rows} rows in {path.stat().st_size} bytes are absurd", offset=0)
    try:
        units, numbers = _values(table, time, channel)
    except TagFormatError:
        raise
    except Exception as error:
        raise _damaged(path.name, error) from error
    if units.size != rows:
        raise TagFormatError(f"{path.name}: {rows} rows declared, {units.size} found", offset=0)
    if units.size and max(abs(int(units.min())), abs(int(units.max()))) * unit_ps >= _MAX_TIME_PS:
        raise TagFormatError(f"{path.name}: times of more than 53 days in units of {float(unit_ps):g} ps")
    t_ps = scale_to_ps(units, unit_ps.numerator, unit_ps.denominator)
    settle_order(t_ps, depth_ps=0, what=path.name, header_bytes=0, record_bytes=0)
    texts = _texts(schema.metadata)
    return Recording(
        tags=TimeTags(t_ps, numbers),
        format=Format.PARQUET,
        resolution_ps=float(_number(texts.get("resolution_ps"), "resolution_ps", path.name) or unit_ps),
        records=rows,
        device=texts.get("device", "")[:200],
        clock_id=texts.get("clock_id", "")[:200],
    )


def write_parquet(
    path: Path, tags: TimeTags, *, resolution_ps: float = 1.0, device: str = "", clock_id: str = ""
) -> None:
    """Write tags as Parquet, atomically; they come back exactly.

    Args:
        path: the file.
        tags: what to write.
        resolution_ps: the tagger's time unit, ps.
        device: the instrument, or "".
        clock_id: name of the clock that gave the times, or "".

    Raises:
        TagFormatError: pyarrow is missing.
    """
    arrow = optional("pyarrow", extra="parquet", what="writing Parquet")
    parquet = optional("pyarrow.parquet", extra="parquet", what="writing Parquet")
    texts = {"unit_ps": "1", "resolution_ps": format(resolution_ps, "f"), "device": device, "clock_id": clock_id}
    schema = arrow.schema(
        [arrow.field("ts", arrow.int64(), nullable=False), arrow.field("ch", arrow.uint8(), nullable=False)],
        metadata={key: text for key, text in texts.items() if text},
    )
    sink = arrow.BufferOutputStream()
    with parquet.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        use_dictionary=["ch"],
        column_encoding={"ts": "DELTA_BINARY_PACKED"},
        write_page_checksum=True,
    ) as writer:
        table = arrow.table([arrow.array(tags.t_ps), arrow.array(tags.channel)], schema=schema)
        writer.write_table(table, row_group_size=GROUP_ROWS)
    write_atomically(Path(path), memoryview(sink.getvalue()))


def _values(table: Any, time: str, channel: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Both columns, a batch at a time."""
    units: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    numbers: list[npt.NDArray[np.uint8]] = [np.empty(0, np.uint8)]
    row = 0
    for batch in table.iter_batches(batch_size=GROUP_ROWS, columns=[time, channel]):
        for name in (time, channel):
            if batch.column(name).null_count:
                raise TagFormatError(f"rows {row} to {row + batch.num_rows - 1}: column {name} has empty values")
        units.append(_cast(batch.column(time), np.dtype(np.int64), time, row))
        numbers.append(_cast(batch.column(channel), np.dtype(np.uint8), channel, row))
        row += batch.num_rows
    return np.concatenate(units), np.concatenate(numbers)


def _cast(column: Any, dtype: np.dtype[Any], name: str, row: int) -> npt.NDArray[Any]:
    values = column.to_numpy(zero_copy_only=False)
    limit = np.iinfo(dtype)
    if values.size and not (int(values.min()) >= limit.min and int(values.max()) <= limit.max):
        raise TagFormatError(f"rows from {row} on: column {name} has values that do not fit {dtype}")
    return values.astype(dtype)


def _column(schema: Any, names: tuple[str, ...], file: str) -> str:
    """The one column that is called one of `names`."""
    found = [name for name in schema.names if name.lower() in names]
    if len(found) != 1:
        problem = f"columns {found} compete" if found else f"no column is called any of {', '.join(names)}"
        raise TagFormatError(f"{file}: {problem}; there are {schema.names[:20]}", hint=f"keep one called {names[0]}")
    kind = str(schema.field(found[0]).type)
    if not re.fullmatch(r"u?int(8|16|32|64)", kind):
        raise TagFormatError(f"{file}: column {found[0]} holds {kind}, not whole numbers")
    return found[0]


def _unit(schema: Any, column: str, file: str) -> Fraction:
    """What a count of the time column is worth, ps; every statement about it must agree."""
    stated = {Fraction(1)} if column.lower() == "t_ps" else set()
    for metadata in (schema.metadata, schema.field(column).metadata):
        texts = _texts(metadata)
        if (number := _number(texts.get("unit_ps"), "unit_ps", file)) is not None:
            stated.add(number)
        if "unit" in texts:
            if texts["unit"] not in _UNITS_PS:
                raise TagFormatError(f"{file}: unit {texts['unit'][:20]!r} is none of {', '.join(_UNITS_PS)}")
            stated.add(Fraction(_UNITS_PS[texts["unit"]]))
    if len(stated) != 1:
        problem = "contradictory units" if stated else "no unit"
        raise TagFormatError(
            f"{file}: {problem} for column {column}",
            hint="call the column t_ps, or set unit_ps (as 1 or 125/32) in the schema's metadata",
        )
    return stated.pop()


def _number(text: str | None, key: str, file: str) -> Fraction | None:
    if text is None:
        return None
    number = Fraction(text) if _NUMBER.fullmatch(text) else Fraction(0)
    if not Fraction(1, 1000) <= number <= 10**12 or number.denominator > 10**6:
        raise TagFormatError(f"{file}: {key} {text[:40]!r} is no number of picoseconds in [0.001, 1e12]")
    return number


def _texts(metadata: dict[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in (metadata or {}).items()}


def _damaged(name: str, error: Exception) -> TagFormatError:
    return TagFormatError(f"{name} is no readable Parquet file: {str(error)[:120]}", offset=0)
