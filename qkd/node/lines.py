"""Getting the classical line: Alice listens, Bob calls; both accept only the other station's certificate.

One line serves at a time. When Bob calls again, he has given the old line up, even if its end has not reached Alice:
she drops it and takes the new one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from typing import Protocol

from qkd.errors import NotAuthorised, ParameterError, PeerUnreachable, QkdError
from qkd.kms import pki
from qkd.node.config import Address, LineConfig
from qkd.node.stationloop import StationLoop
from qkd.transport.tcp import Line

log = logging.getLogger("qkd.node")

RETRY_S = 0.5


def cannot_listen(what: str, where: Address, error: OSError, section: str) -> ParameterError:
    """What to say when a port cannot be opened."""
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return ParameterError(f"cannot listen for {what} on {where}: {why}", hint=f"choose another port in {section}")


def check_peer(line: Line, peer_kme_id: str) -> None:
    """Refuse a peer whose certificate names anybody else.

    Raises:
        NotAuthorised: it does. RemoteProtocolError: no certificate.
    """
    peer = pki.identity(line.peer_certificate)
    if peer.kind is not pki.PeerKind.KME or peer.id != peer_kme_id:
        raise NotAuthorised(f"the peer on the line is {peer.kind.value} {peer.id}, not {peer_kme_id}")


class LineKeeper(Protocol):
    """Keeps a station supplied with lines."""

    async def open(self) -> None:
        """Claim what is needed (a port); raises ParameterError."""
        ...

    async def serve(self) -> None:
        """Hand lines to the station until a tagger has ended; raises what makes going on pointless."""
        ...


class Listener:
    """Alice's end.

    Args:
        loop: the station. config: where to listen. context: TLS of a server that demands certificates.
        peer_kme_id: whom to accept.
    """

    def __init__(self, loop: StationLoop, config: LineConfig, context: ssl.SSLContext, peer_kme_id: str) -> None:
        self._loop = loop
        self._config = config
        self._context = context
        self._peer_kme_id = peer_kme_id
        self._current: Line | None = None
        self._free = asyncio.Lock()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Open the port."""
        where = Address.parse(self._config.address)
        try:
            self._server = await asyncio.start_server(self._answer, where.host, where.port, ssl=self._context)
        except OSError as error:
            raise cannot_listen("the line", where, error, "[line]") from error

    async def serve(self) -> None:
        """See LineKeeper."""
        assert self._server is not None
        async with self._server:
            await self._over

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer, self._config.patience_s)
        try:
            check_peer(line, self._peer_kme_id)
        except QkdError as error:
            log.warning("refused a line: %s", error)
            await line.close()
            return
        if self._current is not None:
            await self._current.close()
        async with self._free:
            self._current = line
            await self._use(line)
            self._current = None

    async def _use(self, line: Line) -> None:
        try:
            if await self._loop.attempt(line) and not self._over.done():
                self._over.set_result(None)
        except Exception as error:  # to whoever waits in serve(): a task's own exception would be lost
            if not self._over.done():
                self._over.set_exception(error)


class Caller:
    """Bob's end; the arguments are the Listener's, with the TLS of a client."""

    def __init__(self, loop: StationLoop, config: LineConfig, context: ssl.SSLContext, peer_kme_id: str) -> None:
        self._loop = loop
        self._config = config
        self._context = context
        self._peer_kme_id = peer_kme_id

    async def open(self) -> None:
        """Nothing to claim."""

    async def serve(self) -> None:
        """See LineKeeper; calls again after every lost line."""
        where = Address.parse(self._config.address)
        while True:
            try:
                line = await Line.connect(where.host, where.port, self._context, self._config.patience_s)
            except PeerUnreachable as error:
                self._loop.on_line("down", str(error))
            else:
                check_peer(line, self._peer_kme_id)
                if await self._loop.attempt(line):
                    return
            await asyncio.sleep(max(RETRY_S, self._loop.backoff.wait_s))
