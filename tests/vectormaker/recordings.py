"""Vectors of files with time tags: the native format and the qcrypto packets, from their references in plain Python."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

from tests.reference import qcrypto, qtag
from tests.vectormaker.frame import (
    HEX,
    INTEGER,
    NATURAL,
    TEXT,
    Flag,
    GroupSchema,
    Json,
    Source,
    array,
    case,
    document,
    file_schema,
    group,
)

# ------------------------------------------------------------------------------------------------ the native format

_TAGS: Json = {"tPs": array(INTEGER), "channel": array(NATURAL)}
_HEADER: Json = {"unitPs": TEXT, "clockId": TEXT, "device": TEXT, "startUnixNs": {"type": ["integer", "null"]}}
_COUNTS: Json = {"damaged": NATURAL, "lost": {"type": ["integer", "null"], "minimum": 0}}

NATIVE_SCHEMA = file_schema(
    "QTAG",
    "The native format of time tags",
    [
        GroupSchema("NativeReadTest", {"data": HEX}, {**_HEADER, **_TAGS}, errors=("TagFormatError",)),
        GroupSchema("NativeRepairTest", {"data": HEX}, {**_TAGS, **_COUNTS}, errors=("TagFormatError",)),
        GroupSchema(
            "NativeWriteTest",
            {**_HEADER, **_TAGS},
            {"data": HEX, "rounded": NATURAL},
            parameters={"chunkEvents": NATURAL},
            errors=("ParameterError",),
        ),
    ],
)

_PS, _S15, _QUTAU = Fraction(1), Fraction(125, 32), Fraction("80.955")


def _about(unit: Fraction, clock_id: str = "", device: str = "", start: int | None = None) -> Json:
    return {"unitPs": str(unit), "clockId": clock_id, "device": device, "startUnixNs": start}


def _tags(units: list[int], channels: list[int], unit: Fraction = _PS) -> Json:
    return {"tPs": [qtag.to_ps(u, unit) for u in units], "channel": channels}


def _file(*blocks: bytes, unit: Fraction = _PS) -> bytes:
    return qtag.header(unit) + b"".join(blocks)


def _changed(data: bytes, at: int, value: bytes, sealed: tuple[int, int] | None = None) -> str:
    """Bytes replaced, and a block's checksum made right again if it is not the checksum that must object."""
    changed = bytearray(data)
    changed[at : at + len(value)] = value
    if sealed:
        start, size = sealed
        changed[start : start + size] = qtag.seal(bytes(changed[start : start + size - 4]))
    return bytes(changed).hex()


def native() -> Json:
    """Files as they should be, files that are not, and what can be saved of those."""
    return document(
        "QTAG",
        "native.v1.schema.json",
        Source(
            "tests/reference/qtag.py (strings of bits and integers)",
            "1",
            "distribution/formats/native_codec.py, the description of the format at its head",
        ),
        """A whole file of the native format each. unitPs is a fraction in lowest terms; tPs is units times unitPs, to
        nearest, halves up; startUnixNs is null where unknown. A reader that repairs leaves out what is damaged or
        missing, counts the stretches (damaged; an end that is missing is one) and, if it finds the end block, the
        events (lost; else null). A writer starts a chunk every chunkEvents events, takes for each the k that the
        description names, and counts the events that do not come back exactly (rounded).""",
        _NATIVE_NOTES,
        [
            group("NativeReadTest", _native_reads()),
            group("NativeRepairTest", _native_repairs()),
            group("NativeWriteTest", _native_writes(), parameters={"chunkEvents": 3}),
        ],
    )


