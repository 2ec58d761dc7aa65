"""The seam between hardware and everything above: where a station's tags come from.

A `TagSource` hands out one station's stream, in order, each tag once. Built in: replay of a recording, and a network
feed as a tagger would send it. Both stations' tags never meet here: a source serves one station.

Network feed: after connecting, the tagger sends one JSON line {"feed": "qkd-tags", "version": 1, "station": ...,
"device": ..., "simulated": ...} and then frames, all little-endian:

    uint32 n   number of words (0xFFFFFFFF: the tagger has ended; nothing follows)
    int64  h   horizon: every tag before h ps was sent by the end of this frame
    n x uint64 S-Fifteen a1 words (54-bit time in 1/256 ns, 4-bit detector pattern)
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from distribution.errors import FeedError, TagFormatError
from distribution.formats import read
from distribution.formats.s15 import decode_words, encode_words
from distribution.tags import TagChunk, TimeTags, join

FEED_VERSION = 1
END_OF_STREAM = 0xFFFFFFFF
FRAME_HEADER = struct.Struct("<Iq")
MAX_FRAME_WORDS = 1 << 24
MAX_BACKLOG = 1 << 26


class TagSource(Protocol):
    """One station's stream of tags."""

    @property
    def simulated(self) -> bool:
        """True when the photons came from a simulator."""
        ...

    def until(self, until_ps: int | None) -> TagChunk:
        """All tags before `until_ps` that were not handed out before; blocks until the stream got that far.

        With None: the first tags there are, at least one unless the tagger ended.
        Raises FeedError when the stream broke.
        """
        ...

    def skip_backlog(self) -> None:
        """Drop what has piled up: the next tags are the newest. A recording drops nothing."""
        ...

    def close(self) -> None:
        """Let go of the device, file or line."""
        ...


class Replay:
    """A recording as a stream, as fast as it is asked for.

    Args:
        tags: the whole recording.
        simulated: what to say of its origin.
    """

    def __init__(self, tags: TimeTags, *, simulated: bool = False) -> None:
        self._tags = tags
        self._given = 0
        self.simulated = simulated

    @classmethod
    def of_file(cls, path: Path, *, simulated: bool = False) -> Replay:
        """Open a tag file of any format that `distribution.formats` knows."""
        return cls(read(path).tags, simulated=simulated)

    def until(self, until_ps: int | None) -> TagChunk:
        """See TagSource."""
        t_ps = self._tags.t_ps
        stop = self._given + 1 if until_ps is None else int(t_ps.searchsorted(until_ps))
        stop = min(max(stop, self._given), len(self._tags))
        chunk = TimeTags(t_ps[self._given : stop], self._tags.channel[self._given : stop])
        self._given = stop
        return TagChunk(chunk, ended=stop == len(self._tags))

    def skip_backlog(self) -> None:
        """A recording waits for its reader."""

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True, slots=True)
class FeedHeader:
    """What a tagger says of itself when a station connects."""

    station: str
    device: str
    simulated: bool

    def encode(self) -> bytes:
        """The JSON line."""
        fields = {"feed": "qkd-tags", "version": FEED_VERSION, "station": self.station, "device": self.device}
        return json.dumps({**fields, "simulated": self.simulated}).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> FeedHeader:
        """Inverse of `encode`; raises FeedError."""
        try:
            fields: dict[str, Any] = json.loads(line)
            if fields.get("feed") != "qkd-tags" or fields.get("version") != FEED_VERSION:
                raise FeedError(f"this is no tag feed of version {FEED_VERSION}: {line[:80]!r}")
            return cls(str(fields["station"]), str(fields["device"]), bool(fields["simulated"]))
        except (ValueError, KeyError, AttributeError) as error:
            raise FeedError(f"the feed does not start with its header line but with {line[:80]!r}") from error


