"""Whole sessions to attack: handshake, two blocks, and afterwards an honest line again; what went wrong is listed.

A `Kind` is one way in which a session can go. Kinds are so chosen that together they say every message there is, and a
test fails when one is never said. A kind for messages that do not travel over a `Link` needs a name and a `play`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol, cast
from unittest import mock

from distribution.clock import Acquisition, acquire
from distribution.clock.tracker import ClockTracker
from distribution.sources.replay import Replay
from distribution.tags import TimeTags, join
from qkd import link as link_module
from qkd.block import PAD_BYTES
from qkd.errors import KeyExhausted, QkdError, ReconciliationFailed
from qkd.exchange.codec import decode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import CascadeStart, Message, Parities, Tag
from qkd.exchange.steps import Role, Steps, receive
from qkd.link import Link, Side
from qkd.protocols import Protocol as LinkProtocol
from qkd.randomness import FixedBits, SecretBits
from qkd.reconciliation.choice import Method
from qkd.reconciliation.frame import Frame, Reconciled
from qkd.reconciliation.methods import METHODS, Roles
from qkd.session import SessionParameters
from qkd.station import station_for
from qkd.testing import MemoryVault
from qkd.transport.memory import Tamper, untouched
from tests import small_e91
from tests.overlooking import overlooking
from tests.small_e91 import E91
from tests.small_link import PARAMS, PRE_SHARED, same_blocks, tags

BLOCKS = 2
# An honest session of the smallest kinds says a few hundred messages; thousands mean that it does not come to an end.
MOST_MESSAGES = 5000
OTHER_LINK = FixedBits("another link").take_bytes(len(PRE_SHARED))


@dataclass(frozen=True, slots=True)
class Said:
    """One message as it left its sender, in which block (the handshake is of block 0)."""

    sender: Role
    encoded: bytes
    block: int

    @property
    def message(self) -> Message:
        """What it says."""
        return decode(self.encoded)


@dataclass(slots=True)
class Played:
    """A session that was played, and what came of it.

    Attributes:
        said: every message as it left its sender.
        caught: names of the errors at Alice and at Bob, "" where none was raised.
        errors: the errors themselves.
        blocks: how many blocks both ends hold.
        violations: what must never be, in words; empty if all is well.
    """

    said: list[Said] = field(default_factory=list)
    caught: dict[Role, str] = field(default_factory=lambda: dict.fromkeys(Role, ""))
    errors: list[QkdError] = field(default_factory=list)
    blocks: int = 0
    violations: list[str] = field(default_factory=list)


class Kind(Protocol):
    """One way in which a session can go."""

    def __hash__(self) -> int:
        """Kinds are the keys of what was found."""
        ...

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def about(self) -> tuple[str, ...]:
        """Names of the messages that mean something else in this kind of session than in the others."""
        ...

    def play(self, tamper: Tamper, *, label: str = "", pre_shared: bytes = PRE_SHARED, recover: bool = True) -> Played:
        """One session with Eve on its line; another label means other randomness of the stations.

        With `recover`, the line is honest again afterwards and both ends must get on.
        """
        ...


class Watched(MemoryVault):
    """A vault that notes what must not happen to it.

    A key may be committed only while both ends have recorded the same conversation, and at Bob only what Alice holds.
    """

    def __init__(self, role: Role, pre_shared: bytes, played: Played) -> None:
        super().__init__(pre_shared)
        self.role, self.played = role, played
        self.peer: Watched | None = None
        self.link: Link | None = None
        self.burnt: set[tuple[Role, int]] = set()

    def take_pad(self, sender: Role, *charge: Any) -> tuple[int, bytes]:
        """See Vault."""
        number, pad = super().take_pad(sender, *charge)
        self._burnt_once(sender, number)
        return number, pad

    def peer_pad(self, sender: Role, number: int, *charge: Any) -> bytes:
        """See Vault."""
        pad = super().peer_pad(sender, number, *charge)
        self._burnt_once(sender, number)
        return pad

    def _burnt_once(self, sender: Role, number: int) -> None:
        if (sender, number) in self.burnt:
            self._wrong(f"used pad {number} of {sender.value} twice")
        self.burnt.add((sender, number))

    def commit(self, number: int) -> None:
        """See Vault."""
        before = self.committed
        super().commit(number)
        if self.committed == before:
            return
        assert self.peer is not None
        assert self.link is not None
        if self.role is Role.BOB and self.peer.committed < number:
            self._wrong(f"committed block {number}, which Alice does not hold")
        heard = [self.link.transcripts[role].recorded() for role in Role]
        if not max(heard, key=len).startswith(min(heard, key=len)):
            self._wrong(f"committed block {number} of an altered conversation")

    def discard(self) -> None:
        """See Vault."""
        assert self.peer is not None
        if 0 <= self.prepared <= self.peer.committed:
            self._wrong(f"destroyed block {self.prepared}, which the peer holds")
        super().discard()

    def _wrong(self, what: str) -> None:
        self.played.violations.append(f"{self.role.value} {what}")


Vaults = tuple[Watched, Watched]


@contextmanager
def errors_noted(played: Played) -> Iterator[None]:
    """Within it, the engines of every link note their errors."""

    class Noting(Engine[Any]):
        def _fail(self, error: QkdError, *, tell_peer: bool) -> Any:
            played.caught[self.role] = played.caught[self.role] or type(error).__name__
            played.errors.append(error)
            super()._fail(error, tell_peer=tell_peer)

    with mock.patch.object(link_module, "Engine", Noting):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkKind:
    """A session over a link of two recordings.

    Attributes:
        name: for people.
        params: of the session. seconds: length of the recordings.
        known_clock: Alice has the common clock already; else she has to find it, and Bob sees nothing at first.
        method: stands in for the session's method.
        before: what Eve did to a session before the one that is looked at: the number of the Tag that she dropped.
        makes_key: an honest session makes BLOCKS blocks.
        about: see Kind.
    """

    name: str
    params: SessionParameters = PARAMS
    seconds: float = 0.4
    known_clock: bool = True
    method: Callable[[], Roles] | None = None
    before: int | None = None
    makes_key: bool = True
    about: tuple[str, ...] = ()

    def play(self, tamper: Tamper, *, label: str = "", pre_shared: bytes = PRE_SHARED, recover: bool = True) -> Played:
        """See Kind."""
        played = Played()
        with self._method(), errors_noted(played):
            alice, bob = self.sides(label, pre_shared, played)
            vaults = cast(Vaults, (alice.vault, bob.vault))
            if self.before is not None:
                self.run(Link(self.params, alice, bob, _dropping_tag(self.before)), played, vaults, blocks=1)
                played.caught, played.errors = dict.fromkeys(Role, ""), []
            held = min(vault.committed for vault in vaults) + 1
            link = Link(self.params, alice, bob, _Noting(tamper, played, vaults, held))
            self.run(link, played, vaults, blocks=BLOCKS)
            caught, errors = dict(played.caught), list(played.errors)
            # Ends that hold different blocks must always come together again.
            if self.makes_key and (recover or vaults[0].committed != vaults[1].committed):
                self._recover(alice, bob, played, vaults)
            played.caught, played.errors = caught, errors
        played.blocks = min(len(vault.blocks) for vault in vaults)
        _look_for_secrets(played, vaults)
        _look_for_pads_used_twice(played)
        return played

    def _method(self) -> Any:
        if self.method is None:
            return mock.patch.dict(METHODS)
        return mock.patch.dict(METHODS, {self.params.reconciliation: self.method()})

    def sides(self, label: str, pre_shared: bytes, played: Played) -> tuple[Side, Side]:
        protocol, blind_s = self.params.protocol, 0.0 if self.known_clock else 1.2 * self.params.epoch_s
        at_alice, at_bob = recordings(protocol, self.seconds, blind_s)
        secrets = {role: FixedBits(role.value + label) for role in Role}
        station = station_for(Role.ALICE, self.params, secrets[Role.ALICE])
        if self.known_clock:
            station.tracker = ClockTracker(clock(protocol))
        vaults = {role: Watched(role, pre_shared, played) for role in Role}
        for role in Role:
            vaults[role].peer = vaults[role.peer]
        return (
            Side(Replay(at_alice, simulated=True), vaults[Role.ALICE], secrets[Role.ALICE], station),
            Side(Replay(at_bob, simulated=True), vaults[Role.BOB], secrets[Role.BOB]),
        )

    def run(self, link: Link, played: Played, vaults: Iterable[Watched], *, blocks: int) -> None:
        for vault in vaults:
            vault.link = link
        try:
            made = link.blocks()
            for _ in range(blocks):
                next(made)
        except QkdError as error:
            played.errors.append(error)
        except Exception as error:  # a bug of ours: it must be seen with what caused it
            played.violations.append(f"{type(error).__name__}: {error}")

    def _recover(self, alice: Side, bob: Side, played: Played, vaults: Vaults) -> None:
        """On an honest line again, both ends come to hold the same keys and make another."""
        held = alice.vault.committed
        for _ in range(4):
            link = Link(self.params, alice, bob)
            self.run(link, played, vaults, blocks=1)
            # A pad that a forged tag burnt ahead may cost the acceptance; the next handshake settles that block.
            if alice.vault.committed > held and bob.vault.committed == alice.vault.committed:
                break
        else:
            last = played.errors[-1] if played.errors else None
            if not isinstance(last, KeyExhausted):
                played.violations.append(f"the honest line makes no key any more: {last}")
        if not same_blocks(*vaults):
            played.violations.append("the two ends hold different keys")


class _Noting:
    """Writes down what is said, before Eve gets it."""

    def __init__(self, tamper: Tamper, played: Played, vaults: Vaults, held: int) -> None:
        self._tamper, self._played, self._vaults, self._held = tamper, played, vaults, held

    def __call__(self, sender: Role, encoded: bytes) -> list[bytes]:
        block = max(0, self._vaults[1].committed + 1 - self._held)
        self._played.said.append(Said(sender, encoded, block))
        if len(self._played.said) > MOST_MESSAGES:
            raise RuntimeError(f"the session goes on after {MOST_MESSAGES} messages")
        return self._tamper(sender, encoded)


def _dropping_tag(number: int) -> Tamper:
    """Eve lets the tag of that number vanish, counted from 0."""
    seen = 0

    def act(_sender: Role, encoded: bytes) -> list[bytes]:
        nonlocal seen
        if not isinstance(decode(encoded), Tag):
            return [encoded]
        seen += 1
        return [] if seen == number + 1 else [encoded]

    return act


@cache
def recordings(protocol: LinkProtocol, seconds: float, blind_s: float) -> tuple[TimeTags, TimeTags]:
    """Both stations' tags; after his first one Bob sees nothing for a while."""
    alice, bob = tags(seconds) if protocol is LinkProtocol.BBM92 else small_e91.tags(protocol, seconds)
    start_ps = int(bob.t_ps[0])
    return alice, join(bob.between(start_ps, start_ps + 1), bob.between(start_ps + round(blind_s * 1e12) + 1, 1 << 62))


