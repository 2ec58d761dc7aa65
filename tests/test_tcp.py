"""The line between two hosts: what it knows of its own round trip."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from qkd.errors import PeerUnreachable, QkdError, RemoteProtocolError
from qkd.exchange.codec import MAX_MESSAGE_BYTES, decode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import Abort, CascadeStart, Parities
from qkd.exchange.steps import Role, Steps, receive, send
from qkd.exchange.transcript import Transcript
from qkd.transport import tcp
from qkd.transport.tcp import Line


class Connection:
    """A socket whose kernel has measured what we like, and a stream's writer in one."""

    def __init__(self, smoothed_us: int, least_us: int | None) -> None:
        # Linux: seven bytes and flags, 24 numbers of 32 bits (the 16th is the smoothed time), four of 64, three of 32.
        numbers = [0] * 15 + [smoothed_us] + [0] * 8
        self.info = struct.pack("=8s24I4Q3I", bytes(8), *numbers, 0, 0, 0, 0, 0, 0, 0)
        if least_us is not None:
            self.info += struct.pack("=2I", least_us, 77)

    def get_extra_info(self, name: str) -> Connection:
        assert name == "socket"
        return self

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return self.info[:size]


@pytest.mark.parametrize(
    ("smoothed_us", "least_us", "seconds"),
    [(44_000, 12_000, 0.012), (44_000, 0, 0.044), (44_000, None, 0.044), (0, 0, 0.0), (3_000_000, 200_000, 0.2)],
)
def test_the_least_time_counts_and_the_smoothed_one_stands_in(
    smoothed_us: int, least_us: int | None, seconds: float
) -> None:
    line = Line(None, Connection(smoothed_us, least_us))  # type: ignore[arg-type]
    assert line.round_trip_s == pytest.approx(seconds)


def test_a_line_that_the_peer_hung_up_has_no_round_trip() -> None:
    class Gone:
        def get_extra_info(self, _name: str) -> None:
            return None

    assert Line(None, Gone()).round_trip_s == 0.0  # type: ignore[arg-type]


def test_a_line_that_was_closed_meanwhile_is_unreachable() -> None:
    """Alice drops a line when Bob calls again, though a block is still being made over it."""

    class Closed:
        def is_closing(self) -> bool:
            return True

        def write(self, _data: bytes) -> None:
            raise AttributeError("what TLS of Python 3.11 says")

    line = Line(None, Closed())  # type: ignore[arg-type]
    with pytest.raises(PeerUnreachable, match="closed while a message was made"):
        asyncio.run(line.send(b"late"))


def asks() -> Steps[int]:
    for _ in range(10):
        yield from send(CascadeStart(bytes(32)))
        yield from receive(Parities)
    return 10


def answers() -> Steps[int]:
    for _ in range(10):
        yield from receive(CascadeStart)
        yield from send(Parities(b""))
    return 10


def test_a_live_line_has_measured_something() -> None:
    """Over the loop-back: more than nothing after ten rounds, and less than the patience of the line."""

    async def both() -> tuple[float, float]:
        answered: asyncio.Future[Line] = asyncio.get_running_loop().create_future()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answered.set_result(Line(reader, writer))

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        caller = Line(*await asyncio.open_connection(*server.sockets[0].getsockname()))
        listener = await answered
        await asyncio.gather(
            tcp.run(Engine(Role.ALICE, asks(), Transcript()), caller, None),
            tcp.run(Engine(Role.BOB, answers(), Transcript()), listener, None),
        )
        measured = caller.round_trip_s, listener.round_trip_s
        await caller.close()
        await listener.close()
        server.close()
        return measured

    for seconds in asyncio.run(both()):
        assert 0 < seconds < 60


@pytest.mark.parametrize(
    ("sent", "hangs_up", "error", "word"),
    [
        (b"\xff\xff\xff\xff", False, RemoteProtocolError, "announces a message of 4294967295 bytes"),
        (struct.pack(">I", MAX_MESSAGE_BYTES + 1), False, RemoteProtocolError, "announces"),
        (b"GET / HTTP/1.1\r\n\r\n", False, RemoteProtocolError, "announces a message of 1195725856 bytes"),
        (b"\x00\x00", True, PeerUnreachable, "hung up"),
        (b"\x00\x00\x01\x00half of it", True, PeerUnreachable, "hung up"),
        (b"\x00\x00\x01\x00half of it", False, PeerUnreachable, "silent for 0.2 s"),
        (struct.pack(">I", MAX_MESSAGE_BYTES), False, PeerUnreachable, "silent"),
        (b"", False, PeerUnreachable, "silent"),
    ],
)
def test_what_is_no_frame_is_named(sent: bytes, hangs_up: bool, error: type[QkdError], word: str) -> None:
    """An absurd length is refused before anything is read; half a frame is waited for as long as patience lasts."""

    async def hear() -> None:
        async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(sent)
            await writer.drain()
            if hangs_up:
                writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        line = Line(*await asyncio.open_connection(*server.sockets[0].getsockname()), patience_s=0.2)
        try:
            with pytest.raises(error, match=word):
                await line.receive()
        finally:
            await line.close()
            server.close()

    asyncio.run(hear())


@pytest.mark.parametrize("frame", [b"", b"\x00", b"\xc1" * 100, b"\x81\xa4type\xa5Eviln", b"\x91" * 100_000])
def test_a_frame_that_is_no_message_ends_the_role_and_tells_the_peer(frame: bytes) -> None:
    engine = Engine(Role.BOB, answers(), Transcript())
    with pytest.raises(RemoteProtocolError, match="not a message of this protocol"):
        engine.receive(frame)
    (told,) = engine.take_outgoing()
    assert isinstance(decode(told), Abort)
