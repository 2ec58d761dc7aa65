"""Runners for what travels: public expansion, coded integers, messages, and the words of a time tagger."""

from __future__ import annotations

import hashlib

import numpy as np

from distribution.formats.s15 import decode_words, encode_words, prefers_legacy, swap_halves
from distribution.tags import TimeTags
from qkd.exchange import messages
from qkd.exchange.codec import decode, encode, pack_ascending, unpack_ascending
from qkd.knownanswers.frame import Answer, Json, Mismatch, Runner, bits_json, integers
from qkd.randomness import expand_bits, expand_permutation


def _permutation(group: Json, test: Json) -> Answer:
    found = expand_permutation(bytes.fromhex(group["randomness"]["seed"]), test["label"], test["size"])
    return Answer({"permutation": found.tolist()})


def _permutation_digest(group: Json, test: Json) -> Answer:
    found = expand_permutation(bytes.fromhex(group["randomness"]["seed"]), test["label"], test["size"])
    return Answer({"sha256": hashlib.sha256(found.astype("<u4").tobytes()).hexdigest()})


def _expanded_bits(group: Json, test: Json) -> Answer:
    found = expand_bits(bytes.fromhex(group["randomness"]["seed"]), test["label"], test["count"])
    return Answer({"bits": bits_json(found)})


def _pack(_group: Json, test: Json) -> Answer:
    values = integers(test["values"])
    width, packed = pack_ascending(values)
    back = unpack_ascending(width, packed, values.size, largest=int(values[-1]) if values.size else 0)
    if not np.array_equal(back, values):
        raise Mismatch("unpacking does not give the values back")
    return Answer({"width": width, "packed": packed.hex()})


def _unpack(_group: Json, test: Json) -> Answer:
    found = unpack_ascending(test["width"], bytes.fromhex(test["packed"]), test["count"], largest=test["largest"])
    return Answer({"values": found.tolist()})


def _message(_group: Json, test: Json) -> Answer:
    kind = getattr(messages, test["kind"])
    message = kind(**{name: _plain(value) for name, value in test["fields"].items()})
    encoded = encode(message)
    if decode(encoded) != message:
        raise Mismatch("decoding does not give the message back")
    return Answer({"encoded": encoded.hex()})


def _plain(value: object) -> object:
    """Bytes stand as {"hex": ...} in a vector, numbers of an abort as a list of pairs."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if "hex" in value else dict(value["numbers"])
    return value


def _decode(_group: Json, test: Json) -> Answer:
    message = decode(bytes.fromhex(test["encoded"]))
    return Answer({"kind": type(message).__name__, "reencoded": encode(message).hex()})


def _read_words(_group: Json, test: Json) -> Answer:
    data = bytes.fromhex(test["data"])
    legacy = len(data) % 8 == 0 and prefers_legacy(np.frombuffer(data, "<u8"))
    if legacy:
        data = swap_halves(np.frombuffer(data, "<u8")).tobytes()
    tags = decode_words(data)
    return Answer(
        {
            "order": "high half first" if legacy else "low half first",
            "tPs": tags.t_ps.tolist(),
            "channel": tags.channel.tolist(),
        }
    )


def _write_words(_group: Json, test: Json) -> Answer:
    words = encode_words(TimeTags(integers(test["tPs"]), np.array(test["channel"], np.uint8)))
    return Answer({"data": words.hex()})


RUNNERS: dict[str, Runner] = {
    "PermutationTest": _permutation,
    "PermutationDigestTest": _permutation_digest,
    "ExpandedBitsTest": _expanded_bits,
    "AscendingPackTest": _pack,
    "AscendingUnpackTest": _unpack,
    "MessageTest": _message,
    "MessageDecodeTest": _decode,
    "A1ReadTest": _read_words,
    "A1WriteTest": _write_words,
}
