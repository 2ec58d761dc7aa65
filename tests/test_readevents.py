"""S-Fifteen readevents as a stream: words cut anywhere, dummies, late words, rollovers, a program's death."""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution.delivery import Site, open_source
from distribution.errors import FeedError, TagFormatError
from distribution.formats.s15 import REORDER_PS, WRAP_PS, encode_words, read_a1, swap_halves
from distribution.inbox import TagInbox
from distribution.sources.readevents import RawStream, ReadEvents
from distribution.tags import TimeTags
from tests.data_files import find

MS = 1_000_000_000


def made(count: int, start_ps: int = 0, every_ps: int = MS) -> TimeTags:
    t_ps = start_ps + every_ps * np.arange(1, count + 1, dtype=np.int64)
    return TimeTags(t_ps, (np.arange(count) % 4).astype(np.uint8))


def dummy(t_ps: int) -> bytes:
    return ((t_ps * 32 // 125 % (1 << 54)) << 10 | 16).to_bytes(8, "little")


def stream(*pieces: bytes, legacy: bool = False) -> TagInbox:
    inbox = TagInbox("the card", timeout_s=0.1)
    raw = RawStream(inbox, legacy=legacy)
    for piece in pieces:
        raw.feed(piece)
    return inbox


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 800), max_size=30).map(sorted), st.booleans())
def test_words_may_be_cut_anywhere(cuts: list[int], legacy: bool) -> None:
    tags = made(100)
    data = encode_words(tags)
    if legacy:
        data = swap_halves(np.frombuffer(data, "<u8")).tobytes()
    edges = [0, *cuts, len(data)]
    inbox = stream(*(data[a:b] for a, b in pairwise(edges)), legacy=legacy)
    inbox.end()
    got = inbox.until(1 << 60).tags
    assert got.t_ps.tolist() == tags.t_ps.tolist()
    assert got.channel.tolist() == tags.channel.tolist()


def test_dummies_move_the_horizon_without_a_detection() -> None:
    inbox = stream(encode_words(made(1)), *(dummy(n * 100 * MS) for n in range(1, 6)))
    assert inbox.until(None).tags.t_ps.tolist() == [MS]
    assert len(inbox.until(400 * MS).tags) == 0
    assert inbox.horizon_ps == 500 * MS - REORDER_PS
    with pytest.raises(FeedError, match="silent"):
        inbox.until(600 * MS)


def test_a_word_that_is_late_by_less_than_the_cards_depth_finds_its_place() -> None:
    early, late = made(10), TimeTags(np.array([10 * MS - 90_000_000], np.int64), np.array([2], np.uint8))
    inbox = stream(encode_words(early), encode_words(late) + dummy(11 * MS))
    got = inbox.until(10 * MS + 1).tags
    assert got.t_ps.tolist() == sorted([*early.t_ps.tolist(), *late.t_ps.tolist()])
    assert inbox.health.late == 0


@pytest.mark.parametrize("silent", [0, 3])
def test_the_counter_is_carried_on_over_its_rollover(silent: int) -> None:
    """Before, over and after 2^54 units, with and without dummies in between."""
    before, after = made(20, WRAP_PS - 10 * MS), made(5, WRAP_PS + 40 * MS)
    pause = [dummy(WRAP_PS + (11 + n) * MS) for n in range(silent)]
    inbox = stream(encode_words(before)[:72], encode_words(before)[72:], *pause, encode_words(after))
    inbox.end()
    got = inbox.until(1 << 62).tags.t_ps.tolist()
    assert got == [*before.t_ps.tolist(), *after.t_ps.tolist()]


def test_a_card_that_is_reset_is_another_stream() -> None:
    with pytest.raises(FeedError, match="ran back from"):
        stream(encode_words(made(10, 3600 * 1000 * MS)), encode_words(made(10)))