def _native_reads() -> list[Json]:
    units, channels = [100, 100, 164, 5000, 123456], [0, 3, 3, 1, 0]
    one = qtag.chunk(0, units, channels)
    good = _file(one, qtag.end(1, 5, 123456))
    two = _file(qtag.chunk(0, [1, 5], [9, 9]), qtag.chunk(1, [5, 70], [2, 9]), qtag.end(2, 4, 70))
    silence = [0, 7, 1 << 50, (1 << 50) + 9]

    def read(text: str, data: bytes, tags: Json, about: Json, *flags: str) -> Json:
        return case(text, {"data": data.hex()}, {**about, **tags}, flags=flags)

    def bad(text: str, data: str, flag: str) -> Json:
        return case(text, {"data": data}, flags=[flag], result="TagFormatError")

    named = qtag.header(_S15, "rubidium-1", "tägger", 1_700_000_000_000_000_000)
    grid = [0, 1, 2, 16, 48, 1 << 53]
    return [
        read("one chunk", good, _tags(units, channels), _about(_PS)),
        read("no event at all", _file(qtag.end(0, 0, 0)), _tags([], []), _about(_PS), "Empty"),
        read("two chunks that meet in one time", two, _tags([1, 5, 5, 70], [9, 9, 2, 9]), _about(_PS), "Chunks"),
        read(
            "units of 125/32 ps, and a header that says all it can",
            named + qtag.chunk(0, grid, [1] * 6) + qtag.end(1, 6, 1 << 53),
            _tags(grid, [1] * 6, _S15),
            _about(_S15, "rubidium-1", "tägger", 1_700_000_000_000_000_000),
            "Units",
        ),
        read(
            "units of 80.955 ps, negative times",
            _file(qtag.chunk(0, [-200, -1, 0, 999], [0] * 4), qtag.end(1, 4, 999), unit=_QUTAU),
            _tags([-200, -1, 0, 999], [0] * 4, _QUTAU),
            _about(_QUTAU),
            "Units",
        ),
        read(
            "a gap that is written out, behind k = 2",
            _file(qtag.chunk(0, silence, [4, 5, 4, 6], 2), qtag.end(1, 4, silence[-1])),
            _tags(silence, [4, 5, 4, 6]),
            _about(_PS),
            "LongGap",
        ),
        bad("nothing", "", "Truncated"),
        bad("half a header", good[:64].hex(), "Truncated"),
        bad("no end block", good[:-36].hex(), "Truncated"),
        bad("half an end block", good[:-18].hex(), "Truncated"),
        bad("a byte behind the end", good.hex() + "00", "Truncated"),
        bad("a bit of the header is wrong", _changed(good, 33, b"\x01"), "Checksum"),
        bad("a bit of a chunk's head is wrong", _changed(good, 128 + 17, b"\x01"), "Checksum"),
        bad("a bit of a payload is wrong", _changed(good, 128 + 44, b"\xaa"), "Checksum"),
        bad("a version of tomorrow", _changed(good, 8, b"\x02", (0, 128)), "Absurd"),
        bad("a unit of 2/2 ps", _changed(good, 12, struct.pack("<II", 2, 2), (0, 128)), "Absurd"),
        bad("a unit of 1/0 ps", _changed(good, 16, bytes(4), (0, 128)), "Absurd"),
        bad("a clock id that is not UTF-8", _changed(good, 32, b"\xff", (0, 128)), "Absurd"),
        bad("more events than the payload holds", _changed(good, 136, b"\x40", (128, 36)), "Absurd"),
        bad("fewer events than the payload holds", _changed(good, 136, b"\x01", (128, 36)), "Absurd"),
        bad("k = 55", _changed(good, 152, b"\x37", (128, 36)), "Absurd"),
        bad("channels that do not ascend", _resealed_payload(one, 0, b"\x03\x01\x00"), "Absurd"),
        bad("bits behind the last event", _resealed_payload(one, len(one) - 37, b"\x80"), "Absurd"),
        bad("the second chunk comes first", _file(*_blocks(two)[::-1], qtag.end(2, 4, 70)).hex(), "Order"),
        bad("times go back between chunks", _file(qtag.chunk(0, [9], [0]), qtag.chunk(1, [8], [0]), qtag.end(2, 2, 8)).hex(), "Order"),
        bad("the end counts one event more", _file(one, qtag.end(1, 6, 123456)).hex(), "Order"),
    ]  # fmt: skip


def _blocks(data: bytes) -> list[bytes]:
    """The chunks of a file."""
    found, at = [], 128
    while data[at : at + 4] == b"QTCH":
        after = at + 36 + struct.unpack_from("<I", data, at + 12)[0]
        found.append(data[at:after])
        at = after
    return found


def _resealed_payload(chunk: bytes, at: int, value: bytes) -> str:
    body = bytearray(chunk[36:])
    body[at : at + len(value)] = value
    head = chunk[:28] + struct.pack("<I", zlib.crc32(body))
    return _file(qtag.seal(head), bytes(body), qtag.end(1, 5, 123456)).hex()


