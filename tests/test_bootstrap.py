"""A beginning without a pre-shared file: what both must agree on, every way to alter it, and what the first block ends.

Eve is a tampering line; she may alter, drop, replay and send back. Whatever she does, a side installs nothing unless
its peer's signature and proof verify, and the two sides never hold different keys and believe that they agree.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution.sources.replay import Replay
from distribution.tags import EMPTY
from qkd.block import Beginning
from qkd.errors import AuthenticationError, KeyStoreError, ParameterError, QkdError, RemoteProtocolError
from qkd.exchange import bootstrap, handshake
from qkd.exchange.codec import decode, encode
from qkd.exchange.engine import Engine
from qkd.exchange.identity import Identity, signing_key
from qkd.exchange.messages import (
    BootstrapCiphertext,
    BootstrapHello,
    BootstrapKey,
    BootstrapProof,
    Hello,
    Message,
)
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.kms.store import KeyStore
from qkd.node.stationloop import HandshakeRefused, StationLoop
from qkd.randomness import FixedBits, OperatingSystemBits
from qkd.session import SessionParameters
from qkd.testing import MemoryVault, drop, flip
from qkd.transport.memory import MemoryLine, Tamper, untouched

PARAMS = SessionParameters()
EPS = 2.0**-100
ALICE, BOB = Role.ALICE, Role.BOB
# Who sends what, in order.
MESSAGES: list[tuple[Role, type[Message]]] = [
    (BOB, BootstrapHello),
    (ALICE, BootstrapHello),
    (ALICE, BootstrapKey),
    (BOB, BootstrapCiphertext),
    (BOB, BootstrapProof),
    (ALICE, BootstrapProof),
]


@cache
def key_of(name: str) -> Any:
    return signing_key(FixedBits(f"identity of {name}").take_bytes(32))


def identity(own: str, peer: str) -> Identity:
    return Identity(key_of(own), key_of(peer).public_key())


@dataclass
class Meeting:
    """One run of the exchange between two vaults, over a line that Eve may stand on."""

    vaults: dict[Role, MemoryVault] = field(default_factory=lambda: {role: MemoryVault(b"") for role in Role})
    identities: dict[Role, Identity] = field(
        default_factory=lambda: {ALICE: identity("alice", "bob"), BOB: identity("bob", "alice")}
    )
    params_bob: SessionParameters = PARAMS
    tamper: Tamper = untouched
    engines: dict[Role, Engine[bool]] = field(default_factory=dict)
    said: list[tuple[Role, bytes]] = field(default_factory=list)

    def run(self) -> dict[Role, bool]:
        for role, steps, params in ((ALICE, bootstrap.alice, PARAMS), (BOB, bootstrap.bob, self.params_bob)):
            transcript = Transcript()
            ours = self.identities[role], params, self.vaults[role], OperatingSystemBits(), transcript
            self.engines[role] = Engine(role, steps(*ours), transcript)
        MemoryLine(self.engines[ALICE], self.engines[BOB], tamper=self._overheard).run()
        return {role: engine.result for role, engine in self.engines.items()}

    def _overheard(self, sender: Role, encoded: bytes) -> list[bytes]:
        self.said.append((sender, encoded))
        return self.tamper(sender, encoded)

    @property
    def installed(self) -> dict[Role, bool]:
        return {role: bool(vault.link_id) for role, vault in self.vaults.items()}

    def same(self) -> bool:
        a, b = self.vaults[ALICE], self.vaults[BOB]
        return (a.link_id, a._hash_keys, a._pads, a._next) == (b.link_id, b._hash_keys, b._pads, b._next)


def altered(number: int, change: Callable[[bytes], list[bytes]]) -> Tamper:
    """The line that changes the message of this number, counted over both directions."""
    seen = iter(range(1 << 30))
    return lambda _sender, encoded: change(encoded) if next(seen) == number else [encoded]


def test_both_install_the_same_keys_and_believe_the_same() -> None:
    meeting = Meeting()
    assert meeting.run() == {ALICE: True, BOB: True}
    assert [(sender, type(decode(encoded))) for sender, encoded in meeting.said] == MESSAGES
    assert meeting.same()
    for vault in meeting.vaults.values():
        assert vault.beginning is Beginning.POST_QUANTUM
        assert [vault.pads_left(role) for role in Role] == [255, 255]
        assert vault.hash_key(ALICE) != vault.hash_key(BOB)
    assert meeting.engines[ALICE].transcript.recorded() == meeting.engines[BOB].transcript.recorded()


def test_every_run_gives_other_keys() -> None:
    first, second = Meeting(), Meeting()
    first.run()
    second.run()
    for role in Role:
        assert first.vaults[ALICE].hash_key(role) != second.vaults[ALICE].hash_key(role)
    assert first.vaults[ALICE].link_id != second.vaults[ALICE].link_id


def test_a_second_meeting_of_the_same_two_has_nothing_to_do() -> None:
    meeting = Meeting()
    meeting.run()
    keys = meeting.vaults[ALICE].hash_key(ALICE)
    again = Meeting(vaults=meeting.vaults)
    assert again.run() == {ALICE: False, BOB: False}
    assert [sender for sender, _ in again.said] == [BOB, ALICE]
    assert meeting.vaults[ALICE].hash_key(ALICE) == keys


def test_the_keys_are_those_of_the_documented_derivation() -> None:
    """HKDF (RFC 5869) written out with hmac, over a transcript written out by hand."""
    transcript = Transcript()
    transcript.add(BOB, b"one")
    transcript.add(ALICE, b"two")
    shared = bytes(range(32))
    keys = bootstrap._Keys(shared, transcript)
    recorded = b"B" + struct.pack(">Q", 3) + b"one" + b"A" + struct.pack(">Q", 3) + b"two"
    h = hashlib.sha512(recorded).digest()

    def derived(label: bytes, count: int) -> bytes:
        prk = hmac.digest(b"entangled-qkd bootstrap", shared, "sha512")
        info, block, out = b"ML-KEM-1024 ML-DSA-87 HKDF-SHA512" + label + h, b"", b""
        for counter in range(1, 256):
            block = hmac.digest(prk, block + info + bytes([counter]), "sha512")
            out += block
        return out[:count]

    assert keys.secret == derived(b"secret", 8192)
    assert keys.confirmation(ALICE, b"said") == hmac.digest(derived(b"confirm A", 64), b"said", "sha512")
    assert keys.confirmation(BOB, b"said") == hmac.digest(derived(b"confirm B", 64), b"said", "sha512")
    assert keys.link_id == hashlib.sha256(b"entangled-qkd bootstraplink" + h).digest()


# Every field of every message.

FIELDS = [
    (number, name)
    for number, (_, kind) in enumerate(MESSAGES)
    for name in msgspec.structs.fields(kind)
    for name in (name.name,)
]


def other(value: object) -> list[object]:
    """Other values of a field: the nearest, and one of another length."""
    if isinstance(value, bytes):
        flipped = bytes([value[0] ^ 1]) + value[1:] if value else b"\x01" * 32
        last = value[:-1] + bytes([value[-1] ^ 0x80]) if value else b"\x01"
        return [flipped, last, value[:-1] if value else b"\x00", value + b"\x00"]
    if isinstance(value, int):
        return [value + 1, value - 1]
    assert isinstance(value, str)
    return [value + "x", "", "bob" if value == "alice" else "alice"]


def altering(number: int, name: str, variant: int, seen: list[int]) -> Tamper:
    """The line that puts variant number `variant` in the place of a field; `seen` gets how many there are."""

    def change(encoded: bytes) -> list[bytes]:
        message = decode(encoded)
        value = getattr(message, name)
        variants = [v for v in other(value) if v != value]
        seen[:] = [len(variants)]
        return [encode(msgspec.structs.replace(message, **{name: variants[variant]}))]

    return altered(number, change)


@pytest.mark.parametrize(("number", "name"), FIELDS)
def test_no_field_can_be_altered(number: int, name: str) -> None:
    tried, variants = 0, [1]
    while tried < variants[0]:
        meeting = Meeting(tamper=altering(number, name, tried, variants))
        with pytest.raises(RemoteProtocolError) as caught:
            meeting.run()
        assert str(caught.value)
        # The one who was lied to installs nothing. Alice may have done so only if the lie is her own last message.
        last = number == len(MESSAGES) - 1
        assert meeting.installed == {ALICE: last, BOB: False}, (name, tried)
        tried += 1


@settings(max_examples=100, deadline=None)
@given(number=st.integers(0, len(MESSAGES) - 1), bit=st.integers(0, 1 << 16))
def test_no_bit_on_the_wire_can_be_flipped(number: int, bit: int) -> None:
    """Not even one that leaves the message's meaning: the bytes themselves are signed."""
    meeting = Meeting(tamper=altered(number, flip(bit)))
    with pytest.raises(RemoteProtocolError):
        meeting.run()
    assert meeting.installed == {ALICE: number == len(MESSAGES) - 1, BOB: False}