def test_shuffled_words_are_no_stream() -> None:
    words = np.frombuffer(encode_words(made(64)), "<u8").copy()
    np.random.default_rng(1).shuffle(words)
    with pytest.raises(TagFormatError, match="before an earlier one"):
        stream(words.tobytes())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=6))
def test_rubbish_gives_our_errors_only(pieces: list[bytes]) -> None:
    inbox = TagInbox("the card", timeout_s=0.01)
    raw = RawStream(inbox)
    try:
        for piece in pieces:
            raw.feed(piece)
        raw.finish()
    except (FeedError, TagFormatError):
        return
    times = inbox.until(1 << 62).tags.t_ps
    assert np.all(times[1:] >= times[:-1])


def program(code: str, timeout_s: float = 5.0) -> ReadEvents:
    return ReadEvents([sys.executable, "-c", code], timeout_s=timeout_s)


def test_a_programs_death_is_told_with_its_exit_code_and_last_words() -> None:
    words = encode_words(made(3)).hex()
    source = program(
        f"import sys; sys.stdout.buffer.write(bytes.fromhex('{words}')); sys.stdout.flush();"
        "print('opening', file=sys.stderr); print('usb device is gone', file=sys.stderr); sys.exit(3)"
    )
    with pytest.raises(FeedError, match="exit code 3: usb device is gone"):
        source.until(1 << 50)
    source.close()


def test_a_killed_program_is_told_with_its_signal() -> None:
    source = program("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(FeedError, match="signal 9: it said nothing"):
        source.until(None)
    source.close()


def test_a_program_that_talks_much_is_not_blocked_by_it() -> None:
    words = encode_words(made(3)).hex()
    source = program(f"import sys; sys.stderr.write('x' * 1_000_000);sys.stdout.buffer.write(bytes.fromhex('{words}'))")
    assert len(source.until(1 << 50).tags) == 3
    source.close()


def test_close_stops_the_program() -> None:
    source = program("import time; time.sleep(60)")
    begin = time.monotonic()
    source.close()
    assert time.monotonic() - begin < 5
    assert source._process is not None
    assert source._process.poll() is not None


def test_no_such_program_is_named_with_a_hint() -> None:
    with pytest.raises(FeedError, match="readevents-of-nowhere") as caught:
        ReadEvents(["readevents-of-nowhere", "-a", "1"])
    assert "full path" in caught.value.hint


def test_a_stream_that_ends_inside_a_word_says_so() -> None:
    words = encode_words(made(3))[:-3].hex()
    source = program(f"import sys; sys.stdout.buffer.write(bytes.fromhex('{words}'))")
    with pytest.raises(TagFormatError, match="5 of the 8 bytes"):
        source.until(1 << 50)
    source.close()


def test_standard_input_is_read_as_it_comes() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb", buffering=0) as card:
        source = ReadEvents([], stdin=stdin, timeout_s=5)
        card.write(encode_words(made(3))[:20])
        card.write(encode_words(made(3))[20:] + dummy(50 * MS))
        assert source.until(10 * MS).tags.t_ps.tolist() == [MS, 2 * MS, 3 * MS]
        card.close()
        assert source.until(1 << 60).ended
        source.close()


@pytest.mark.parametrize("name", ["timestamp7_c1234.Aa1.ts", "timestamp7_c14_rollover.Aa1fX.ts"])
def test_a_real_cards_recording_streams_as_it_reads(name: str, tmp_path: Path) -> None:
    path = find(f"s15/{name}")
    whole = read_a1(path)
    legacy = "high word first" in whole.format.value
    code = f"import sys; sys.stdout.buffer.write(open({str(path)!r}, 'rb').read())"
    options = {"command": [sys.executable, "-c", code], "legacy": legacy}
    source = open_source("readevents", options, Site("alice", tmp_path))
    got = source.until(1 << 62).tags
    source.close()
    assert got.t_ps.tolist() == whole.tags.t_ps.tolist()
    assert got.channel.tolist() == whole.tags.channel.tolist()
