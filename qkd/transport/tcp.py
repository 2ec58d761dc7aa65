"""The classical line between two hosts: TCP with mutual TLS, frames of a 4-byte big-endian length and a message.

TLS keeps strangers and noise off the line; the authentication that the key's secrecy rests on is the tag over the
transcript (`qkd.exchange.auth`), which holds even if TLS were broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
from typing import Self, TypeVar

from distribution.delivery import TagSource
from qkd.errors import LocalProtocolError, PeerUnreachable, QkdError, RemoteProtocolError
from qkd.exchange.codec import MAX_MESSAGE_BYTES
from qkd.exchange.engine import Engine

R = TypeVar("R")

_LENGTH = struct.Struct(">I")
# Linux, include/uapi/linux/tcp.h: struct tcp_info, times in us; a kernel that knows less gives a shorter one.
_TCP_INFO_BYTES, _TCP_INFO_RTT, _TCP_INFO_LEAST_RTT = 256, 68, 148


class Line:
    """One connection to the peer.

    Args:
        reader, writer: the stream.
        patience_s: how long the peer may take for one message.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience_s: float = 60.0) -> None:
        self._reader = reader
        self._writer = writer
        self._patience_s = patience_s

    @classmethod
    async def connect(cls, host: str, port: int, context: ssl.SSLContext, patience_s: float = 60.0) -> Self:
        """Call the peer.

        Raises:
            PeerUnreachable: nobody answers there, or TLS failed (the text says which).
        """
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
        except ssl.SSLError as error:
            raise PeerUnreachable(
                f"the peer at {host}:{port} refused or failed TLS: {error.reason or error}",
                hint="look at both certificates with `qkd pki show`: same authority? not expired?",
            ) from error
        except (OSError, TimeoutError) as error:
            raise PeerUnreachable(f"nobody answers at {host}:{port}: {error}") from error
        return cls(reader, writer, patience_s)

    @property
    def peer_certificate(self) -> bytes:
        """The peer's certificate, DER.

        Raises:
            RemoteProtocolError: it showed none.
        """
        tls: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls else None
        if not der:
            raise RemoteProtocolError("the peer showed no certificate")
        return der

    @property
    def round_trip_s(self) -> float:
        """Round-trip time of the line, as the kernel has measured it since the connection was made; 0 if it has not.

        Also 0 when the peer has hung up: whoever uses the line next is told so.

        The least of the last minutes where the kernel keeps it: acknowledgements that waited for an answer to travel
        with are no part of the line.
        """
        connection = self._writer.get_extra_info("socket")
        try:
            measured = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        except (AttributeError, OSError):  # TLS of Python 3.11 forgets the socket of a closed line
            return 0.0
        smoothed_us, least_us = (
            int.from_bytes(measured[at : at + 4], sys.byteorder) for at in (_TCP_INFO_RTT, _TCP_INFO_LEAST_RTT)
        )
        return 1e-6 * (least_us or smoothed_us)

    async def send(self, encoded: bytes) -> None:
        """One message."""
        if self._writer.is_closing():  # a newer line took this one's place; TLS of Python 3.11 writes to None then
            raise PeerUnreachable("the line was closed while a message was made")
        try:
            self._writer.write(_LENGTH.pack(len(encoded)) + encoded)
            async with asyncio.timeout(self._patience_s):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise PeerUnreachable(f"the line went down while sending: {error}") from error

    async def receive(self) -> bytes:
        """The next message.

        Raises:
            PeerUnreachable: the line closed or stayed silent. RemoteProtocolError: an absurd length.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                if length > MAX_MESSAGE_BYTES:
                    raise RemoteProtocolError(f"the peer announces a message of {length} bytes")
                return await self._reader.readexactly(length)
        except TimeoutError as error:
            raise PeerUnreachable(f"the peer has been silent for {self._patience_s:g} s") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise PeerUnreachable("the peer hung up") from error

    async def close(self) -> None:
        """Hang up; never raises."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()


async def run(engine: Engine[R], line: Line, source: TagSource | None) -> R:
    """Run one engine over a line, with its station's tags; computation and waiting happen off the event loop.

    Raises:
        QkdError: what the role raised (the peer is told first), or the line's or the source's failure.
    """
    while True:
        await _post(engine, line)
        if engine.done:
            return engine.result
        try:
            if engine.wants_tags is not None:
                if source is None:
                    raise LocalProtocolError("the role asks for tags and there is no source of them")
                chunk = await asyncio.to_thread(source.until, engine.wants_tags.until_ps)
                await asyncio.to_thread(engine.feed, chunk)
            else:
                await asyncio.to_thread(engine.receive, await line.receive())
        except QkdError:
            if engine.error is not None:
                await _tell(engine, line)
            raise


async def _post(engine: Engine[R], line: Line) -> None:
    for encoded in engine.take_outgoing():
        await line.send(encoded)


async def _tell(engine: Engine[R], line: Line) -> None:
    """Tell the peer why we stop, if it still listens."""
    with contextlib.suppress(PeerUnreachable):
        await _post(engine, line)
