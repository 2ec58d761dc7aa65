"""Runners for files with time tags: the native format, and the qcrypto packets."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from distribution.errors import TagFormatError
from distribution.formats import qcrypto_codec
from distribution.formats.native import NativeHeader, NativeReader, NativeWriter
from distribution.tags import TimeTags
from qkd.knownanswers.frame import Answer, Json, Mismatch, Runner, integers


def _native_read(_group: Json, test: Json) -> Answer:
    reader = NativeReader(io.BytesIO(bytes.fromhex(test["data"])), "the file")
    tags = _listed(list(reader))
    header = reader.header
    about = {"clockId": header.clock_id, "device": header.device, "startUnixNs": header.start_unix_ns}
    return Answer({"unitPs": str(header.unit_ps), **about, **tags})


def _native_repair(_group: Json, test: Json) -> Answer:
    reader = NativeReader(io.BytesIO(bytes.fromhex(test["data"])), "the file", repair=True)
    chunks = list(reader)
    if reader.damaged and not chunks:
        raise TagFormatError("no chunk is whole")
    return Answer({**_listed(chunks), "damaged": reader.damaged, "lost": reader.lost})


def _native_write(group: Json, test: Json) -> Answer:
    header = NativeHeader(
        unit_ps=Fraction(test["unitPs"]),
        clock_id=test["clockId"],
        device=test["device"],
        start_unix_ns=test["startUnixNs"],
    )
    buffer = io.BytesIO()
    with NativeWriter(buffer, header, chunk_events=group["parameters"]["chunkEvents"]) as writer:
        writer.append(TimeTags(integers(test["tPs"]), np.array(test["channel"], np.uint8)))
    return Answer({"data": buffer.getvalue().hex(), "rounded": writer.rounded})


def _listed(chunks: list[TimeTags]) -> Json:
    return {
        "tPs": [t for chunk in chunks for t in chunk.t_ps.tolist()],
        "channel": [c for chunk in chunks for c in chunk.channel.tolist()],
    }


def _packet(show: Callable[[Any], Json]) -> Runner:
    def run(_group: Json, test: Json) -> Answer:
        data = bytes.fromhex(test["data"])
        packet, after = qcrypto_codec.decode(data)
        if after != len(data):
            raise TagFormatError("something follows the packet", offset=after)
        if qcrypto_codec.encode(packet) != data:
            raise Mismatch("encoding does not give the packet back")
        return Answer({"epoch": packet.epoch.number, "extended": packet.epoch.extended, **show(packet)})

    return run


def _stepped(packet: qcrypto_codec.TimesAndBases | qcrypto_codec.Accepted) -> Json:
    return {"timeOrder": packet.time_order, "baseBits": packet.base_bits, "bases": packet.bases.tolist()}


def _raw(packet: qcrypto_codec.RawEvents) -> Json:
    return {"words": [word.to_bytes(8, "big").hex() for word in packet.words.tolist()]}


def _times(packet: qcrypto_codec.TimesAndBases) -> Json:
    return {**_stepped(packet), "times": packet.times.tolist(), "protocol": packet.protocol}


def _outcomes(packet: qcrypto_codec.Outcomes) -> Json:
    return {"bitsPerEntry": packet.bits_per_entry, "values": packet.values.tolist()}


def _accepted(packet: qcrypto_codec.Accepted) -> Json:
    return {**_stepped(packet), "index": packet.index.tolist()}


RUNNERS: dict[str, Runner] = {
    "NativeReadTest": _native_read,
    "NativeRepairTest": _native_repair,
    "NativeWriteTest": _native_write,
    "QcryptoRawTest": _packet(_raw),
    "QcryptoTimesTest": _packet(_times),
    "QcryptoOutcomesTest": _packet(_outcomes),
    "QcryptoAcceptedTest": _packet(_accepted),
}
