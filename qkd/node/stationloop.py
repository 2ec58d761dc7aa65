"""One station's life: call or answer the peer, shake hands, make block after block; after any trouble, begin again.

No protocol logic stands here: engines say what they want, this loop fetches it. A failed block costs the line: both
ends hang up and the next handshake finds out where each stands, so no abort needs a protocol of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from distribution.delivery import TagSource
from distribution.health import SourceHealth
from distribution.monitors.limits import Limits
from qkd import confirmation, roles
from qkd.assumptions.limits import AssumptionLimits
from qkd.bbm92 import Outcome
from qkd.block import Vault
from qkd.errors import (
    AuthenticationError,
    ClockNotFound,
    EntropyFailed,
    EpsilonBudgetSpent,
    FeedError,
    KeyExhausted,
    KeyStoreError,
    PeerUnreachable,
    ProtocolAborted,
    QkdError,
    RemoteProtocolError,
    TagFormatError,
)
from qkd.exchange import bootstrap, handshake
from qkd.exchange.engine import Engine
from qkd.exchange.handshake import SessionStart
from qkd.exchange.identity import Identity
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.node.backoff import BackOff
from qkd.randomness import SecretBits
from qkd.session import BlockReport, SessionParameters
from qkd.station import Station, station_for
from qkd.transport import tcp
from qkd.transport.tcp import Line

log = logging.getLogger("qkd.node")

R = TypeVar("R")

FEED_RETRY_S = 0.5


def _nothing() -> None:
    """Nobody wants to know."""


class HandshakeRefused(RemoteProtocolError):
    """The two ends do not fit together: versions, roles, parameters or key stores differ."""


@dataclass(slots=True)
class StationLoop:
    """Everything one station needs to make keys.

    Attributes:
        role: who we are.
        params: agreed session parameters.
        vault: the key store.
        secrets: secret randomness.
        source: our own tagger.
        reopen: opens the tagger anew after its stream broke off; raises FeedError while it cannot be reached.
        station: what we learnt of the clocks; survives lost lines.
        on_block: called with each committed block's report.
        on_abort: called with the error of each block that gave no key.
        on_line: called with "up" after a handshake and with "down" and the reason when a line is lost.
        limits: tolerances of the side-channel monitors.
        backoff: how long to wait after runs without a key.
        assumption_limits: what a station may be off by before the claim goes, and what is done then.
        identity: with what the link begins when there is no pre-shared secret, else None.
        on_begun: called when first keys were made in that way.
    """

    role: Role
    params: SessionParameters
    vault: Vault
    secrets: SecretBits
    source: TagSource
    reopen: Callable[[], TagSource]
    on_block: Callable[[BlockReport], None]
    on_abort: Callable[[QkdError], None]
    on_line: Callable[[str, str], None]
    limits: Limits = field(default_factory=Limits)
    assumption_limits: AssumptionLimits = field(default_factory=AssumptionLimits)
    identity: Identity | None = None
    on_begun: Callable[[], None] = _nothing
    station: Station = field(init=False)
    backoff: BackOff = field(default_factory=lambda: BackOff(time.monotonic))
    _earlier: SourceHealth = field(init=False, default=SourceHealth())
    _pads: int = field(init=False, default=-1)
    _begun: bool = field(init=False, default=False)
    _guessed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.station = self._new_station()

    def _new_station(self) -> Station:
        return station_for(self.role, self.params, self.secrets, self.limits, self.assumption_limits)

    @property
    def feed_health(self) -> SourceHealth:
        """Counters of our tagger's streams, those that broke off included."""
        return self._earlier + self.source.health

    async def serve_line(self, line: Line) -> bool:
        """Make blocks over one connection; True when a tagger ended and no more can come.

        Raises:
            QkdError: the line is of no use any more; hang up and begin again.
        """
        # Alice's stream must reach back to before Bob's first tag, else his first epochs have no partners and the
        # clock is searched for in vain: she drops what is old before the handshake, he after it.
        if self.role is Role.ALICE:
            self._drop_what_is_old()
        if self.identity is not None:
            await self._begin(line, self.identity)
        self._begun, self._pads = False, self._pads_left()
        start, transcript = await self._shake_hands(line)
        await self._settle(line, start, transcript)
        if self.role is Role.BOB:
            self._drop_what_is_old()
        self.on_line("up", "")
        number = start.next_block
        while True:
            outcome = await tcp.run(self._block(start, number, transcript, line.round_trip_s), line, self.source)
            self.backoff.gained()
            self._begun, self._pads = False, self._pads_left()
            self.on_block(outcome.block.report)
            if outcome.ended:
                return True
            number += 1
            transcript = Transcript()

    def _drop_what_is_old(self) -> None:
        self.source.skip_backlog()
        self.station.forget_events()

    async def _begin(self, line: Line, identity: Identity) -> None:
        """Make the link's first keys together with the peer, if both have none yet.

        Ends that do not fit together stop here for good. What goes wrong after that may be somebody on the line, who
        will not be there for ever: it costs this line only.
        """
        transcript, at_alice = Transcript(), self.role is Role.ALICE
        meet = bootstrap.meet_alice if at_alice else bootstrap.meet_bob
        meeting = meet(identity, self.params, self.vault, self.secrets)
        if await self._first(Engine(self.role, meeting, transcript), line):
            exchange = bootstrap.exchange_alice if at_alice else bootstrap.exchange_bob
            steps = exchange(identity, self.vault, self.secrets, transcript)
            await tcp.run(Engine(self.role, steps, transcript), line, None)
            self.on_begun()

    async def _shake_hands(self, line: Line) -> tuple[SessionStart, Transcript]:
        transcript = Transcript()
        shake = handshake.alice if self.role is Role.ALICE else handshake.bob
        steps = shake(self.params, self.vault, self.secrets, simulated=self.source.simulated)
        return await self._first(Engine(self.role, steps, transcript), line), transcript

    async def _first(self, engine: Engine[R], line: Line) -> R:
        """Run one of the first exchanges on a line, in which a refusal is final."""
        try:
            return await tcp.run(engine, line, None)
        except RemoteProtocolError as error:
            raise HandshakeRefused(str(error), hint=error.hint) from error
        except PeerUnreachable as error:
            # TLS 1.3 tells a client only now that its certificate was refused.
            raise PeerUnreachable(f"no handshake: {error}; does the peer accept this certificate?") from error

    async def _settle(self, line: Line, start: SessionStart, transcript: Transcript) -> None:
        """Finish a block whose acceptance was lost with the last line."""
        steps = confirmation.settle(self.role, start, self.params, self.vault, transcript)
        try:
            await tcp.run(Engine(self.role, steps, transcript), line, None)
        except AuthenticationError:
            # Its pad may have been one inside the prepared block, where nobody counts.
            self._guessed = True
            raise
        if start.settles >= 0:
            self.backoff.gained()
            self._pads = self._pads_left()

    def _pads_left(self) -> int:
        return sum(self.vault.pads_left(sender) for sender in Role)

    def _block(self, start: SessionStart, number: int, transcript: Transcript, round_trip_s: float) -> Engine[Outcome]:
        confirmation.begin(self.params, self.vault)
        self._begun = True
        ours = (self.station, self.params, self.secrets, self.vault, start, number, transcript)
        steps = roles.alice(*ours, round_trip_s) if self.role is Role.ALICE else roles.bob(*ours)
        return Engine(self.role, steps, transcript)

    async def attempt(self, line: Line) -> bool:
        """`serve_line`, with every failure told and survived; True when no more blocks can come.

        Raises:
            HandshakeRefused: the two ends are configured differently; trying again would not help.
            EntropyFailed: there are no random bits to go on with.
        """
        if self.backoff.wait_s > 0:
            log.info("no line for %.0f s: blocks failed", self.backoff.wait_s)
            await line.close()
            return False
        try:
            return await self.serve_line(line)
        except (HandshakeRefused, EntropyFailed):
            raise
        except (EpsilonBudgetSpent, KeyExhausted) as error:
            # Only a person can end this, and with the node stopped; until then it serves the keys in store.
            self.on_abort(error)
            return True
        except (ProtocolAborted, ClockNotFound) as error:
            self.on_abort(error)
            return self.station.exhausted
        except PeerUnreachable as error:
            self.on_line("down", str(error))
        except (FeedError, TagFormatError) as error:
            self.on_abort(error)
            await line.close()
            await self._mend_feed()
        except QkdError as error:
            log.warning("%s: %s", type(error).__name__, error)
            self.on_abort(error)
        finally:
            await line.close()
            with contextlib.suppress(KeyStoreError):  # the node is being stopped, its store closed
                self._count_loss()
        return False

    def _count_loss(self) -> None:
        """Wait before the next line if this one cost something and gave nothing since."""
        burnt = self._guessed or (self._pads >= 0 and self._pads_left() < self._pads)
        if burnt or self._begun:
            wait_s = self.backoff.lost(pads=burnt)
            if wait_s >= 1:
                log.warning("%s; waiting %.0f s", "a block was lost at its tags" if burnt else "no key", wait_s)
        self._begun, self._guessed, self._pads = False, False, -1

    async def _mend_feed(self) -> None:
        """Wait for the tagger to come back; its clock may have started anew, so nothing known of it holds."""
        self._earlier += self.source.health
        self.source.close()
        standing = self.station.standing_alarms()
        self.station = self._new_station()
        # A tagger that comes back has answered no alarm.
        self.station.keep_alarms(standing)
        while True:
            try:
                self.source = await asyncio.to_thread(self.reopen)
                self._earlier += SourceHealth(reconnects=1)
                return
            except FeedError as error:
                log.info("%s", error)
                await asyncio.sleep(FEED_RETRY_S)