@cache
def clock(protocol: LinkProtocol) -> Acquisition:
    """The common clock of all recordings of a protocol, found in one of them."""
    alice, bob = recordings(protocol, 0.4, 0.0)
    found = acquire(
        alice.t_ps,
        bob.t_ps,
        uncertainty_s=PARAMS.clock_uncertainty_s,
        max_drift_ppm=PARAMS.max_drift_ppm,
    )
    return found


def _look_for_secrets(played: Played, vaults: Vaults) -> None:
    """Neither hash keys, nor pads, nor key stand in a message or in the text of an error."""
    secrets = set()
    for vault in vaults:
        used = max((number for _, number in vault.burnt), default=0) + 4
        for data in (vault.pre_shared[: 2 * PAD_BYTES * used], *(block.key for block in vault.blocks)):
            secrets |= {data[i : i + 16] for i in range(0, len(data) - 15, 16)}
    wire = b"".join(said.encoded for said in played.said)
    texts = " ".join(f"{e} {e!r} {e.hint} {vars(e)}" for e in played.errors)
    for secret in secrets:
        if secret in wire:
            played.violations.append("a secret is on the line")
        if secret.hex() in texts or repr(secret)[2:-1] in texts:
            played.violations.append("a secret is in an error's text")


def _look_for_pads_used_twice(played: Played) -> None:
    for role in Role:
        numbers = [s.message.pad for s in played.said if s.sender is role and isinstance(s.message, Tag)]
        if len(numbers) != len(set(numbers)):
            played.violations.append(f"{role.value} sent two tags under one pad")


