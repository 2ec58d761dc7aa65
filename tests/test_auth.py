"""Authentication: RFC 8439's vector, an implementation in plain integers, and every way to alter what a tag covers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd.errors import AuthenticationError, KeyExhausted, ParameterError, RemoteProtocolError
from qkd.exchange import auth
from qkd.exchange.auth import Stage, TagContext
from qkd.exchange.codec import encode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import CascadeStart, MoreDetections, Tag
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits
from qkd.testing import MemoryVault
from tests.reference.poly1305 import poly1305

CONTEXT = TagContext(
    session_id=bytes(range(16)), block=7, parameters=b'{"window_ps": 1000}', software=b'["release 1","release 2"]'
)


def _vault(stock: int = 4) -> MemoryVault:
    """Two hash keys and `stock` pads for each sender."""
    return MemoryVault(FixedBits("pads").take_bytes(16 * (2 + 2 * stock)))


def _used(vault: MemoryVault, sender: Role, stock: int = 4) -> int:
    return stock - vault.pads_left(sender)


def _transcript(*messages: tuple[Role, bytes]) -> Transcript:
    transcript = Transcript()
    for sender, encoded in messages or ((Role.BOB, b"detections"), (Role.ALICE, b"kept")):
        transcript.add(sender, encoded)
    return transcript


def _tag_of_alice(vault: MemoryVault, stage: Stage = Stage.TRANSCRIPT) -> Tag:
    sent = next(auth.send_tag(vault, Role.ALICE, CONTEXT, _transcript(), stage))
    assert isinstance(sent, Tag)
    return sent


def _check_at_bob(vault: MemoryVault, tag: Tag, context: TagContext = CONTEXT, **changed: object) -> int:
    transcript = changed.get("transcript", _transcript())
    stage = changed.get("stage", Stage.TRANSCRIPT)
    steps = auth.check_tag(vault, Role.BOB, context, transcript, stage)  # type: ignore[arg-type]
    next(steps)
    with pytest.raises(StopIteration) as stop:
        steps.send(tag)
    return int(stop.value.value)


def test_rfc_8439_vector() -> None:
    """Section 2.5.2."""
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    tag = auth.wegman_carter_tag(key[:16], key[16:], b"Cryptographic Forum Research Group")
    assert tag.hex() == "a8061dc1305136c6c22b8baf0c0127a9"


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.binary(max_size=200))
def test_equals_plain_integers(hash_key: bytes, pad: bytes, message: bytes) -> None:
    assert auth.wegman_carter_tag(hash_key, pad, message) == poly1305(hash_key, pad, message)


def test_pad_is_added_modulo_2_128() -> None:
    """What makes the tag a one-time-padded hash: tag minus pad does not depend on the pad."""
    message, hash_key = b"transcript" * 9, b"\xff" * 16
    pads = (bytes(16), b"\xff" * 16, FixedBits("s").take_bytes(16))
    tags = [auth.wegman_carter_tag(hash_key, pad, message) for pad in pads]
    hashes = {
        (int.from_bytes(t, "little") - int.from_bytes(p, "little")) % (1 << 128)
        for t, p in zip(tags, pads, strict=True)
    }
    assert len(hashes) == 1


def test_forgery_probability() -> None:
    """2^-87 for 1 MB and 2^-81 for 64 MB, Bernstein 2005; part blocks count as whole ones."""
    assert auth.forgery_probability(1 << 20) == 2.0**-87
    assert auth.forgery_probability(64 << 20) == 2.0**-81
    assert auth.forgery_probability(17) == auth.forgery_probability(32) == 16 * 2.0**-106


def test_both_directions_verify_over_engines() -> None:
    """Alice's tag covers what was said before it, Bob's her tag too; the transcripts stay equal."""
    vaults, transcripts = (_vault(), _vault()), (Transcript(), Transcript())

    def alice():
        yield CascadeStart(bytes(32))
        used = yield from auth.send_tag(vaults[0], Role.ALICE, CONTEXT, transcripts[0], Stage.TRANSCRIPT)
        used += yield from auth.check_tag(vaults[0], Role.ALICE, CONTEXT, transcripts[0], Stage.TRANSCRIPT)
        return used

    def bob():
        yield from auth.receive(CascadeStart)
        used = yield from auth.check_tag(vaults[1], Role.BOB, CONTEXT, transcripts[1], Stage.TRANSCRIPT)
        used += yield from auth.send_tag(vaults[1], Role.BOB, CONTEXT, transcripts[1], Stage.TRANSCRIPT)
        return used

    first = Engine(Role.ALICE, alice(), transcripts[0])
    second = Engine(Role.BOB, bob(), transcripts[1])
    for encoded in first.take_outgoing():
        second.receive(encoded)
    for encoded in second.take_outgoing():
        first.receive(encoded)
    assert first.result == second.result == 2 * 128
    assert transcripts[0].recorded() == transcripts[1].recorded()
    assert {_used(vault, role) for vault in vaults for role in Role} == {1}


def _flips(data: bytes) -> list[bytes]:
    """`data` with each of its bits flipped in turn."""
    whole = int.from_bytes(data, "big")
    return [(whole ^ (1 << i)).to_bytes(len(data), "big") for i in range(8 * len(data))]


def test_every_flipped_bit_of_the_message_changes_the_tag() -> None:
    """Header and transcript, all bits: the sound message's tag verifies for none of them."""
    vault = _vault()
    recorded = _transcript().recorded()
    message = auth.header(CONTEXT, Role.ALICE, Stage.TRANSCRIPT, len(recorded)) + recorded
    hash_key, (_, pad) = vault.hash_key(Role.ALICE), vault.take_pad(Role.ALICE, 0.0)
    sound = auth.wegman_carter_tag(hash_key, pad, message)
    assert sound == _tag_of_alice(_vault()).tag
    assert sound not in {auth.wegman_carter_tag(hash_key, pad, flipped) for flipped in _flips(message)}


