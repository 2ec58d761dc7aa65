"""LDPC reconciliation: equal strings, an exact count of what was disclosed, and peers that do not play by the rules.

Small codes are made on the spot (tests/small_codes.py); the rank of what was disclosed comes from galois.
"""

from __future__ import annotations

from collections.abc import Callable

import galois
import numba
import numpy as np
import pytest

from qkd.bits import pack
from qkd.errors import ParameterError, QkdError, RemoteProtocolError
from qkd.exchange.codec import decode, encode, pack_ascending, unpack_ascending
from qkd.exchange.engine import Engine
from qkd.exchange.messages import LdpcRequest, LdpcReveal, LdpcSyndromes, Message
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits, expand_permutation
from qkd.reconciliation import decoder, ldpc
from qkd.reconciliation.adaption import Library, adapt, cut, extend, spare_rows, split
from qkd.reconciliation.codewords import syndrome
from qkd.reconciliation.efficiency import binary_entropy, efficiency
from qkd.reconciliation.frame import Frame, Reconciled
from qkd.reconciliation.ldpc import PRESETS, LdpcPreset
from tests.reference import ldpc as reference
from tests.small_codes import checks_of, small_code

LABEL = "ldpc test"
SEED = FixedBits(LABEL).take_bytes(32)
SMALL = small_code(12, 32, 24, extra=4, seed=2)  # 768 bits, leak 0.25 .. 0.375 of them
LIBRARY = {SMALL.payload_bits: (small_code(8, 32, 24, extra=2, seed=1), SMALL)}
ONE_WAY = LdpcPreset("one-way", 2.5, 1.5, (60,), (), 30, "this test")
BLIND = LdpcPreset("blind", 1.4, 0.0, (20, 20, 20, 30, 40, 60), (1.0, 2.0, 4.0, 6.0, 12.0), 20, "this test")