def test_another_encoding_of_the_same_message_is_noticed() -> None:
    """MessagePack has long forms of short things; the words are the same, the bytes are not."""

    def stretched(encoded: bytes) -> list[bytes]:
        assert encoded.endswith(b"\xff")  # committed = -1, the last field
        other = encoded[:-1] + b"\xd1\xff\xff"  # int 16 where one byte says it
        assert decode(other) == decode(encoded)
        return [other]

    meeting = Meeting(tamper=altered(0, stretched))
    with pytest.raises(AuthenticationError):
        meeting.run()
    assert meeting.installed == {ALICE: False, BOB: False}


@pytest.mark.parametrize("number", range(len(MESSAGES)))
@pytest.mark.parametrize("what", ["drop", "repeat", "cut", "empty"])
def test_dropped_repeated_or_cut_messages_leave_nothing_that_the_next_meeting_does_not_mend(
    number: int, what: str
) -> None:
    acts: dict[str, Callable[[bytes], list[bytes]]] = {
        "drop": drop,
        "repeat": lambda encoded: [encoded, encoded],
        "cut": lambda encoded: [encoded[:-1]],
        "empty": lambda _encoded: [b""],
    }
    meeting = Meeting(tamper=altered(number, acts[what]))
    # The last message that a side waits for may come twice: that side has finished and reads no more.
    if what == "repeat" and MESSAGES[number][1] is BootstrapProof:
        meeting.run()
        assert meeting.same()
    else:
        with pytest.raises(QkdError):
            meeting.run()
        assert not meeting.installed[BOB]
        if what != "repeat":
            assert meeting.installed[ALICE] == (number == len(MESSAGES) - 1)
    again = Meeting(vaults=meeting.vaults)
    again.run()
    assert again.same()
    assert again.installed == {ALICE: True, BOB: True}