def _native_repairs() -> list[Json]:
    chunks = [qtag.chunk(i, [100 * i, 100 * i + 7], [i % 2, 1]) for i in range(4)]
    end = qtag.end(4, 8, 307)

    def save(text: str, data: bytes, kept: list[int], damaged: int, lost: int | None) -> Json:
        units = [t for i in kept for t in (100 * i, 100 * i + 7)]
        tags = _tags(units, [c for i in kept for c in (i % 2, 1)])
        return case(text, {"data": data.hex()}, {**tags, "damaged": damaged, "lost": lost}, flags=["Repair"])

    hit = bytearray(_file(*chunks, end))
    hit[128 + len(chunks[0]) + 40] ^= 1
    broken_end = bytearray(_file(*chunks, end))
    broken_end[-5] ^= 1
    return [
        save("nothing is wrong", _file(*chunks, end), [0, 1, 2, 3], 0, 0),
        save("a payload is damaged", bytes(hit), [0, 2, 3], 1, 2),
        save("two chunks in a row are missing", _file(chunks[0], chunks[3], end), [0, 3], 1, 4),
        save("two single chunks are missing", _file(chunks[0], chunks[2], end), [0, 2], 2, 4),
        save("a chunk comes twice", _file(chunks[0], *chunks, end), [0, 1, 2, 3], 1, 0),
        save("something else stands between", _file(chunks[0], b"QTCHQTND", *chunks[1:], end), [0, 1, 2, 3], 1, 0),
        save("cut inside the last chunk", _file(*chunks)[:-1], [0, 1, 2], 1, None),
        save("the end is damaged", bytes(broken_end), [0, 1, 2, 3], 1, None),
        case("no chunk is whole", {"data": _file(*chunks)[:150].hex()}, flags=["Repair"], result="TagFormatError"),
        case("the header is damaged", {"data": _file(*chunks, end)[1:].hex()}, flags=["Repair"], result="TagFormatError"),
    ]  # fmt: skip


def _native_writes() -> list[Json]:
    def one(text: str, t_ps: list[int], channel: list[int], unit: Fraction, *flags: str, **about: object) -> Json:
        header = _about(unit, **about)  # type: ignore[arg-type]
        data = qtag.write(t_ps, channel, unit, chunk_events=3, **about)
        rounded = sum(qtag.to_ps(qtag.to_units(t, unit), unit) != t for t in t_ps)
        inputs = {**header, "tPs": t_ps, "channel": channel}
        return case(text, inputs, {"data": data.hex(), "rounded": rounded}, flags=flags)

    def bad(text: str, t_ps: list[int], unit: Fraction, **about: object) -> Json:
        header = _about(unit, **about)  # type: ignore[arg-type]
        inputs = {**header, "tPs": t_ps, "channel": [0] * len(t_ps)}
        return case(text, inputs, flags=["OutOfRange"], result="ParameterError")

    far = (1 << 62) - 1
    return [
        one("nothing", [], [], _PS, "Empty"),
        one("seven events in three chunks", [5, 9, 9, 200, 1000, 10**12, 10**12 + 1], [1, 2, 1, 0, 0, 255, 7], _PS, "Chunks"),
        one("rounded to 125 ps, halves up", [-63, -62, 62, 63, 250], [0] * 5, Fraction(125), "Units"),
        one("exact at 125/32 ps", [0, 4, 8, 12, 16, 125], [0, 1, 2, 3, 0, 1], _S15, "Units", clock_id="a", device="b", start=-7),
        one("as far as times go", [-far, 0, far], [3, 3, 4], _PS, "LongGap"),
        bad("times that descend", [5, 4], _PS),
        bad("54 days", [1 << 62], _PS),
        bad("a clock id of 33 bytes", [1], _PS, clock_id="x" * 33),
        bad("a unit whose numerator is 2^20 + 1", [1], Fraction((1 << 20) + 1)),
    ]  # fmt: skip


_NATIVE_NOTES = {
    "Empty": Flag("EDGE_CASE", "No event.", "A station may see nothing; that is no error."),
    "Chunks": Flag("BASIC", "More than one chunk.", "Each stands alone: its first gap is 0."),
    "Units": Flag("BASIC", "A unit other than 1 ps.", "Times would be stretched or rounded otherwise."),
    "LongGap": Flag("EDGE_CASE", "A gap too long for a Rice code is written out.", "Events after it would be nonsense."),
    "Truncated": Flag("MALFORMED", "The file ends too early or too late.", "A file that was cut must not pass for whole."),
    "Checksum": Flag("MALFORMED", "A checksum does not fit.", "Damaged times would be believed."),
    "Absurd": Flag("MALFORMED", "Checksums fit, what they cover does not.", "Crashes, or two readers that disagree."),
    "Order": Flag("MALFORMED", "Chunks are missing, doubled or swapped.", "Time would run backwards, or events be lost."),
    "Repair": Flag("BASIC", "A reader that was asked to repair.", "It must count what it leaves out, and invent nothing."),
    "OutOfRange": Flag("MALFORMED", "What the format cannot hold.", "It must be refused, not bent."),
}  # fmt: skip

