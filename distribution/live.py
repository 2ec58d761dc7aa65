"""A simulated pair source as two taggers on the network: each station may fetch its own stream, and only that.

The source knows both streams and the truth; what leaves it are two feeds on two ports, each carrying one station's
tags (`distribution.delivery`). Time runs in step with the wall clock, times `pace`. Like a real tagger it does not
wait: tags that nobody collects are gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from distribution.delivery import FeedHeader, encode_end, encode_frame
from distribution.errors import ParameterError
from distribution.simulate import LinkSimulator
from distribution.tags import TimeTags

MAX_UNSENT_BYTES = 64 << 20
WORD_PS = 4  # one unit of an a1 word, 1/256 ns, rounded up


@dataclass(slots=True)
class _Outlet:
    """One station's port: the connected readers, and what they could not take."""

    station: str
    port: int = 0
    readers: set[asyncio.StreamWriter] = field(default_factory=set)

    def push_tags(self, tags: TimeTags, horizon_ps: int) -> None:
        """Send a stretch after which nothing before `horizon_ps` can come, but for what the words round."""
        self.push(encode_frame(tags, horizon_ps - WORD_PS))

    def push(self, frame: bytes) -> None:
        """Send a frame to whoever listens; a reader that cannot keep up loses it, as a tagger's buffer would."""
        for writer in list(self.readers):
            if writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
                continue
            writer.write(frame)


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

    async def listen(self, host: str, alice_port: int, bob_port: int) -> tuple[int, int]:
        """Open both ports (0 = any free one); returns the bound ports."""
        for station, port in (("alice", alice_port), ("bob", bob_port)):
            server = await asyncio.start_server(self._welcome(self._outlets[station]), host, port)
            self._servers.append(server)
            self._outlets[station].port = server.sockets[0].getsockname()[1]
        return self._outlets["alice"].port, self._outlets["bob"].port

    def _welcome(self, outlet: _Outlet) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        header = FeedHeader(outlet.station, self._device, simulated=True).encode()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(header)
            outlet.readers.add(writer)
            try:
                await reader.read()  # a station never speaks; this returns when it hangs up
            except OSError:
                pass
            finally:
                outlet.readers.discard(writer)
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
            outlet.push(encode_end())
        await asyncio.sleep(self._step_s)

    async def close(self) -> None:
        """Close both ports."""
        for server in self._servers:
            server.close()