def test_what_was_said_in_another_run_does_not_fit() -> None:
    """Each message of one run in the place of the same one of another, from the same two stations."""
    earlier = Meeting()
    earlier.run()
    for number, (_sender, old) in enumerate(earlier.said):
        meeting = Meeting(tamper=altered(number, lambda _encoded, old=old: [old]))
        with pytest.raises(RemoteProtocolError):
            meeting.run()
        assert meeting.installed == {ALICE: number == len(MESSAGES) - 1, BOB: False}


@pytest.mark.parametrize("victim", list(Role))
def test_a_whole_earlier_conversation_does_not_fit(victim: Role) -> None:
    """Eve alone at the other end, with a recording of everything that the true peer once said."""
    earlier = Meeting()
    earlier.run()
    script = iter([encoded for sender, encoded in earlier.said if sender is victim.peer])
    meeting = Meeting(tamper=lambda sender, encoded: [encoded] if sender is victim else list(script)[:1] or [])
    with pytest.raises(QkdError):
        meeting.run()
    assert not meeting.installed[victim]


@pytest.mark.parametrize("victim", list(Role))
def test_nothing_can_be_sent_back_to_whoever_said_it(victim: Role) -> None:
    """Reflection: the victim's own words, and its own proof in the place of the peer's."""
    mine: list[bytes] = []

    def mirror(sender: Role, encoded: bytes) -> list[bytes]:
        if sender is victim:
            mine.append(encoded)
            return [encoded]
        return [mine[-1]] if mine else [encoded]

    meeting = Meeting(tamper=mirror)
    with pytest.raises(RemoteProtocolError):
        meeting.run()
    assert not meeting.installed[victim]

    def proof_back(sender: Role, encoded: bytes) -> list[bytes]:
        if isinstance(decode(encoded), BootstrapProof):
            if sender is BOB:
                mine[:] = [encoded]
            elif mine:
                return [mine[0]]
        return [encoded]

    mine.clear()
    meeting = Meeting(tamper=proof_back)
    with pytest.raises(AuthenticationError):
        meeting.run()
    assert not meeting.installed[BOB]


