"""A whole link in one process: both stations, each with its own tags and vault, over a line in memory.

This is how tag files become keys (`qkd session`) and how tests run the protocol. The two sides share nothing: each
has its own source, station, secrets and vault, and every message goes through the codec.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from distribution.delivery import TagSource
from distribution.monitors.finding import Finding
from qkd import confirmation, roles
from qkd.bbm92 import Outcome
from qkd.block import Vault
from qkd.errors import ClockNotFound, KeyTooShort, ProtocolAborted
from qkd.exchange import handshake
from qkd.exchange.engine import Engine
from qkd.exchange.handshake import SessionStart
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import SecretBits
from qkd.session import SessionParameters
from qkd.station import Station, station_for
from qkd.transport.memory import MemoryLine, Tamper, untouched


@dataclass(slots=True)
class Side:
    """One station of the link; `station` is made from the parameters on first use."""

    source: TagSource
    vault: Vault
    secrets: SecretBits
    station: Station | None = None


@dataclass(slots=True)
class Link:
    """Two sides and what joins them.

    Attributes:
        params: agreed by both.
        alice, bob: the sides.
        tamper: what the line does to messages.
        transcripts: Alice's record of the last block's conversation, for vectors.
    """

    params: SessionParameters
    alice: Side
    bob: Side
    tamper: Tamper = untouched
    transcripts: dict[Role, Transcript] = field(default_factory=dict)

    def blocks(self) -> Iterator[tuple[Outcome, Outcome]]:
        """Block after block as (Alice's, Bob's) outcome, until a tagger ends.

        Raises:
            QkdError: a block failed; calling again starts with a new handshake and the tags that remain.
        """
        for role, side in ((Role.ALICE, self.alice), (Role.BOB, self.bob)):
            side.station = side.station or station_for(role, self.params, side.secrets)
        start = self._shake_hands()
        number = start.next_block
        while True:
            outcomes = self._block(start, number)
            yield outcomes
            if outcomes[0].ended:
                return
            number += 1
            self._new_transcripts()

    def _new_transcripts(self) -> None:
        self.transcripts = {role: Transcript() for role in Role}

    def _shake_hands(self) -> SessionStart:
        self._new_transcripts()
        simulated = {role: side.source.simulated for role, side in ((Role.ALICE, self.alice), (Role.BOB, self.bob))}
        alice = Engine(
            Role.ALICE,
            handshake.alice(self.params, self.alice.vault, self.alice.secrets, simulated=simulated[Role.ALICE]),
            self.transcripts[Role.ALICE],
        )
        bob = Engine(
            Role.BOB,
            handshake.bob(self.params, self.bob.vault, self.bob.secrets, simulated=simulated[Role.BOB]),
            self.transcripts[Role.BOB],
        )
        MemoryLine(alice, bob, tamper=self.tamper).run()
        start = alice.result
        self._settle(start, bob.result)
        return start

    def _settle(self, *starts: SessionStart) -> None:
        alice, bob = (
            Engine(
                role,
                confirmation.settle(role, start, self.params, side.vault, self.transcripts[role]),
                self.transcripts[role],
            )
            for role, start, side in zip(Role, starts, (self.alice, self.bob), strict=True)
        )
        MemoryLine(alice, bob, tamper=self.tamper).run()

    def _block(self, start: SessionStart, number: int) -> tuple[Outcome, Outcome]:
        assert self.alice.station is not None
        assert self.bob.station is not None
        for side in (self.alice, self.bob):
            confirmation.begin(self.params, side.vault)
        at_alice, at_bob = self.transcripts[Role.ALICE], self.transcripts[Role.BOB]
        alice = Engine(
            Role.ALICE,
            roles.alice(self.alice.station, self.params, self.alice.secrets, self.alice.vault, start, number, at_alice),
            at_alice,
        )
        bob = Engine(
            Role.BOB,
            roles.bob(self.bob.station, self.params, self.bob.secrets, self.bob.vault, start, number, at_bob),
            at_bob,
        )
        MemoryLine(alice, bob, self.alice.source, self.bob.source, self.tamper).run()
        return alice.result, bob.result


@dataclass(slots=True)
class SessionRecord:
    """All blocks of a session over recordings, good and bad, and what each station's monitors raised."""

    outcomes: list[tuple[Outcome, Outcome]] = field(default_factory=list)
    aborts: list[ProtocolAborted | ClockNotFound] = field(default_factory=list)
    alarms: dict[Role, tuple[Finding, ...]] = field(default_factory=dict)


def run_to_end(link: Link) -> SessionRecord:
    """Make blocks until the tags are used up; blocks that abort are recorded and the next one is begun.

    Tags at the end that are too few for another block are left over; that is no abort. A clock that is lost after
    blocks were made (a satellite has set) costs the block at hand, as at a station.

    Raises:
        QkdError: anything but an abort of the protocol; ClockNotFound before the first block.
    """
    record = SessionRecord()
    while not _one_run(link, record):
        pass
    for role, side in ((Role.ALICE, link.alice), (Role.BOB, link.bob)):
        record.alarms[role] = side.station.alarms if side.station else ()
    return record


def _one_run(link: Link, record: SessionRecord) -> bool:
    """Blocks from one handshake on; True when the tags are used up."""
    try:
        for outcomes in link.blocks():
            record.outcomes.append(outcomes)
        return True
    except (ProtocolAborted, ClockNotFound) as error:
        if isinstance(error, ClockNotFound) and not record.outcomes:
            raise
        if isinstance(error, ClockNotFound):
            for side in (link.alice, link.bob):
                assert side.station is not None
                side.station.forget_events()
        ended = any(side.station is None or side.station.exhausted for side in (link.alice, link.bob))
        leftover = ended and isinstance(error, KeyTooShort) and bool(record.outcomes)
        if not leftover:
            record.aborts.append(error)
        return ended