# ------------------------------------------------------------------------------------------------ qcrypto packets

_EPOCH: Json = {"epoch": NATURAL, "extended": {"type": "boolean"}}
_STEPPED: Json = {"timeOrder": NATURAL, "baseBits": NATURAL, "bases": array(NATURAL)}

QCRYPTO_SCHEMA = file_schema(
    "QCRYPTO-STREAMS",
    "qcrypto packets of types 1 to 4",
    [
        GroupSchema("QcryptoRawTest", {"data": HEX}, {**_EPOCH, "words": array(HEX)}, errors=("TagFormatError",)),
        GroupSchema(
            "QcryptoTimesTest",
            {"data": HEX},
            {**_EPOCH, **_STEPPED, "times": array(NATURAL), "protocol": NATURAL},
            errors=("TagFormatError",),
        ),
        GroupSchema(
            "QcryptoOutcomesTest",
            {"data": HEX},
            {**_EPOCH, "bitsPerEntry": NATURAL, "values": array(NATURAL)},
            errors=("TagFormatError",),
        ),
        GroupSchema(
            "QcryptoAcceptedTest",
            {"data": HEX},
            {**_EPOCH, **_STEPPED, "index": array(NATURAL)},
            errors=("TagFormatError",),
        ),
    ],
)

_NUMBER = 0xBA1F36C0
_SAID: Json = {"epoch": _NUMBER, "extended": True}


def qcrypto_streams() -> Json:
    """One packet of each type, and what a peer or a broken disk may make of it."""
    return document(
        "QCRYPTO-STREAMS",
        "qcrypto.v1.schema.json",
        Source(
            "tests/reference/qcrypto.py (strings of bits)",
            "1",
            "qcrypto filespec.txt; chopper.c for base bits behind the step, where the text puts them ahead",
        ),
        """data is one packet and must be used up. words are the events of type 1, most significant byte first; times are
        1/8 ns since the epoch began. Whatever is valid must be encoded to the same bytes again, with its time order and
        with its length stated.""",
        _QCRYPTO_NOTES,
        [
            group("QcryptoRawTest", _raw()),
            group("QcryptoTimesTest", _times()),
            group("QcryptoOutcomesTest", _outcomes()),
            group("QcryptoAcceptedTest", _accepted()),
        ],
    )


def _refused(text: str, data: bytes, flag: str) -> Json:
    return case(text, {"data": data.hex()}, flags=[flag], result="TagFormatError")


def _raw() -> list[Json]:
    low = _NUMBER % (1 << 17)
    events = [low << 47 | k << 10 | bits for k, bits in ((5, 1), (900, 2), (1 << 36, 0b1001), ((1 << 37) - 1, 16))]
    good = qcrypto.type1(_NUMBER, events)
    shown = {**_SAID, "words": [event.to_bytes(8, "big").hex() for event in events]}
    return [
        case("four events", {"data": good.hex()}, shown),
        _refused("the word of zeros is missing", good[:-8], "Truncated"),
        _refused("one event fewer than stated", good[:20] + good[28:], "Length"),
        _refused("one event more than stated", good[:28] + good[20:], "Length"),
        _refused("an event of another epoch", good[:23] + bytes([good[23] ^ 1]) + good[24:], "OtherEpoch"),
        _refused("48 bits an event", good[:12] + struct.pack("<I", 48) + good[16:], "Absurd"),
    ]