def test_an_identity_is_not_its_own_peer() -> None:
    with pytest.raises(ParameterError, match="own"):
        identity("alice", "alice")


@pytest.mark.parametrize("wrong", list(Role))
def test_the_wrong_key_is_named_by_its_fingerprint(wrong: Role) -> None:
    """One side holds another peer's key: both say which key was expected and which came."""
    pinned = {ALICE: identity("alice", "bob"), BOB: identity("bob", "alice")}
    pinned[wrong] = identity(wrong.value, "mallory")
    meeting = Meeting(identities=pinned)
    with pytest.raises(RemoteProtocolError) as caught:
        meeting.run()
    text = str(caught.value)
    assert pinned[wrong].peer_fingerprint.hex() in text
    assert pinned[wrong.peer].fingerprint.hex() in text
    assert meeting.installed == {ALICE: False, BOB: False}


class Impostor(Identity):
    """Mallory, who says that she is the one who is expected; she has not that one's signing key."""

    def __init__(self, victim: str, claimed: str) -> None:
        super().__init__(key_of("mallory"), key_of(victim).public_key())
        self.fingerprint = identity(claimed, victim).fingerprint


@pytest.mark.parametrize("who", list(Role))
def test_an_impostor_without_the_signing_key_gets_nowhere(who: Role) -> None:
    true = {ALICE: identity("alice", "bob"), BOB: identity("bob", "alice")}
    meeting = Meeting(identities={**true, who: Impostor(who.peer.value, who.value)})
    with pytest.raises(AuthenticationError, match="does not verify under its key"):
        meeting.run()
    assert not meeting.installed[who.peer]


def test_whoever_relays_learns_nothing_and_cannot_swap_the_kem_key() -> None:
    """A man in the middle with a KEM key of his own in each direction: both signatures cover what each end saw."""
    private = bootstrap._kem_key(bytes(64))
    meeting = Meeting(
        tamper=altered(2, lambda _encoded: [encode(BootstrapKey(private.public_key().public_bytes_raw()))])
    )
    with pytest.raises(AuthenticationError):
        meeting.run()
    assert meeting.installed == {ALICE: False, BOB: False}


def test_different_parameters_are_named() -> None:
    meeting = Meeting(params_bob=SessionParameters(block_bits=30_000))
    with pytest.raises(RemoteProtocolError, match="block_bits"):
        meeting.run()
    assert meeting.installed == {ALICE: False, BOB: False}


@pytest.mark.parametrize("number", [2, 3])
def test_bytes_that_are_no_kem_key_or_ciphertext_are_the_peers_fault(number: int) -> None:
    kind = MESSAGES[number][1]
    meeting = Meeting(tamper=altered(number, lambda _encoded: [encode(kind(b"\xff" * 1568))]))  # type: ignore[call-arg]
    with pytest.raises(RemoteProtocolError):
        meeting.run()
    assert meeting.installed == {ALICE: False, BOB: False}


@pytest.mark.parametrize("with_keys", list(Role))
def test_one_end_with_a_file_and_one_with_keys_is_said_clearly(with_keys: Role) -> None:
    file_vault, transcript = MemoryVault(bytes(4096)), Transcript()
    shake = handshake.alice if with_keys is BOB else handshake.bob
    other_end = Engine(with_keys.peer, shake(PARAMS, file_vault, FixedBits("f"), simulated=False), Transcript())
    begin = bootstrap.alice if with_keys is ALICE else bootstrap.bob
    vault = MemoryVault(b"")
    ours = identity(with_keys.value, with_keys.peer.value), PARAMS, vault, FixedBits("k"), transcript
    engine = Engine(with_keys, begin(*ours), transcript)
    engines = {with_keys: engine, with_keys.peer: other_end}
    with pytest.raises(RemoteProtocolError, match="pre-shared file") as caught:
        MemoryLine(engines[ALICE], engines[BOB]).run()
    assert "[bootstrap]" in caught.value.hint
    assert not vault.link_id


# One end has installed, the other has not.


def test_a_lost_last_message_is_mended_by_the_next_meeting() -> None:
    meeting = Meeting(tamper=altered(5, drop))
    with pytest.raises(QkdError):
        meeting.run()
    assert meeting.installed == {ALICE: True, BOB: False}
    abandoned = meeting.vaults[ALICE].hash_key(ALICE)
    again = Meeting(vaults=meeting.vaults)
    assert again.run() == {ALICE: True, BOB: True}
    assert again.same()
    assert again.vaults[ALICE].hash_key(ALICE) != abandoned


