"""The shipped family of quasi-cyclic parity-check matrices: what a code is, and reading it.

A code is laid out so that adaption needs no choice: the first payload_bits / Z columns carry the payload; every
further column may be punctured. Of these, taken column by column in the order of `puncturable`, the first p positions
are punctured (random bits that only Alice knows) and the rest shortened (known zeros): that discloses rows * Z - p
bits about the payload. No two of these columns share a check.

The data are text, made by `qkd codes make` and looked at by `qkd codes show`; docs/ldpc-codes.md tells the design.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from qkd.errors import ParameterError

SIZES = (16384, 65536, 262144)
SCHEMA = "qkd.ldpc-codes.v1"


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """One quasi-cyclic parity-check matrix.

    Attributes:
        name: payload and leak, for people and reports.
        payload_bits: bits of a frame; bit i is position i % lifting of column i // lifting.
        lifting: size Z of a circulant.
        rows, columns: size of the base matrix.
        starts: int32, shape (rows + 1,): row r has the entries starts[r] .. starts[r + 1] - 1.
        column, shift: int32, shape (edges,), sorted by row, then column. Entry (r, c, s): check r*Z + t joins bit
            c*Z + (t + s) % Z, t = 0 .. Z-1.
        puncturable: int32: the columns beyond the payload in the order in which they are punctured.
        threshold_qber: error rate below which density evolution of the degrees converges, nothing punctured.
    """

    name: str
    payload_bits: int
    lifting: int
    rows: int
    columns: int
    starts: npt.NDArray[np.int32]
    column: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int32]
    puncturable: npt.NDArray[np.int32]
    threshold_qber: float

    @property
    def leak_fraction(self) -> float:
        """Syndrome bits over payload bits, nothing punctured."""
        return self.rows * self.lifting / self.payload_bits

    @property
    def least_leak_fraction(self) -> float:
        """The same with everything punctured that may be."""
        return (self.rows - self.puncturable.size) * self.lifting / self.payload_bits


def text_of(payload_bits: int) -> str:
    """The data file of one payload size, as shipped.

    Raises:
        ParameterError: there is no family of that size.
    """
    if payload_bits not in SIZES:
        raise ParameterError(f"no codes for frames of {payload_bits} bits: the sizes are {', '.join(map(str, SIZES))}")
    return data_text(file_name(payload_bits))


def data_text(name: str) -> str:
    """One of the shipped files."""
    return files("qkd.reconciliation").joinpath("data", name).read_text(encoding="ascii")


def file_name(payload_bits: int) -> str:
    """Name of the data file of one payload size."""
    return f"ldpc-{payload_bits}.json"


def checksum(text: str) -> str:
    """What `qkd codes check` compares: SHA-256 of a data file, hexadecimal."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@cache
def family(payload_bits: int) -> tuple[Code, ...]:
    """All codes for frames of `payload_bits`, ascending leak fraction; their leak ranges leave no gap.

    Raises:
        ParameterError: there is no family of that size.
    """
    return parse(text_of(payload_bits))


def parse(text: str) -> tuple[Code, ...]:
    """The codes of a data file.

    Raises:
        ParameterError: it is not such a file.
    """
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ParameterError(f"schema {document['schema']!r} is not {SCHEMA}")
        return tuple(_code(document["payload_bits"], document["lifting"], each) for each in document["codes"])
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(f"not a file of codes: {error!r}") from error


def write(codes: tuple[Code, ...]) -> str:
    """The data file of codes of one size: a base row is a line "column:shift column:shift ..."."""
    first = codes[0]
    head = f'{{"schema": "{SCHEMA}", "payload_bits": {first.payload_bits}, "lifting": {first.lifting}, "codes": [\n'
    return head + ",\n".join(_text(code) for code in codes) + "\n]}\n"


def _text(code: Code) -> str:
    fields = {"name": code.name, "threshold_qber": code.threshold_qber, "columns": code.columns}
    lines = []
    for low, high in zip(code.starts, code.starts[1:], strict=False):
        row = zip(code.column[low:high], code.shift[low:high], strict=True)
        lines.append('"' + " ".join(f"{c}:{s}" for c, s in row) + '"')
    puncturable = ", ".join(map(str, code.puncturable))
    return json.dumps(fields)[:-1] + f', "puncturable": [{puncturable}], "rows": [\n' + ",\n".join(lines) + "\n]}"


def _code(payload_bits: int, lifting: int, fields: dict[str, Any]) -> Code:
    rows = [[tuple(map(int, entry.split(":"))) for entry in row.split()] for row in fields["rows"]]
    entries = np.array([entry for row in rows for entry in row], np.int32)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    column, shift = np.ascontiguousarray(entries[:, 0]), np.ascontiguousarray(entries[:, 1])
    puncturable = np.array(fields["puncturable"], np.int32)
    for array in (starts, column, shift, puncturable):
        array.flags.writeable = False
    return Code(
        fields["name"],
        payload_bits,
        lifting,
        len(rows),
        fields["columns"],
        starts,
        column,
        shift,
        puncturable,
        fields["threshold_qber"],
    )