def test_every_flipped_bit_of_the_tag_is_refused_and_burns_the_pad() -> None:
    sound = _tag_of_alice(_vault())
    assert _check_at_bob(_vault(), sound) == 128
    for altered in (*_flips(sound.tag), sound.tag[:15], sound.tag + b"\0", b""):
        vault = _vault()
        with pytest.raises(AuthenticationError, match="tag of alice on block 7"):
            _check_at_bob(vault, Tag(sound.pad, altered))
        assert _used(vault, Role.ALICE) == 1
        with pytest.raises(AuthenticationError, match="used before"):
            _check_at_bob(vault, sound)


CHANGES: list[Callable[[TagContext], TagContext]] = [
    lambda c: replace(c, session_id=bytes(16)),
    lambda c: replace(c, block=8),
    lambda c: replace(c, parameters=b'{"window_ps": 2000}'),
    lambda c: replace(c, parameters=c.parameters + b"\0"),
    lambda c: replace(c, parameters=b""),
    lambda c: replace(c, software=b'["release 1","release 3"]'),
    lambda c: replace(c, software=b""),
    lambda c: replace(c, software=c.software + c.parameters[:1], parameters=c.parameters[1:]),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_tag_is_bound_to_its_context(change: Callable[[TagContext], TagContext]) -> None:
    with pytest.raises(AuthenticationError):
        _check_at_bob(_vault(), _tag_of_alice(_vault()), change(CONTEXT))


@pytest.mark.parametrize(
    "transcript",
    [
        _transcript((Role.BOB, b"detections")),
        _transcript((Role.ALICE, b"kept"), (Role.BOB, b"detections")),
        _transcript((Role.ALICE, b"detections"), (Role.ALICE, b"kept")),
        _transcript((Role.BOB, b"detectionskept")),
        _transcript((Role.BOB, b"detections"), (Role.ALICE, b"kept"), (Role.BOB, b"")),
        Transcript(),
    ],
)
def test_a_tag_is_bound_to_who_said_what_in_which_order(transcript: Transcript) -> None:
    with pytest.raises(AuthenticationError):
        _check_at_bob(_vault(), _tag_of_alice(_vault()), transcript=transcript)


def test_a_tag_is_bound_to_its_stage() -> None:
    with pytest.raises(AuthenticationError):
        _check_at_bob(_vault(), _tag_of_alice(_vault()), stage=Stage.ACCEPT)
    for stage in Stage:
        assert _check_at_bob(_vault(), _tag_of_alice(_vault(), stage), stage=stage) == 128


def test_a_reflected_tag_is_refused() -> None:
    """Alice gets her own tag back: another key, another pad and another sender in the header."""
    vault = _vault()
    own = _tag_of_alice(vault)
    steps = auth.check_tag(vault, Role.ALICE, CONTEXT, _transcript(), Stage.TRANSCRIPT)
    next(steps)
    with pytest.raises(AuthenticationError):
        steps.send(own)
    texts = {auth.header(CONTEXT, role, stage, 5) for role in Role for stage in Stage}
    assert len(texts) == 6


def test_a_replayed_tag_is_refused() -> None:
    vault, sound = _vault(), _tag_of_alice(_vault())
    _check_at_bob(vault, sound)
    with pytest.raises(AuthenticationError, match="used before"):
        _check_at_bob(vault, sound)


def test_a_forged_tag_costs_the_one_pad_that_it_names() -> None:
    """Eve names a pad further on: it is gone, the sound tag still verifies, and so does the one after the hole."""
    vault, alice = _vault(), _vault()
    with pytest.raises(AuthenticationError, match="does not verify"):
        _check_at_bob(vault, Tag(2, bytes(16)))
    assert _used(vault, Role.ALICE) == 1
    _check_at_bob(vault, _tag_of_alice(alice))
    assert _used(vault, Role.ALICE) == 2
    _check_at_bob(vault, _tag_of_alice(alice))
    with pytest.raises(AuthenticationError, match="used before"):
        _check_at_bob(vault, _tag_of_alice(alice))
    _check_at_bob(vault, _tag_of_alice(alice))
    assert _used(vault, Role.ALICE) == 4


def test_a_verified_tag_drops_the_pads_before_it() -> None:
    """The sender's first two tags were lost with their lines; nobody may guess at their pads any more."""
    vault, alice = _vault(), _vault()
    lost = [_tag_of_alice(alice), _tag_of_alice(alice)]
    _check_at_bob(vault, _tag_of_alice(alice))
    assert _used(vault, Role.ALICE) == 3
    for tag in lost:
        with pytest.raises(AuthenticationError, match="used before"):
            _check_at_bob(vault, tag)


def test_tags_sent_and_checked_are_charged_whether_they_verify_or_not() -> None:
    vault, length = _vault(), len(_transcript()) + len(auth.header(CONTEXT, Role.ALICE, Stage.TRANSCRIPT, 0))
    one = auth.forgery_probability(length)
    for cost in (1, 2):
        with pytest.raises(AuthenticationError):
            _check_at_bob(vault, Tag(cost, bytes(16)))
        assert vault.eps_spent == cost * one
    _tag_of_alice(vault)
    assert vault.eps_spent == 3 * one


def test_every_tag_takes_its_own_pad_until_none_is_left() -> None:
    vault = _vault(3)
    tags = [_tag_of_alice(vault) for _ in range(3)]
    assert [tag.pad for tag in tags] == [0, 1, 2]
    assert len({tag.tag for tag in tags}) == 3
    with pytest.raises(KeyExhausted):
        _tag_of_alice(vault)


@pytest.mark.parametrize("cuts", [(), (0,), (1,), (15, 16, 17), (100, 100), (256,)])
def test_a_message_in_parts_is_the_message(cuts: tuple[int, ...]) -> None:
    hash_key, pad, message = bytes(range(16)), bytes(range(16, 32)), bytes(i * 7 & 255 for i in range(256))
    ends = (0, *cuts, len(message))
    parts = [message[start:end] for start, end in itertools.pairwise(ends)]
    assert auth.wegman_carter_tag(hash_key, pad, *parts) == poly1305(hash_key, pad, message)


def test_anything_but_a_tag_is_refused() -> None:
    vault = _vault()
    steps = auth.check_tag(vault, Role.BOB, CONTEXT, _transcript(), Stage.TRANSCRIPT)
    next(steps)
    with pytest.raises(RemoteProtocolError, match="expected Tag"):
        steps.send(MoreDetections())
    assert vault.pads_left(Role.ALICE) == 4


def test_header_layout() -> None:
    """Written out, so that a second implementation can be checked against it."""
    expected = b"entangled-qkd tag" + b"\0\x03" + b"BA" + bytes(range(16)) + bytes(7) + b"\x07"
    expected += bytes(7) + b"\x19" + CONTEXT.software + bytes(7) + b"\x13" + CONTEXT.parameters + bytes(6) + b"\x01\x02"
    assert auth.header(CONTEXT, Role.BOB, Stage.ACCEPT, 258) == expected


def test_keys_and_contexts_of_wrong_size_are_refused() -> None:
    for hash_key, pad in ((bytes(15), bytes(16)), (bytes(16), bytes(17)), (b"", b"")):
        with pytest.raises(ParameterError, match="16 bytes"):
            auth.wegman_carter_tag(hash_key, pad, b"")
    with pytest.raises(ParameterError, match="session_id has 15 bytes"):
        replace(CONTEXT, session_id=bytes(15))
    for block in (-1, 1 << 64):
        with pytest.raises(ParameterError, match="block"):
            replace(CONTEXT, block=block)


def test_errors_show_no_key() -> None:
    vault = _vault()
    with pytest.raises(AuthenticationError) as caught:
        _check_at_bob(vault, Tag(0, bytes(16)))
    text = repr(caught.value) + caught.value.hint + encode(Tag(0, bytes(16))).hex()
    assert vault.hash_key(Role.ALICE).hex() not in text
    assert repr(vault.hash_key(Role.ALICE)) not in text
