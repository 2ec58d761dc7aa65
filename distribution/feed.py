"""The feed format: one station's tags as bytes, over a socket or a pipe.

The tagger sends one JSON line {"feed": "qkd-tags", "version": 2, "station": ..., "device": ..., "simulated": ...,
"clock": ...} and then frames, all little-endian:

    uint32 n   number of words; 0xFFFFFFFF: the tagger has ended, nothing follows; 0xFFFFFFFE: tags are missing;
               0xFFFFFFFD: tags of more than four detectors
    int64  h   horizon: every tag before h ps was sent by the end of this frame, or is missing; never runs back
    n x uint64 S-Fifteen a1 words (54-bit time in 1/256 ns, 4-bit detector pattern), or for 0xFFFFFFFE
    int64 start, int64 stop, uint64 lost, uint8 cause
               a stretch (ps) in which tags are missing, how many are known to be, and why: 0 the tagger's buffer
               overran, 1 its own line was down, 2 the reader was too slow, or for 0xFFFFFFFD
    uint32 n, uint32 m, n x uint64, m x uint8
               words as above, of m tags, that name each detector modulo 4; then the detector of each tag

`clock` names the run of the clock: equal as long as times count on from the same origin. It is what allows a reader to
call again after a broken line and to know that the times still mean the same. Version 1 had neither `clock` nor the
frame for missing tags, so its readers took a stream with a hole for a whole one; version 1 is still read, but not
called again.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from distribution.errors import FeedError
from distribution.formats.s15 import DETECTORS, decode_words, encode_words
from distribution.tags import EMPTY, Gap, GapCause, TimeTags

FEED_VERSION = 2
READABLE_VERSIONS = (1, 2)
END_OF_STREAM = 0xFFFFFFFF
MISSING = 0xFFFFFFFE
WIDE = 0xFFFFFFFD
FRAME_HEADER = struct.Struct("<Iq")
MISSING_BODY = struct.Struct("<qqQB")
WIDE_BODY = struct.Struct("<II")
MAX_FRAME_WORDS = 1 << 24
MAX_HEADER_BYTES = 4096
# One unit of an a1 word, 1/256 ns, rounded up: what a tag may move to when it is written as one.
WORD_PS = 4
# Times of a stream stay below this, so that no sum of two of them leaves int64.
MAX_STREAM_PS = 1 << 62
_CAUSES = {0: GapCause.OVERFLOW, 1: GapCause.RECONNECT, 2: GapCause.BACKLOG}
_CODES = {cause: code for code, cause in _CAUSES.items()}


@dataclass(frozen=True, slots=True)
class FeedHeader:
    """What a tagger says of itself when a station connects.

    Attributes:
        station: whose tags these are, "alice" or "bob".
        device: the instrument, for people.
        simulated: True when the photons came from a simulator.
        clock: names the run of its clock; "" when it does not say.
    """

    station: str
    device: str
    simulated: bool
    clock: str = ""

    def encode(self) -> bytes:
        """The JSON line."""
        fields = {"feed": "qkd-tags", "version": FEED_VERSION, "station": self.station, "device": self.device}
        return json.dumps({**fields, "simulated": self.simulated, "clock": self.clock}).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> FeedHeader:
        """Inverse of `encode`; raises FeedError."""
        try:
            fields: dict[str, Any] = json.loads(line)
            if fields.get("feed") != "qkd-tags" or fields.get("version") not in READABLE_VERSIONS:
                raise FeedError(f"this is no tag feed of version {FEED_VERSION}: {line[:80]!r}")
            if not isinstance(fields["simulated"], bool):
                raise FeedError(f"the feed does not say whether it is simulated: {line[:80]!r}")
            clock = str(fields["clock"]) if fields["version"] > 1 else ""
            return cls(str(fields["station"]), str(fields["device"]), fields["simulated"], clock)
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise FeedError(f"the feed does not start with its header line but with {line[:80]!r}") from error


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it was read: tags, or a gap, or neither with `ended`."""

    tags: TimeTags = EMPTY
    horizon_ps: int = 0
    gap: Gap | None = None
    ended: bool = False