def giving_up() -> Roles:
    """A method whose Bob aborts the block at the first parities."""

    def bob(_frames: Sequence[Frame], _secrets: SecretBits) -> Steps[Reconciled]:
        yield from receive(CascadeStart)
        yield from receive(Parities)
        raise ReconciliationFailed("Bob gives up")

    return replace(METHODS[Method.CASCADE_FAST], bob=bob)


def _kind(name: str, method: Method, block_bits: int, seconds: float, **more: Any) -> LinkKind:
    params = replace(PARAMS, reconciliation=method, block_bits=block_bits)
    return LinkKind(name=name, params=params, seconds=seconds, **more)


CASCADE = LinkKind(name="Cascade")
KINDS: tuple[Kind, ...] = (
    CASCADE,
    _kind("LDPC, one way", Method.LDPC_ONE_WAY, 10_000, 1.0),
    _kind("LDPC, blind", Method.LDPC_BLIND, 24_000, 1.8),
    LinkKind(name="frames that fail", method=lambda: overlooking({0: (5, 9)}, 1000)),
    LinkKind(name="E91", params=replace(E91, block_bits=6000, eps_sec=1e-6), seconds=0.8),
    LinkKind(name="a clock that is found late", known_clock=False, seconds=0.6),
    LinkKind(name="Bob gives up", method=giving_up, makes_key=False),
    LinkKind(name="a block that only Bob prepared", before=1, about=("Hello",)),
    LinkKind(name="a block that only Alice committed", before=2, about=("Hello",)),
)


@cache
def honest(kind: Kind, label: str = "", pre_shared: bytes = PRE_SHARED) -> Played:
    """The kind's session with nobody on the line."""
    return kind.play(untouched, label=label, pre_shared=pre_shared)