def _times() -> list[Json]:
    times, bases = [5, 105, 107, 300_000, (1 << 32) - 1], [1, 0, 1, 1, 0]

    def packet(order: int, base_bits: int = 1) -> bytes:
        return qcrypto.type2(_NUMBER, times, bases if base_bits else [0] * 5, order, base_bits, 1)

    def good(text: str, order: int, base_bits: int, *flags: str) -> Json:
        data = packet(order, base_bits)
        shown = {
            **_SAID, "timeOrder": order, "baseBits": base_bits, "bases": bases if base_bits else [0] * 5,
            "times": times, "protocol": 1,
        }  # fmt: skip
        return case(text, {"data": data.hex()}, shown, flags=flags)

    def coded(bits: str, length: int = 0, order: int = 8) -> bytes:
        return struct.pack("<IIIiii", 0x102, _NUMBER, length, order, 1, 1) + qcrypto.words(bits)

    three = qcrypto.steps([5, 9, 300], [1, 0, 1], 8, 1)
    return [
        good("17 bits of time, one of basis", 17, 1),
        good("4 bits of time: most steps are written out", 4, 1, "Escape"),
        good("32 bits of time, none of basis", 32, 0),
        _refused("cut inside the last word", packet(17)[:-1], "Truncated"),
        _refused("the code of the end is missing", coded(three[:-9]), "Truncated"),
        _refused("two entries where three are stated", coded(three, 4), "Length"),
        _refused("more entries stated than bits came", coded(three, 1 << 31), "Length"),
        _refused("base bits of the end are set", coded(three[:-1] + "1"), "Padding"),
        _refused("bits behind the end", coded(three + "1"), "Padding"),
        _refused("a step of 1 written out", coded("0" * 8 + f"{1:032b}" + "0" + "000000010"), "Absurd"),
        _refused("times beyond the epoch", coded(qcrypto.steps([1 << 31, 1 << 31], [0, 0], 8, 1)), "Absurd"),
        _refused("1 bit of time", coded(three, order=1), "Absurd"),
        _refused("33 bits altogether", coded(three, order=32), "Absurd"),
    ]


def _outcomes() -> list[Json]:
    values = [3, 0, 1, 2, 2, 0, 1, 3, 3, 3, 0, 1, 2, 1, 0, 3, 1]
    good = qcrypto.type3(_NUMBER, values, 2)
    shown = {**_SAID, "bitsPerEntry": 2, "values": values}
    return [
        case("17 outcomes of two bits", {"data": good.hex()}, shown),
        _refused("a word was cut off", good[:-4], "Truncated"),
        _refused("a word was appended", good + bytes(4), "Length"),
        _refused("no length, as if data could end themselves", good[:8] + bytes(4) + good[12:], "Length"),
        _refused("padding is not zero", good[:-4] + bytes([good[-4] | 1]) + good[-3:], "Padding"),
        _refused("9 bits an outcome", good[:12] + struct.pack("<I", 9) + good[16:] + bytes(4 * 4), "Absurd"),
    ]


def _accepted() -> list[Json]:
    index = [0, 1, 7, 300, 301]
    shown = {**_SAID, "timeOrder": 5, "baseBits": 0, "bases": [0] * 5, "index": index}

    def coded(steps: list[int], length: int = 0) -> bytes:
        head = struct.pack("<IIIii", 0x104, _NUMBER, length, 5, 0)
        return head + qcrypto.words(qcrypto.steps(steps, [0] * len(steps), 5, 0))

    return [
        case("five of them, one far away", {"data": qcrypto.type4(_NUMBER, index, 5).hex()}, shown, flags=["Escape"]),
        _refused("an index that comes twice", coded([9, 2]), "Repeated"),
        _refused("one index fewer than stated", coded([9, 3], 3), "Length"),
        _refused("another type", struct.pack("<I", 0x105) + coded([9, 3])[4:], "Absurd"),
        _refused("no header", struct.pack("<II", 0x104, _NUMBER), "Truncated"),
    ]


_QCRYPTO_NOTES = {
    "Escape": Flag("EDGE_CASE", "A step too long for its field.", "Zeros in its place, then 32 bits, then the base bits."),
    "Truncated": Flag("MALFORMED", "The packet ends too early.", "A packet that was cut must not pass for whole."),
    "Length": Flag(
        "AUTH_BYPASS", "The stated length does not fit the data.", "Appended words would become outcomes, and key.",
        ("qcrypto filespec.txt, 3",),
    ),
    "OtherEpoch": Flag("MALFORMED", "Time and header disagree.", "Events would be matched half a second off."),
    "Padding": Flag("MALFORMED", "Bits that must be zero are not.", "Two byte strings for one packet."),
    "Absurd": Flag("MALFORMED", "A header or code that no writer gives.", "Reading must stop, not run on."),
    "Repeated": Flag("AUTH_BYPASS", "An event is accepted twice.", "A peer would have one bit counted as two."),
}  # fmt: skip
