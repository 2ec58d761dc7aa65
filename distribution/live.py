"""A simulated pair source as two taggers on the network: each station may fetch its own stream, and only that.

The source knows both streams and the truth; what leaves it are two feeds on two ports, each carrying one station's
tags (`distribution.feed`). Time runs in step with the wall clock, times `pace`. Like a real tagger it does not wait:
tags that nobody collects are gone, and a reader that was too slow is told what it missed.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from distribution.errors import ParameterError
from distribution.feed import WORD_PS, FeedHeader, encode_end, encode_frame, encode_gap
from distribution.simulate import LinkSimulator
from distribution.tags import Gap, GapCause, TimeTags

MAX_UNSENT_BYTES = 64 << 20


@dataclass(slots=True)
class _Outlet:
    """One station's port: the connected readers, and for each what it could not take and was not told yet."""

    station: str
    port: int = 0
    readers: dict[asyncio.StreamWriter, Gap | None] = field(default_factory=dict)
    horizon_ps: int = 0

    def push_tags(self, tags: TimeTags, horizon_ps: int) -> None:
        """Send a stretch after which nothing before `horizon_ps` can come, but for what the words round."""
        before_ps, self.horizon_ps = self.horizon_ps, horizon_ps - WORD_PS
        frame = encode_frame(tags, self.horizon_ps)
        for writer, missed in list(self.readers.items()):
            if writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
                # It cannot keep up and loses the frame, as a tagger's buffer would.
                start_ps, lost = (before_ps, 0) if missed is None else (missed.start_ps, missed.lost)
                self.readers[writer] = Gap(start_ps, self.horizon_ps, GapCause.BACKLOG, lost + len(tags))
                continue
            if missed is not None:
                writer.write(encode_gap(missed, missed.stop_ps))
                self.readers[writer] = None
            writer.write(frame)

    def push_end(self) -> None:
        """Say that the tagger has ended, and what was missed at the end."""
        for writer, missed in self.readers.items():
            if missed is not None:
                writer.write(encode_gap(missed, missed.stop_ps))
            writer.write(encode_end())


class LiveSource:
    """Streams a simulated link in step with the wall clock.

    Args:
        simulator: what to stream.
        device: name in the feed header.
        pace: simulated seconds per second.
        step_s: simulated time per frame.
    """

    def __init__(self, simulator: LinkSimulator, *, device: str, pace: float = 1.0, step_s: float = 0.05) -> None:
        if pace <= 0 or step_s <= 0:
            raise ParameterError(f"pace {pace} and step {step_s} s must be positive")
        self._simulator = simulator
        self._device = device
        self._pace = pace
        self._step_s = step_s
        self._outlets = {station: _Outlet(station) for station in ("alice", "bob")}
        self._servers: list[asyncio.Server] = []
        self._clock = uuid.uuid4().hex

    async def listen(self, host: str, alice_port: int, bob_port: int) -> tuple[int, int]:
        """Open both ports (0 = any free one); returns the bound ports."""
        for station, port in (("alice", alice_port), ("bob", bob_port)):
            server = await asyncio.start_server(self._welcome(self._outlets[station]), host, port)
            self._servers.append(server)
            self._outlets[station].port = server.sockets[0].getsockname()[1]
        return self._outlets["alice"].port, self._outlets["bob"].port

    def _welcome(self, outlet: _Outlet) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        header = FeedHeader(outlet.station, self._device, simulated=True, clock=self._clock).encode()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(header)
            outlet.readers[writer] = None
            try:
                await reader.read()  # a station never speaks; this returns when it hangs up
            except OSError:
                pass
            finally:
                outlet.readers.pop(writer, None)
                writer.close()

        return serve  # type: ignore[return-value]  # start_server takes coroutine functions, too

    async def run(self, seconds: float | None) -> None:
        """Stream for so many simulated seconds (None: until cancelled), then say that the taggers ended."""
        begin, done = time.monotonic(), 0.0
        while seconds is None or done < seconds:
            tags = await asyncio.to_thread(self._simulator.advance, self._step_s)
            done += self._step_s
            self._outlets["alice"].push_tags(tags.alice, tags.alice_horizon_ps)
            self._outlets["bob"].push_tags(tags.bob, tags.bob_horizon_ps)
            await asyncio.sleep(max(0.0, begin + done / self._pace - time.monotonic()))
        for outlet in self._outlets.values():
            outlet.push_end()
        await asyncio.sleep(self._step_s)

    async def close(self) -> None:
        """Close both ports."""
        for server in self._servers:
            server.close()
