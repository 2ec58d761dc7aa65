"""Open implementations that we measured ourselves, as points to stand beside ours; and the one published record.

All of them on one machine: two cores of an AMD EPYC (Zen 4), shared with other work, one thread, speeds up to 1.7 times
apart between runs. The leak is theirs, f by the nominal error rate as ours. Their rounds are means per frame, ours
the most of any batch of 64 frames.
"""

from __future__ import annotations

from dataclasses import dataclass

MACHINE = "two cores of an AMD EPYC (Zen 4), shared with other work, one thread"


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's points at one frame length.

    Attributes:
        name: program and variant.
        frame: bits.
        points: (error rate, f, frame error rate or None, Mbit/s or None).
        how: how it was run.
    """

    name: str
    frame: int
    points: tuple[tuple[float, float, float | None, float | None], ...]
    how: str


_CASCADE_CPP = (
    "cascade-cpp (2025-02), g++ -O2, our driver around its Reconciliation, processor time, both parties in one process"
    " without messages, shuffles cached; 130 to 3400 frames a point"
)
_LDPC4QKD = "LDPC4QKD, g++ -O3 -march=native, decoder alone (flooding, double), no messages"
_LDPC = "ldpc 2.4.1 from PyPI, BpDecoder product-sum, decoder alone, 60 frames, at most 100 iterations"

PEERS: tuple[Peer, ...] = (
    Peer(
        "cascade-cpp yanetal",
        65536,
        (
            (0.005, 1.059, 0.0, 11.8),
            (0.01, 1.059, 0.0, 10.5),
            (0.02, 1.063, 0.0, 8.7),
            (0.03, 1.062, 0.0, 7.7),
            (0.05, 1.066, 0.0, 6.8),
            (0.08, 1.090, 4e-3, 5.4),
            (0.11, 1.090, 4e-3, 4.7),
        ),
        _CASCADE_CPP,
    ),
    Peer(
        "cascade-cpp option7",
        65536,
        (
            (0.02, 1.060, None, None),
            (0.03, 1.142, None, None),
            (0.05, 1.095, None, None),
            (0.08, 1.083, None, None),
            (0.11, 1.164, None, None),
        ),
        _CASCADE_CPP,
    ),
    Peer(
        "cascade-cpp option8",
        65536,
        (
            (0.005, 1.058, None, None),
            (0.01, 1.076, None, None),
            (0.02, 1.077, None, None),
            (0.03, 1.094, None, None),
            (0.05, 1.077, None, None),
            (0.08, 1.189, None, None),
            (0.11, 1.196, None, None),
        ),
        _CASCADE_CPP,
    ),
    Peer(
        "cascade-cpp yanetal",
        10000,
        (
            (0.005, 1.121, None, None),
            (0.01, 1.096, None, None),
            (0.02, 1.083, None, None),
            (0.03, 1.078, None, None),
            (0.05, 1.076, None, None),
            (0.08, 1.097, None, None),
            (0.11, 1.096, None, None),
        ),
        _CASCADE_CPP,
    ),
    Peer(
        "cascade-cpp option7",
        1000000,
        ((0.01, 1.050, None, 4.5), (0.03, 1.142, None, 3.0), (0.05, 1.150, None, 1.9)),
        f"{_CASCADE_CPP}; here 4 frames a point",
    ),
    Peer(
        "cascade-cpp option8",
        1000000,
        ((0.01, 1.076, None, 5.7), (0.03, 1.099, None, 4.1), (0.05, 1.080, None, 3.9)),
        f"{_CASCADE_CPP}; here 4 frames a point",
    ),
    Peer("LDPC4QKD", 4096, ((0.08, 1.243, 0.0023, 0.60),), f"{_LDPC4QKD}; 435 frames"),
    Peer("LDPC4QKD", 16384, ((0.085, 1.192, 0.0, 0.42),), f"{_LDPC4QKD}; 103 frames"),
    Peer("LDPC4QKD", 819200, ((0.0275, 1.101, None, 0.050),), f"{_LDPC4QKD}; 1 frame"),
    Peer("ldpc", 4096, ((0.085, 1.192, 0.067, 0.25),), _LDPC),
    Peer("ldpc", 16384, ((0.085, 1.192, 0.0, 0.25),), _LDPC),
)
