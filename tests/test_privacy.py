"""Privacy amplification: both ends cut the same key, and a seed works once, for its own string."""

from __future__ import annotations

import numpy as np
import pytest

from qkd.errors import LocalProtocolError, ParameterError, RemoteProtocolError
from qkd.privacy import PaSeed, amplify
from qkd.randomness import FixedBits, OperatingSystemBits, expand_bits
from tests.reference.toeplitz import by_galois

CORRECTED = expand_bits(b"", "corrected", 400)


def test_both_ends_get_the_key_of_the_matrix() -> None:
    ours = PaSeed.draw(CORRECTED, FixedBits("pa"))
    data = ours.to_bytes()
    theirs = PaSeed.received(CORRECTED, data)
    key = amplify(CORRECTED, 150, ours)
    assert (key == amplify(CORRECTED.copy(), 150, theirs)).all()
    seed = np.unpackbits(np.frombuffer(data, np.uint8))[:399]
    assert (key == by_galois(CORRECTED, 150, seed)).all()


def test_seeds_are_drawn_afresh() -> None:
    secrets = OperatingSystemBits()
    first, second = (PaSeed.draw(CORRECTED, secrets).to_bytes() for _ in range(2))
    assert len(first) == len(second) == 50  # 399 bits
    assert first != second


def test_a_seed_works_once() -> None:
    seed = PaSeed.draw(CORRECTED, FixedBits("pa"))
    amplify(CORRECTED, 10, seed)
    with pytest.raises(LocalProtocolError, match="used before"):
        amplify(CORRECTED, 10, seed)
    with pytest.raises(LocalProtocolError, match="used before"):
        seed.to_bytes()


@pytest.mark.parametrize(("bits", "length"), [(CORRECTED[:399], 10), (CORRECTED, 401), (CORRECTED, -1)])
def test_a_refused_amplification_spends_the_seed_too(bits: np.ndarray, length: int) -> None:
    seed = PaSeed.draw(CORRECTED, FixedBits("pa"))
    with pytest.raises(ParameterError):
        amplify(bits, length, seed)
    with pytest.raises(LocalProtocolError, match="used before"):
        amplify(CORRECTED, 10, seed)


@pytest.mark.parametrize("size", [0, 1, 400])
def test_no_length_is_an_empty_key(size: int) -> None:
    bits = CORRECTED[:size]
    assert amplify(bits, 0, PaSeed.draw(bits, FixedBits("pa"))).size == 0


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: d[:-1] + b"\xff", lambda d: b""])
def test_a_seed_of_another_size_is_the_peers_fault(change) -> None:
    data = PaSeed.draw(CORRECTED, FixedBits("pa")).to_bytes()
    with pytest.raises(RemoteProtocolError):
        PaSeed.received(CORRECTED, change(data))