def encode_frame(tags: TimeTags, horizon_ps: int) -> bytes:
    """One frame of tags; raises ParameterError for a negative time."""
    if len(tags) and tags.channel.max() >= DETECTORS:
        words = encode_words(TimeTags(tags.t_ps, tags.channel % DETECTORS))
        counts = WIDE_BODY.pack(len(words) // 8, len(tags))
        return FRAME_HEADER.pack(WIDE, horizon_ps) + counts + words + tags.channel.tobytes()
    words = encode_words(tags)
    return FRAME_HEADER.pack(len(words) // 8, horizon_ps) + words


def encode_gap(gap: Gap, horizon_ps: int) -> bytes:
    """One frame that says where tags are missing."""
    return FRAME_HEADER.pack(MISSING, horizon_ps) + MISSING_BODY.pack(
        gap.start_ps, gap.stop_ps, gap.lost, _CODES[gap.cause]
    )


def encode_end() -> bytes:
    """The last frame."""
    return FRAME_HEADER.pack(END_OF_STREAM, 0)


class FrameReader:
    """Takes frames off a line.

    Args:
        read: gives exactly so many bytes, fewer only where the line has closed.
        after_ps: time of the last tag so far; a counter that wraps (19.5 h) is carried on from there. None = no tag
            yet: the first horizon says in which turn of the counter the stream begins.
    """

    def __init__(self, read: Callable[[int], bytes], after_ps: int | None = None) -> None:
        self._read = read
        self.after_ps = after_ps

    def next_frame(self) -> Frame:
        """The next frame.

        Raises:
            EOFError: the line closed. FeedError, TagFormatError: what came is no frame.
        """
        words, horizon_ps = FRAME_HEADER.unpack(self._exactly(FRAME_HEADER.size))
        if words == END_OF_STREAM:
            return Frame(ended=True)
        if abs(horizon_ps) > MAX_STREAM_PS:
            raise FeedError(f"a frame announces a horizon of {horizon_ps} ps")
        if words == MISSING:
            return Frame(horizon_ps=horizon_ps, gap=self._gap())
        tags = self._wide_tags(horizon_ps) if words == WIDE else self._tags(words, horizon_ps)
        if len(tags):
            if not 0 <= int(tags.t_ps[-1]) <= MAX_STREAM_PS:
                raise FeedError(f"a frame carries the stream to {tags.t_ps[-1]} ps")
            self.after_ps = int(tags.t_ps[-1])
        return Frame(tags, horizon_ps)

    def _tags(self, words: int, horizon_ps: int) -> TimeTags:
        if words > MAX_FRAME_WORDS:
            raise FeedError(f"a frame announces {words} words")
        after_ps = max(horizon_ps, 0) if self.after_ps is None else self.after_ps
        return decode_words(self._exactly(8 * words), after_ps=after_ps)

    def _wide_tags(self, horizon_ps: int) -> TimeTags:
        words, count = WIDE_BODY.unpack(self._exactly(WIDE_BODY.size))
        tags = self._tags(words, horizon_ps)
        if count != len(tags):
            raise FeedError(f"a frame announces {count} tags, its words hold {len(tags)}")
        channel = np.frombuffer(self._exactly(count), np.uint8)
        if not np.array_equal(channel % DETECTORS, tags.channel):
            raise FeedError("a frame's detectors are not those of its words")
        return TimeTags(tags.t_ps, channel.copy())

    def _gap(self) -> Gap:
        start_ps, stop_ps, lost, code = MISSING_BODY.unpack(self._exactly(MISSING_BODY.size))
        sound = -MAX_STREAM_PS <= start_ps <= stop_ps <= MAX_STREAM_PS and lost <= MAX_STREAM_PS
        if not sound or code not in _CAUSES:
            raise FeedError(f"a frame tells of a gap from {start_ps} to {stop_ps} ps, {lost} tags, cause {code}")
        return Gap(start_ps, stop_ps, _CAUSES[code], lost)

    def _exactly(self, count: int) -> bytes:
        data = self._read(count)
        if len(data) != count:
            raise EOFError("the line closed in the middle of a frame" if data else "the line closed")
        return data
