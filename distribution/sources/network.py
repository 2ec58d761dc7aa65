"""A tagger across a socket, read by a thread of its own so that nothing is lost while the station computes.

A broken line is mended within a configured patience: the tagger is called again, and if it still runs on the same
clock, the stream goes on with a gap where nothing is known. A tagger whose clock started anew is another stream, and
a tagger that speaks nonsense is not called again.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import IO

import msgspec

from distribution.bounds import require
from distribution.delivery import Driver, Site
from distribution.errors import FeedError, ParameterError, TagFormatError
from distribution.feed import MAX_HEADER_BYTES, FeedHeader, Frame, FrameReader
from distribution.inbox import MAX_BACKLOG, InboxSource, TagInbox
from distribution.tags import Gap, GapCause

RETRY_S = 0.2


class _Call:
    """One connection to a tagger, past its header line."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        try:
            self.file: IO[bytes] = self.socket.makefile("rb")
            self.header = FeedHeader.decode(self.file.readline(MAX_HEADER_BYTES))
        except BaseException:
            self.socket.close()
            raise

    def hang_up(self) -> None:
        """Close the line; a thread that reads from it wakes up."""
        with contextlib.suppress(OSError):  # the other end may have gone already
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class NetworkFeed(InboxSource):
    """A tagger's feed (`distribution.feed`) as a stream; see TagSource.

    Args:
        host, port: where the tagger listens.
        station: whose stream this must be ("alice" or "bob"); a feed for the other station is refused.
        timeout_s: how long to wait for the connection, and for any news of the stream.
        patience_s: how long a broken line is called again; 0 = never.
        max_backlog: tags kept at most while nobody fetches them.

    Raises:
        FeedError: nobody listens there, or it is not this station's feed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        station: str,
        timeout_s: float = 10.0,
        patience_s: float = 5.0,
        max_backlog: int = MAX_BACKLOG,
    ) -> None:
        self._address = host, port
        self._where = f"{host}:{port}"
        self._station = station
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        try:
            self._call = _Call(host, port, timeout_s)
        except OSError as error:
            raise FeedError(
                f"no tag feed at {self._where}: {error}", hint="is the tagger (or `qkd source`) running there?"
            ) from error
        self.header = self._call.header
        if self.header.station != station:
            self._call.hang_up()
            raise FeedError(f"the feed at {self._where} is {self.header.station}'s, not {station}'s")
        self._inbox = TagInbox(f"the feed at {self._where}", timeout_s=timeout_s, max_backlog=max_backlog)
        self._frames = FrameReader(self._call.file.read)
        self._mended = False
        threading.Thread(target=self._read, name=f"feed-{station}", daemon=True).start()

    @property
    def simulated(self) -> bool:
        """What the tagger says of itself."""
        return self.header.simulated

    def close(self) -> None:
        """Hang up."""
        super().close()
        self._call.hang_up()

    def _read(self) -> None:
        try:
            while not self._inbox.closed and self._read_frame():
                pass
        except (FeedError, TagFormatError) as error:
            self._inbox.fail(FeedError(f"the feed at {self._where} broke off: {error}", hint=error.hint))
        finally:
            self._call.hang_up()

    def _read_frame(self) -> bool:
        try:
            frame = self._frames.next_frame()
        except (OSError, EOFError, ValueError) as error:  # ValueError: the file was closed under the reader
            self._mend(error)
            return True
        if frame.ended:
            self._inbox.end()
            return False
        if self._mended:
            self._tell_gap(frame)
        if frame.gap is not None:
            self._inbox.miss(frame.gap)
        self._inbox.put(frame.tags, frame.horizon_ps)
        return True

    def _tell_gap(self, frame: Frame) -> None:
        """What fell between the lines: from the last horizon to the first tag that came over the new line."""
        self._mended = False
        start_ps = self._inbox.horizon_ps
        if start_ps is not None:
            first_ps = int(frame.tags.t_ps[0]) if len(frame.tags) else frame.horizon_ps
            self._inbox.miss(Gap(start_ps, max(start_ps, first_ps), GapCause.RECONNECT))

    def _mend(self, why: Exception) -> None:
        """Call again until the patience is used up; raises FeedError."""
        self._call.hang_up()
        end = time.monotonic() + self._patience_s
        while self.header.clock and time.monotonic() < end:
            if self._inbox.pause(RETRY_S):
                return
            try:
                call = _Call(*self._address, min(self._timeout_s, self._patience_s))
            except OSError:
                continue
            if call.header != self.header:
                call.hang_up()
                raise FeedError("the tagger came back with another clock or name: what it sends now is another stream")
            self._call = call
            self._frames = FrameReader(call.file.read, self._frames.after_ps)
            self._mended = True
            self._inbox.reconnected()
            return
        raise FeedError(str(why) or type(why).__name__)


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the driver `network`.

    Attributes:
        address: "host:port" of the tagger.
        timeout_s: how long to wait for the connection, and for any news of the stream.
        patience_s: how long a broken line is called again before the stream counts as broken; 0 = never.
    """

    address: str
    timeout_s: float = 10.0
    patience_s: float = 5.0

    def __post_init__(self) -> None:
        require("timeout_s", self.timeout_s, 1e-3, 3600.0)
        require("patience_s", self.patience_s, 0.0, 3600.0)
        _host_and_port(self.address)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise ParameterError(f"{address!r} is not an address of the form host:port")
    return host.strip("[]"), int(port)


def _open(options: NetworkOptions, site: Site) -> NetworkFeed:
    return NetworkFeed(
        *_host_and_port(options.address),
        station=site.station,
        timeout_s=options.timeout_s,
        patience_s=options.patience_s,
    )


DRIVER = Driver(NetworkOptions, _open, "a tagger's feed over TCP")
