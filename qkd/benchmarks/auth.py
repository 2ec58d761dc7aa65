"""How fast tags are made, by the product's own function, and what a whole tag costs with its pad on disk.

A speed is message bytes over the median time of one tag. The reference tags the same bytes by HMAC-SHA256, which is
what anybody would take and rests on an assumption; both run in OpenSSL, one core. `send and check` is the pair of tags
over one conversation as the engines do it: header, transcript, pad burnt durably at the sender and at the checker.
"""

from __future__ import annotations

import hmac
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from qkd.benchmarks.result import Result, Row, median_seconds
from qkd.errors import ParameterError
from qkd.exchange import auth
from qkd.exchange.auth import Stage, TagContext
from qkd.exchange.messages import Tag
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.kms.store import KeyStore
from qkd.randomness import FixedBits
from qkd.session import SessionParameters

SIZES = (64, 1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26)
# The transcript of a block of 200,000 sifted bits of the metro scenario has 4,176,199 bytes.
BLOCK_BYTES = 1 << 22
_REFERENCE = "HMAC-SHA256"
_REPEATS, _LEAST_S = 5, 0.02
_MOST_TAGS = 100


def measure(*, sizes: tuple[int, ...] = SIZES, tags: int = 20) -> Result:
    """Tag messages of these sizes, and send and check so many tags over a block's conversation.

    Args:
        sizes: bytes, each at least 1. tags: 1 .. 100.

    Raises:
        ParameterError: an argument out of its range.
    """
    if not sizes or min(sizes) < 1 or not 1 <= tags <= _MOST_TAGS:
        raise ParameterError(f"sizes = {sizes} and tags = {tags}: at least one byte each, and 1 .. {_MOST_TAGS} tags")
    rows = [_tagging(size) for size in sizes]
    rows += _whole(min(BLOCK_BYTES, max(sizes)), tags)
    return Result(headline={"gbyte_per_s": _at_block_size(rows, sizes)}, rows=tuple(rows))


def _at_block_size(rows: list[Row], sizes: tuple[int, ...]) -> float:
    """The speed at the size nearest to a block's conversation."""
    nearest = min(range(len(sizes)), key=lambda i: abs(math.log(sizes[i] / BLOCK_BYTES)))
    return rows[nearest].value


def _tagging(size: int) -> Row:
    key, pad = (FixedBits("bench").take_bytes(auth.KEY_BYTES) for _ in range(2))
    message = FixedBits("bench message").take_bytes(size)
    ours = _seconds(lambda: auth.wegman_carter_tag(key, pad, message))
    theirs = _seconds(lambda: hmac.digest(key, message, "sha256"))
    return Row(
        case=f"tag {size} bytes",
        value=1e-9 * size / ours,
        unit="GB/s",
        reference=1e-9 * size / theirs,
        against=_REFERENCE,
        details={"us_per_tag": 1e6 * ours, "forgery_probability": auth.forgery_probability(size)},
    )


def _seconds(work: Callable[[], object]) -> float:
    """Median time of one call; short ones are repeated within a measurement."""
    started = time.perf_counter()
    work()
    calls = max(1, math.ceil(_LEAST_S / max(time.perf_counter() - started, 1e-7)))
    return median_seconds(lambda: [work() for _ in range(calls)], repeats=_REPEATS) / calls


def _whole(size: int, tags: int) -> list[Row]:
    """One tag from Alice to Bob, pads in two stores on disk."""
    secret = FixedBits("bench secret").take_bytes(auth.KEY_BYTES * (2 + 4 * _MOST_TAGS))
    transcript = Transcript()
    transcript.add(Role.BOB, FixedBits("bench message").take_bytes(size))
    context = TagContext(session_id=bytes(16), block=0, parameters=SessionParameters().to_json(), software=b"bench")
    send_s, check_s = [], []
    with tempfile.TemporaryDirectory(prefix="qkd-bench-auth-") as folder:
        alice, bob = (KeyStore.open(Path(folder) / f"{role.value}.db", bytes(32), role=role) for role in Role)
        with alice, bob:
            for store in (alice, bob):
                store.install_pre_shared(secret)
            for _ in range(tags):
                started = time.perf_counter()
                tag = next(auth.send_tag(alice, Role.ALICE, context, transcript, Stage.TRANSCRIPT))
                sent = time.perf_counter()
                assert isinstance(tag, Tag)
                checking = auth.check_tag(bob, Role.BOB, context, transcript, Stage.TRANSCRIPT)
                next(checking)
                try:
                    checking.send(tag)
                except StopIteration:
                    check_s.append(time.perf_counter() - sent)
                    send_s.append(sent - started)
    if len(check_s) != tags:
        raise AssertionError("a sound tag did not verify")
    details = {"bytes": size, "tags": tags, "pad_bits": auth.PAD_BITS}
    return [
        Row(case="send, pad burnt on disk", value=1e3 * sorted(send_s)[tags // 2], unit="ms", details=details),
        Row(case="check, pad burnt on disk", value=1e3 * sorted(check_s)[tags // 2], unit="ms", details=details),
    ]