def encode_frame(tags: TimeTags, horizon_ps: int) -> bytes:
    """One frame of a network feed."""
    words = encode_words(tags)
    return FRAME_HEADER.pack(len(words) // 8, horizon_ps) + words


def encode_end() -> bytes:
    """The last frame."""
    return FRAME_HEADER.pack(END_OF_STREAM, 0)


class NetworkFeed:
    """A tagger across a socket, read by a thread of its own so that nothing is lost while the engine computes.

    Args:
        host, port: where the tagger listens.
        station: whose stream this must be ("alice" or "bob"); a feed for the other station is refused.
        timeout_s: how long to wait for the connection, and for any news of the stream.
    """

    def __init__(self, host: str, port: int, *, station: str, timeout_s: float = 10.0) -> None:
        self._where = f"{host}:{port}"
        self._timeout_s = timeout_s
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout_s)
            self._file = self._socket.makefile("rb")
            self.header = FeedHeader.decode(self._file.readline(4096))
        except OSError as error:
            raise FeedError(
                f"no tag feed at {self._where}: {error}", hint="is the tagger (or `qkd source`) running there?"
            ) from error
        if self.header.station != station:
            self.close()
            raise FeedError(f"the feed at {self._where} is {self.header.station}'s, not {station}'s")
        self._news = threading.Condition()
        self._waiting: list[TimeTags] = []
        self._backlog = 0
        self._last_ps = 0
        self._horizon_ps: int | None = None
        self._ended = False
        self._broken: Exception | None = None
        self.dropped = 0
        threading.Thread(target=self._read, name=f"feed-{station}", daemon=True).start()

    @property
    def simulated(self) -> bool:
        """What the tagger says of itself."""
        return self.header.simulated

    def until(self, until_ps: int | None) -> TagChunk:
        """See TagSource."""
        with self._news:
            while not (self._ended or self._broken or self._reaches(until_ps)):
                if not self._news.wait(self._timeout_s):
                    raise FeedError(f"the feed at {self._where} has been silent for {self._timeout_s:g} s")
            if self._broken:
                raise FeedError(f"the feed at {self._where} broke off: {self._broken}") from self._broken
            return self._take(until_ps)

    def skip_backlog(self) -> None:
        """See TagSource."""
        with self._news:
            self._waiting.clear()
            self._backlog = 0

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _reaches(self, until_ps: int | None) -> bool:
        if until_ps is None:
            return self._backlog > 0
        return self._horizon_ps is not None and self._horizon_ps >= until_ps

    def _take(self, until_ps: int | None) -> TagChunk:
        tags = join(*self._waiting)
        cut = len(tags) if until_ps is None else int(tags.t_ps.searchsorted(until_ps))
        rest = TimeTags(tags.t_ps[cut:], tags.channel[cut:])
        self._waiting = [rest] if len(rest) else []
        self._backlog = len(rest)
        return TagChunk(TimeTags(tags.t_ps[:cut], tags.channel[:cut]), ended=self._ended and not len(rest))

    def _read(self) -> None:
        try:
            while self._read_frame():
                pass
        except (OSError, FeedError, TagFormatError, ValueError) as error:
            with self._news:
                self._broken = error
                self._news.notify_all()

    def _read_frame(self) -> bool:
        words, horizon_ps = FRAME_HEADER.unpack(self._exactly(FRAME_HEADER.size))
        if words == END_OF_STREAM:
            with self._news:
                self._ended = True
                self._news.notify_all()
            return False
        if words > MAX_FRAME_WORDS:
            raise FeedError(f"a frame announces {words} words")
        tags = decode_words(self._exactly(8 * words), after_ps=self._last_ps)
        if len(tags):
            self._last_ps = int(tags.t_ps[-1])
        with self._news:
            self._waiting.append(tags)
            self._backlog += len(tags)
            self._horizon_ps = horizon_ps
            while self._backlog > MAX_BACKLOG:
                lost = len(self._waiting.pop(0))
                self._backlog -= lost
                self.dropped += lost
            self._news.notify_all()
        return True

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise FeedError("the line closed in the middle of a frame")
        return data