def test_keys_of_different_runs_are_replaced_as_long_as_no_block_was_committed() -> None:
    one, two = Meeting(), Meeting()
    one.run()
    two.run()
    mixed = Meeting(vaults={ALICE: one.vaults[ALICE], BOB: two.vaults[BOB]})
    assert mixed.run() == {ALICE: True, BOB: True}
    assert mixed.same()


@pytest.mark.parametrize("new", list(Role))
def test_a_new_store_against_one_with_blocks_is_refused(new: Role) -> None:
    meeting = Meeting()
    meeting.run()
    old = new.peer
    hello = {"version": 1, "role": old.value, "software": "", "nonce": bytes(32), "parameters": b"{}"}
    ours = identity(old.value, new.value)
    keys = {"own_key": ours.fingerprint, "peer_key": ours.peer_fingerprint}
    with_blocks = BootstrapHello(**hello, **keys, link_id=meeting.vaults[old].link_id, committed=3)  # type: ignore[arg-type]
    theirs = {"own_key": ours.peer_fingerprint, "peer_key": ours.fingerprint}
    without = BootstrapHello(**{**hello, "role": new.value}, **theirs, link_id=b"", committed=-1)  # type: ignore[arg-type]
    for mine, peers in ((with_blocks, without), (without, with_blocks)):
        with pytest.raises(RemoteProtocolError, match=r"blocks up to 3.*no keys|no keys.*blocks up to 3"):
            bootstrap.must_begin(mine, peers)


def test_the_hello_of_a_pre_shared_link_is_no_beginning() -> None:
    """Nothing of the pre-shared way can be taken for the other: Bob answers a Hello with a refusal."""
    transcript = Transcript()
    ours = identity("bob", "alice"), PARAMS, MemoryVault(b""), FixedBits("b"), transcript
    engine = Engine(BOB, bootstrap.bob(*ours), transcript)
    hello = Hello(2, "alice", "", bytes(16), PARAMS.to_json(), -1, -1, simulated=False)
    with pytest.raises(RemoteProtocolError, match="expected BootstrapHello"):
        engine.receive(encode(hello))


# At a station.


class Pipe:
    """One end of a line in memory, as `qkd.transport.tcp.run` uses one; `tamper` sees what this end sends."""

    def __init__(self, outgoing: asyncio.Queue[bytes], incoming: asyncio.Queue[bytes], tamper: Tamper) -> None:
        self._outgoing, self._incoming, self._tamper = outgoing, incoming, tamper

    async def send(self, encoded: bytes) -> None:
        for arrives in self._tamper(ALICE, encoded):
            self._outgoing.put_nowait(arrives)

    async def receive(self) -> bytes:
        return await asyncio.wait_for(self._incoming.get(), 5)


def garbled(encoded: bytes) -> list[bytes]:
    """A proof arrives with its last byte altered."""
    return [encoded[:-1] + bytes([encoded[-1] ^ 1])] if isinstance(decode(encoded), BootstrapProof) else [encoded]


async def begin_at_stations(
    loops: dict[Role, StationLoop], tamper: Callable[[bytes], list[bytes]] = lambda encoded: [encoded]
) -> dict[Role, BaseException | None]:
    """Both stations on one new line; what each raised."""
    queues = {role: asyncio.Queue[bytes]() for role in Role}
    ends = {role: Pipe(queues[role.peer], queues[role], lambda _s, encoded: tamper(encoded)) for role in Role}
    runs = [loops[role]._begin(ends[role], loops[role].identity) for role in Role]  # type: ignore[arg-type]
    found = await asyncio.gather(*runs, return_exceptions=True)
    return dict(zip(Role, found, strict=True))


def station(role: Role, begun: list[Role], peer: str = "") -> StationLoop:
    return StationLoop(
        role,
        PARAMS,
        MemoryVault(b""),
        FixedBits(role.value),
        Replay(EMPTY, simulated=True),
        lambda: Replay(EMPTY, simulated=True),
        on_block=lambda _: None,
        on_abort=lambda _: None,
        on_line=lambda _s, _w: None,
        identity=identity(role.value, peer or role.peer.value),
        on_begun=lambda: begun.append(role),
    )