def strings(lengths: list[int], qber: float, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Alice's random strings, and Bob's with independent errors."""
    rng = np.random.default_rng(seed)
    mine = [rng.integers(0, 2, n, dtype=np.uint8) for n in lengths]
    return mine, [bits ^ (rng.random(bits.size) < qber).astype(np.uint8) for bits in mine]


def talk(
    alice: list[np.ndarray],
    bob: list[np.ndarray],
    qbers: list[float],
    preset: LdpcPreset,
    library: Library = LIBRARY,
) -> tuple[Reconciled, Reconciled, list[tuple[Role, Message]]]:
    """Both results, and everything said in order; the two engines share nothing but encoded messages."""
    ours = [Frame(bits, q) for bits, q in zip(alice, qbers, strict=True)]
    theirs = [Frame(bits, q) for bits, q in zip(bob, qbers, strict=True)]
    a = Engine(Role.ALICE, ldpc.alice(ours, preset, FixedBits(LABEL), library=library), Transcript())
    b = Engine(Role.BOB, ldpc.bob(theirs, preset, library=library), Transcript())
    said: list[tuple[Role, Message]] = []
    while not (a.done and b.done):
        for engine, peer in ((a, b), (b, a)):
            for message in engine.take_outgoing():
                said.append((engine.role, decode(message)))
                peer.receive(message)
    return a.result, b.result, said


def check(
    alice: list[np.ndarray],
    bob: list[np.ndarray],
    qbers: list[float],
    preset: LdpcPreset,
    library: Library = LIBRARY,
    *,
    may_fail: int = 0,
) -> Reconciled:
    """Talk, and hold both results against the truth; returns Bob's."""
    before = [bits.copy() for bits in bob]
    ours, theirs, said = talk(alice, bob, qbers, preset, library)
    failed = 0
    for given, mine, corrected, wrong, errors in zip(
        alice, ours.strings, theirs.strings, bob, theirs.errors.tolist(), strict=True
    ):
        np.testing.assert_array_equal(mine, given)
        assert errors == int((corrected ^ wrong).sum())
        failed += bool((corrected != given).any())
    assert failed <= may_fail
    for given, kept in zip(bob, before, strict=True):
        np.testing.assert_array_equal(given, kept, "the caller's arrays were written to")
    assert ours.errors.tolist() == [-1] * len(alice)
    assert ours.ledger.alice.tolist() == theirs.ledger.alice.tolist()
    assert ours.ledger.bob.tolist() == theirs.ledger.bob.tolist()
    assert ours.rounds == theirs.rounds == sum(role is Role.ALICE for role, _ in said) <= len(preset.iterations)
    return theirs


# ------------------------------------------------------------------------------------------------ one-way


def test_one_message_makes_strings_equal() -> None:
    alice, bob = strings([768] * 12, 0.006, seed=1)
    _, theirs, said = talk(alice, bob, [0.01] * 12, ONE_WAY)
    assert [type(m) for _, m in said] == [LdpcSyndromes]
    result = check(alice, bob, [0.01] * 12, ONE_WAY)
    assert result.rounds == 1
    assert result.ledger.bob.tolist() == [0] * 12
    expected = adapt(LIBRARY[768], 768, ONE_WAY.leak_bits(768, 0.01)).leak_bits
    assert result.ledger.alice.tolist() == [expected] * 12
    assert theirs.errors.tolist() == result.errors.tolist()


def test_the_message_holds_the_parities_of_the_specified_words() -> None:
    alice, bob = strings([700], 0.01, seed=2)
    _, _, said = talk(alice, bob, [0.008], ONE_WAY)
    message = said[0][1]
    assert isinstance(message, LdpcSyndromes)
    assert message.seed == SEED
    adapted = adapt(LIBRARY[768], 700, ONE_WAY.leak_bits(700, 0.008))
    assert adapted.punctured.size > 0
    word = np.zeros(adapted.length, np.uint8)
    word[adapted.payload] = alice[0][expand_permutation(SEED, "ldpc/700", 700)]
    secrets = FixedBits(LABEL)
    secrets.take_bytes(32)
    filler = np.unpackbits(np.frombuffer(secrets.take_bytes(-(-adapted.punctured.size // 8)), np.uint8))
    word[adapted.punctured] = filler[: adapted.punctured.size]
    assert message.bits == pack(reference.syndrome(checks_of(adapted.code), word))


def test_what_is_too_much_for_one_message_is_left_wrong() -> None:
    alice, bob = strings([768] * 4, 0.08, seed=3)
    _, theirs, _ = talk(alice, bob, [0.01] * 4, ONE_WAY)
    assert all((x != y).any() for x, y in zip(alice, theirs.strings, strict=True))


# ------------------------------------------------------------------------------------------------ blind


@pytest.mark.parametrize("qber", [0.0, 0.01, 0.02, 0.03])
def test_blind_makes_strings_equal(qber: float) -> None:
    alice, bob = strings([768] * 12, qber, seed=4)
    # Codes so short have words of low weight that no number of values gets out of now and then.
    result = check(alice, bob, [max(qber, 0.005)] * 12, BLIND, may_fail=2)
    assert (result.ledger.alice > result.ledger.alice.min()).any() == (qber > 0)


def test_lengths_and_priors_may_differ_in_a_batch() -> None:
    lengths = [768, 1536, 400, 500, 2000, 768, 380]
    alice, bob = strings(lengths, 0.015, seed=5)
    check(alice, bob, [0.01, 0.015, 0.015, 0.02, 0.015, 0.03, 0.02], BLIND, may_fail=1)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_prior_still_ends_in_equal_strings(factor: float) -> None:
    alice, bob = strings([768] * 8, 0.02, seed=6)
    check(alice, bob, [0.02 * factor] * 8, BLIND)


def test_state_that_is_not_kept_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = strings([768] * 6, 0.025, seed=7)
    monkeypatch.setattr(ldpc, "STATE_BYTES", 0)
    result = check(alice, bob, [0.02] * 6, BLIND)
    assert result.rounds > 1


def test_bursts_cost_no_more_than_scattered_errors() -> None:
    alice, _ = strings([768] * 8, 0.0, seed=8)
    bob = [bits.copy() for bits in alice]
    for bits in bob:
        bits[300:315] ^= 1
    check(alice, bob, [0.02] * 8, BLIND)


@pytest.mark.parametrize(("qber", "prior", "further"), [(0.03, 0.022, False), (0.05, 0.02, True)])
def test_the_ledger_is_the_rank_of_what_was_disclosed(
    qber: float, prior: float, further: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The few checks of a small code show an error rate but roughly; here it is believed.
    if further:
        monkeypatch.setattr(decoder, "SURPRISE", 0.0)
    # Disclosed are A x + B r with x the string and r the random bits at punctured positions. As r is uniform and used
    # once, that tells rank [A B] - rank B of x.
    n = 700
    alice, bob = strings([n], qber, seed=20)
    ours, _, said = talk(alice, bob, [prior], BLIND)
    adapted = adapt(LIBRARY[768], n, BLIND.leak_bits(n, prior))
    if prior == 0.022:
        assert adapted.punctured.size > 10
    asked: list[int] = []
    more = 0
    for _, message in said:
        if isinstance(message, LdpcRequest):
            last = adapted.length - 1
            asked += unpack_ascending(message.width, message.deltas, message.count, largest=last).tolist()
            more += sum(message.more)
    assert (more > 0) == further
    code = extend(adapted, LIBRARY[768], more).code
    rows = [np.bincount(joined, minlength=adapted.length) % 2 for layer in checks_of(code) for joined in layer]
    rows += [np.eye(1, adapted.length, place, dtype=np.int64)[0] for place in asked]
    forms = np.array(rows, np.uint8)
    forms[:, adapted.shortened] = 0
    both = np.concatenate([adapted.payload, adapted.punctured])
    rank = np.linalg.matrix_rank(galois.GF2(forms[:, both]))
    hidden = np.linalg.matrix_rank(galois.GF2(forms[:, adapted.punctured])) if adapted.punctured.size else 0
    # Rows of two codes, and a value that parities imply, may depend on each other by chance: rank <= ledger always.
    assert rank - hidden <= ours.ledger.alice[0] <= rank - hidden + 2


def test_the_ledger_of_bob_is_no_more_than_he_said_or_knew() -> None:
    alice, bob = strings([768] * 6, 0.025, seed=9)
    ours, _, said = talk(alice, bob, [0.02] * 6, BLIND)
    requests = [m for _, m in said if isinstance(m, LdpcRequest)]
    # Every request costs each frame a bit, and the shares of its length are rounded up.
    assert ours.ledger.bob.min() >= len(requests)
    assert ours.ledger.bob.sum() <= 8 * sum(len(m.deltas) + len(m.more) for m in requests) + 6 * len(requests)
    assert (ours.ledger.bob <= ours.ledger.alice).all()


# ------------------------------------------------------------------------------------------------ adaption


@pytest.mark.parametrize("bits", [96, 97, 400, 767, 768])
@pytest.mark.parametrize("leak", [50.0, 150.4, 200.0, 287.9])
def test_adaption_uses_every_position_once(bits: int, leak: float) -> None:
    adapted = adapt(LIBRARY[768], bits, leak)
    every = np.concatenate([adapted.payload, adapted.punctured, adapted.shortened])
    assert sorted(every.tolist()) == list(range(adapted.length))
    assert adapted.payload.size == bits
    leak *= 1 + 0.1 * (1 - bits / 768)
    if 144 <= leak <= 288:  # the least and the most of the family
        assert leak <= adapted.leak_bits < leak + 1


def test_an_extended_code_keeps_its_own_checks_first() -> None:
    adapted = adapt(LIBRARY[768], 700, 150.0)
    most = spare_rows(adapted.code, LIBRARY[768])
    assert most == 8
    rng = np.random.default_rng(3)
    word = rng.integers(0, 2, adapted.length, dtype=np.uint8)
    before = syndrome(adapted, word)
    longest = syndrome(extend(adapted, LIBRARY[768], most), word)
    for rows in range(most + 1):
        longer = extend(adapted, LIBRARY[768], rows)
        found = syndrome(longer, word)
        assert found.size == before.size + rows * SMALL.lifting
        np.testing.assert_array_equal(found, longest[: found.size])
        np.testing.assert_array_equal(found[: before.size], before)
        np.testing.assert_array_equal(found, reference.syndrome(checks_of(longer.code), word))
    with pytest.raises(ParameterError):
        extend(adapted, LIBRARY[768], most + 1)


def test_frames_are_cut_into_pieces_that_fit() -> None:
    sizes = (16384, 65536, 262144)
    assert split(65536, sizes) == (65536, [65536])
    assert split(50_000, sizes) == (65536, [50_000])
    assert split(30_001, sizes) == (16384, [15_000, 15_001])
    assert split(3000, sizes) == (16384, [3000])
    assert split(1 << 20, sizes) == (262144, [262144] * 4)
    assert split(262145, sizes) == (262144, [131072, 131073])


@pytest.mark.parametrize(
    "bad",
    [
        lambda: next(ldpc.alice([], BLIND, FixedBits(LABEL), library=LIBRARY)),
        lambda: next(ldpc.bob([], BLIND, library=LIBRARY)),
        lambda: next(ldpc.bob([Frame(np.zeros(95, np.uint8), 0.01)], BLIND, library=LIBRARY)),
        lambda: next(ldpc.bob([Frame(np.zeros(100, np.uint8), 0.2)], BLIND, library=LIBRARY)),
        lambda: split(2047, (16384,)),
        lambda: cut(SMALL, 2000, 0),
        lambda: LdpcPreset("x", 0.0, 0.0, (1,), (), 1, ""),
        lambda: LdpcPreset("x", 1.0, float("inf"), (1,), (), 1, ""),
        lambda: LdpcPreset("x", 1.0, 0.0, (1, 1), (), 1, ""),
        lambda: LdpcPreset("x", 1.0, 0.0, (0,), (), 1, ""),
        lambda: LdpcPreset("x", 1.0, 0.0, (1, 1), (0.0,), 1, ""),
        lambda: LdpcPreset("x", 1.0, 0.0, (1,), (), 0, ""),
    ],
)
def test_impossible_arguments_are_refused(bad: Callable[[], object]) -> None:
    with pytest.raises(ParameterError):
        bad()


# ------------------------------------------------------------------------------------------------ bad peers


def alice_waiting(preset: LdpcPreset = BLIND) -> Engine[Reconciled]:
    alice, _ = strings([768, 700], 0.0, seed=10)
    frames = [Frame(bits, 0.02) for bits in alice]
    engine = Engine(Role.ALICE, ldpc.alice(frames, preset, FixedBits(LABEL), library=LIBRARY), Transcript())
    engine.take_outgoing()
    return engine


def ask(positions: list[int], more: bytes = b"") -> bytes:
    return encode(LdpcRequest(len(positions), *pack_ascending(np.array(positions, np.int64)), more))


PLACES = adapt(LIBRARY[768], 768, BLIND.leak_bits(768, 0.02))
SECOND = adapt(LIBRARY[768], 700, BLIND.leak_bits(700, 0.02))
TOTAL = PLACES.length + SECOND.length
SHORTENED = PLACES.length + int(SECOND.shortened[-1])


@pytest.mark.parametrize(
    "request_",
    [
        ask([5, 5]),
        ask([3, TOTAL]),
        ask([SHORTENED]),
        ask(list(range(700))),  # more than 768 less the parities
        ask([5], b"\x01"),
        ask([], b"\x00\x00\x00"),
        ask([], b"\x09\x00"),  # there are eight rows to lend
        ask(list(range(550)), b"\x06\x00"),
        encode(LdpcRequest(-1, 0, b"", b"")),
        encode(LdpcRequest(2, 0, b"", b"")),
        encode(LdpcRequest(0, 0, b"\x00", b"")),
        encode(LdpcRequest(1 << 40, 0, b"\x00", b"")),
        encode(LdpcRequest(3, 99, b"\x00", b"")),
        encode(LdpcReveal(b"")),
    ],
)
def test_alice_refuses(request_: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        alice_waiting().receive(request_)


def test_alice_refuses_to_say_it_again() -> None:
    engine = alice_waiting()
    engine.receive(ask([7, 9]))
    (answer,) = engine.take_outgoing()
    assert isinstance(decode(answer), LdpcReveal)
    with pytest.raises(RemoteProtocolError, match="already"):
        engine.receive(ask([9]))


def test_requests_end_with_the_rounds_of_the_preset() -> None:
    engine = alice_waiting()
    for i in range(len(BLIND.steps)):
        assert not engine.done
        engine.receive(ask([i]))
    assert engine.done
    with pytest.raises(QkdError):
        engine.receive(ask([100]))
    assert engine.result.rounds == len(BLIND.iterations)


def test_no_sequence_of_requests_discloses_more_than_there_is() -> None:
    engine = alice_waiting()
    room = 768 - PLACES.leak_bits
    places = sorted(PLACES.payload.tolist())
    engine.receive(ask(places[:room]))
    engine.take_outgoing()
    with pytest.raises(RemoteProtocolError, match="more would be disclosed"):
        engine.receive(ask([places[room]]))


def bob_waiting(preset: LdpcPreset = BLIND) -> tuple[Engine[Reconciled], LdpcSyndromes]:
    alice, bob = strings([768], 0.03, seed=11)
    a = Engine(Role.ALICE, ldpc.alice([Frame(alice[0], 0.02)], preset, FixedBits(LABEL), library=LIBRARY), Transcript())
    b = Engine(Role.BOB, ldpc.bob([Frame(bob[0], 0.02)], preset, library=LIBRARY), Transcript())
    (message,) = (decode(m) for m in a.take_outgoing())
    assert isinstance(message, LdpcSyndromes)
    return b, message


@pytest.mark.parametrize(
    "change",
    [
        lambda m: LdpcSyndromes(m.seed[1:], m.bits),
        lambda m: LdpcSyndromes(m.seed, m.bits + b"\0"),
        lambda m: LdpcSyndromes(m.seed, m.bits[:-1]),
        lambda m: LdpcReveal(m.bits),
    ],
)
def test_bob_refuses_malformed_parities(change: Callable[[LdpcSyndromes], Message]) -> None:
    engine, message = bob_waiting()
    with pytest.raises(RemoteProtocolError):
        engine.receive(encode(change(message)))


@pytest.mark.parametrize("change", [lambda b: b + b"\0", lambda b: b[:-1], lambda b: b""])
def test_bob_refuses_another_number_of_values(change: Callable[[bytes], bytes]) -> None:
    engine, message = bob_waiting()
    engine.receive(encode(message))
    (request,) = (decode(m) for m in engine.take_outgoing())
    assert isinstance(request, LdpcRequest)
    due = request.count + sum(request.more) * SMALL.lifting
    assert due > 0
    with pytest.raises(RemoteProtocolError):
        engine.receive(encode(LdpcReveal(change(bytes(-(-due // 8))))))


def test_lies_leave_a_wrong_frame_and_no_more() -> None:
    rng = np.random.default_rng(12)
    engine, message = bob_waiting()
    engine.receive(encode(LdpcSyndromes(message.seed, rng.bytes(len(message.bits)))))
    while not engine.done:
        (request,) = (decode(m) for m in engine.take_outgoing())
        assert isinstance(request, LdpcRequest)
        bits = rng.integers(0, 2, request.count + sum(request.more) * SMALL.lifting, dtype=np.uint8)
        engine.receive(encode(LdpcReveal(pack(bits))))
    assert engine.result.rounds <= len(BLIND.iterations)
    assert int(engine.result.ledger.alice[0]) <= 768


# ------------------------------------------------------------------------------------------------ the shipped codes


compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="minutes in plain Python")


@compiled
@pytest.mark.parametrize(("qber", "bound"), [(0.02, 1.135), (0.03, 1.115), (0.05, 1.10), (0.08, 1.10)])
def test_one_way_with_the_shipped_codes(qber: float, bound: float) -> None:
    # A frame in a hundred may fail. At 2 and 3 % the target of 1.10 is missed: the one-way bound itself is 1.05 there.
    alice, bob = strings([65_536] * 3, qber, seed=13)
    result = check(alice, bob, [qber] * 3, PRESETS["one-way"], ldpc.SHIPPED, may_fail=1)
    assert 1.0 < efficiency(result.ledger.alice.sum(), 3 * 65_536, qber) <= bound


@compiled
@pytest.mark.parametrize("qber", [0.02, 0.05, 0.08])
def test_blind_with_the_shipped_codes(qber: float) -> None:
    alice, bob = strings([65_536] * 4, qber, seed=14)
    result = check(alice, bob, [qber] * 4, PRESETS["blind"], ldpc.SHIPPED)
    assert result.rounds <= 6
    # The target is 1.07 in the mean. The leak of a frame follows its own errors: 2.2 % (2 %) to 0.9 % (8 %), half of
    # that for four frames; the bound adds three of these.
    spread = np.log2((1 - qber) / qber) * np.sqrt(qber * (1 - qber) / 65_536) / binary_entropy(qber)
    assert efficiency(result.ledger.alice.sum(), 4 * 65_536, qber) <= 1.07 + 1.5 * spread


@compiled
@pytest.mark.parametrize("bits", [5000, 16_384, 30_000, 50_000, 100_000, 300_000])
def test_any_length_with_the_shipped_codes(bits: int) -> None:
    alice, bob = strings([bits] * 2, 0.05, seed=15)
    result = check(alice, bob, [0.05] * 2, PRESETS["blind"], ldpc.SHIPPED)
    assert efficiency(result.ledger.alice.sum(), 2 * bits, 0.05) <= 1.35


@compiled
@pytest.mark.parametrize(("factor", "bound"), [(0.5, 1.45), (2.0, 1.8)])
def test_a_wrong_estimate_with_the_shipped_codes(factor: float, bound: float) -> None:
    alice, bob = strings([65_536] * 2, 0.04, seed=16)
    result = check(alice, bob, [0.04 * factor] * 2, PRESETS["blind"], ldpc.SHIPPED)
    assert efficiency(result.ledger.alice.sum(), 2 * 65_536, 0.04) <= bound