def test_somebody_on_the_line_costs_the_line_and_not_the_station() -> None:
    """A garbled proof is no reason to stop for ever, at neither end; on the next line they begin."""
    begun: list[Role] = []
    loops = {role: station(role, begun) for role in Role}
    first = asyncio.run(begin_at_stations(loops, garbled))
    assert isinstance(first[ALICE], AuthenticationError)
    for error in first.values():
        assert isinstance(error, RemoteProtocolError)
        assert not isinstance(error, HandshakeRefused)
    assert not begun
    assert asyncio.run(begin_at_stations(loops)) == {ALICE: None, BOB: None}
    assert sorted(role.value for role in begun) == ["alice", "bob"]
    assert loops[ALICE].vault.link_id == loops[BOB].vault.link_id != b""
    assert asyncio.run(begin_at_stations(loops)) == {ALICE: None, BOB: None}
    assert len(begun) == 2


def test_stations_that_do_not_fit_together_stop() -> None:
    loops = {ALICE: station(ALICE, [], "mallory"), BOB: station(BOB, [])}
    found = asyncio.run(begin_at_stations(loops))
    for error in found.values():
        assert isinstance(error, HandshakeRefused)
        assert "pki show" in error.hint


# The key store.


def opened(folder: Path, role: Role) -> KeyStore:
    return KeyStore.open(folder / f"{role.value}.db", bytes(range(32)), role=role)


def test_the_store_remembers_and_replaces_until_a_block_is_committed(tmp_path: Path) -> None:
    meeting = Meeting(vaults={role: opened(tmp_path, role) for role in Role})  # type: ignore[misc]
    meeting.run()
    stores: dict[Role, Any] = dict(meeting.vaults)
    assert stores[ALICE].link_id == stores[BOB].link_id != b""
    for role in Role:
        assert stores[ALICE].hash_key(role) == stores[BOB].hash_key(role)
        assert stores[ALICE].pads_left(role) == 255
    stores[BOB].begin(bytes(4096), bytes(32))
    assert stores[BOB].link_id != stores[ALICE].link_id
    mended = Meeting(vaults=stores)
    assert mended.run() == {ALICE: True, BOB: True}
    assert stores[ALICE].hash_key(BOB) == stores[BOB].hash_key(BOB)
    link_id = stores[ALICE].link_id
    for store in stores.values():
        store.close()
    with opened(tmp_path, ALICE) as again:
        assert (again.beginning, again.link_id) == (Beginning.POST_QUANTUM, link_id)


def test_a_store_whose_first_pads_are_used_up_asks_for_new_keys(tmp_path: Path) -> None:
    with opened(tmp_path, ALICE) as store:
        store.begin(bytes(2048), b"l" * 32)
        for _ in range(63 - 32 - 1):
            assert store.link_id == b"l" * 32
            store.take_pad(ALICE, EPS)
        assert store.link_id == b""  # a block takes two pads of hers, and all but one are the reserve
        spent = store.account()
        store.begin(bytes(range(256)) * 8, b"m" * 32)
        assert store.link_id == b"m" * 32
        assert store.pads_left(ALICE) == 63
        assert store.account() == spent  # what was risked stays risked
        assert spent.tags_sent == 30


def test_a_reserve_released_under_the_old_keys_is_locked_under_the_new(tmp_path: Path) -> None:
    with opened(tmp_path, ALICE) as store:
        store.begin(bytes(4096), b"l" * 32)
        store.release_reserve()
        store.begin(bytes(range(256)) * 16, b"m" * 32)
        assert (store.pad_stock(BOB).ordinary, store.pad_stock(BOB).locked) == (127 - 32, 32)


def test_the_two_ways_to_begin_exclude_each_other(tmp_path: Path) -> None:
    with opened(tmp_path, ALICE) as store:
        store.begin(bytes(2048), bytes(32))
        with pytest.raises(KeyStoreError, match="began with signing keys"):
            store.install_pre_shared(bytes(2048))
    with opened(tmp_path, BOB) as store:
        store.install_pre_shared(bytes(2048))
        with pytest.raises(KeyStoreError, match="began with a pre-shared file"):
            store.begin(bytes(2048), bytes(32))
        with pytest.raises(KeyStoreError, match="began with a pre-shared file"):
            store.check_can_begin()
        assert (store.beginning, store.link_id) == (Beginning.PRE_SHARED, b"")
