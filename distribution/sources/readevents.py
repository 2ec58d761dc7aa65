"""S-Fifteen `readevents`: raw a1 words as a stream of bytes, from a program that we start or from standard input.

Words may be cut anywhere by the pipe. Dummy words carry no detection but a time: they move the horizon on, so that a
dark detector is told from a dead tagger. Cards deliver a few words late, by up to one period of the coarse counter
(`distribution.formats.s15`), so the horizon stays that far behind the newest word. The 54-bit counter wraps after
19.5 h and is carried on. The program's end with exit code 0, or the end of standard input, ends the stream.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from distribution.bounds import require
from distribution.delivery import Driver, Site
from distribution.errors import FeedError, ParameterError, TagFormatError
from distribution.formats.s15 import REORDER_PS, WORD_BYTES, WRAP_PS, Words, decode_words, swap_halves
from distribution.inbox import InboxSource, TagInbox
from distribution.tags import EMPTY

READ_BYTES = 1 << 20
LOOK_UP_S = 0.1
GRACE_S = 2.0
LAST_WORDS_BYTES = 4096
_DETECTED, _DUMMY = np.uint64(15), np.uint64(16)
_TIME_SHIFT = np.uint64(10)


class RawStream:
    """Turns pieces of a byte stream into tags and a horizon; keeps what is cut.

    Args:
        inbox: where they go.
        legacy: the high half of each word comes first (option -X).
    """

    def __init__(self, inbox: TagInbox, *, legacy: bool = False) -> None:
        self._inbox = inbox
        self._legacy = legacy
        self._cut = b""
        self._newest_ps: int | None = None

    @property
    def cut_bytes(self) -> int:
        """How much of an unfinished word is at hand."""
        return len(self._cut)

    def feed(self, piece: bytes) -> None:
        """The next bytes.

        Raises:
            TagFormatError: words in an order that the card cannot have given. FeedError: its clock ran back.
        """
        data = self._cut + piece
        whole = len(data) // WORD_BYTES * WORD_BYTES
        self._cut = data[whole:]
        words: Words = np.frombuffer(data[:whole], "<u8")
        if self._legacy:
            words = swap_halves(words)
        if words.size:
            self._take(words)

    def _take(self, words: Words) -> None:
        after_ps = self._newest_ps or 0
        detected = words[((words & _DETECTED) > 0) & ((words & _DUMMY) == 0)]
        tags = decode_words(detected.tobytes(), after_ps=after_ps) if detected.size else EMPTY
        # Late words precede newer ones, so the newest time is the last word's, to within the reordering depth.
        newest_ps = _carried(_word_ps(words[-1]), after_ps)
        if self._newest_ps is not None and newest_ps < self._newest_ps - REORDER_PS:
            raise FeedError(
                f"the card's clock ran back from {self._newest_ps} to {newest_ps} ps",
                hint="was the card reset? the stream has to be opened anew",
            )
        if len(tags):
            newest_ps = max(newest_ps, int(tags.t_ps[-1]))
        self._newest_ps = max(newest_ps, after_ps)
        self._inbox.put(tags, self._newest_ps - REORDER_PS)

    def finish(self) -> None:
        """The stream is over; raises TagFormatError when that cut a word."""
        if self._cut:
            raise TagFormatError(f"the stream ended after {len(self._cut)} of the {WORD_BYTES} bytes of a word")
        self._inbox.end()


def _word_ps(word: np.uint64) -> int:
    return (int(word >> _TIME_SHIFT) * 125 + 16) >> 5


def _carried(t_ps: int, after_ps: int) -> int:
    """A time of the 54-bit counter, carried on to the turn nearest to `after_ps`; see `decode_words`."""
    return t_ps + max(0, (after_ps - t_ps + WRAP_PS // 2) // WRAP_PS) * WRAP_PS


class ReadEvents(InboxSource):
    """A running `readevents` as a stream; see TagSource.

    Args:
        command: program and arguments; started without a shell, looked up in the PATH or from `folder`.
        stdin: read from this instead when `command` is empty.
        folder: where the program runs.
        legacy: the high half of each word comes first (option -X).
        timeout_s: how long the card may be silent; dummy words count as a sign of life.

    Raises:
        FeedError: the program cannot be started.
    """

    simulated = False

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        folder: Path = Path(),
        legacy: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        self._what = command[0] if command else "standard input"
        self._process = _start(command, folder) if command else None
        self._inbox = TagInbox(self._what, timeout_s=timeout_s)
        self._raw = RawStream(self._inbox, legacy=legacy)
        self._last_words = b""
        self._threads = [threading.Thread(target=self._read, args=(self._bytes(stdin),), daemon=True)]
        if self._process is not None:
            self._threads.append(threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True))
        for thread in reversed(self._threads):
            thread.start()

    def _bytes(self, stdin: IO[bytes] | None) -> IO[bytes]:
        stream = self._process.stdout if self._process is not None else stdin or sys.stdin.buffer
        assert stream is not None
        return stream

    def close(self) -> None:
        """Stop the program; standard input is only let go of."""
        super().close()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _read(self, stream: IO[bytes]) -> None:
        try:
            while not self._inbox.closed:
                if not select.select([stream], [], [], LOOK_UP_S)[0]:
                    continue
                piece = os.read(stream.fileno(), READ_BYTES)
                if not piece:
                    return self._finish()
                self._raw.feed(piece)
        except Exception as error:  # whatever it is, the station must hear of it
            self._inbox.fail(error)

    def _finish(self) -> None:
        """The stream is over: was that an end or a death?"""
        if self._process is not None:
            code = self._process.wait()
            self._threads[1].join(GRACE_S)
            if code:
                how = f"exit code {code}" if code > 0 else f"signal {-code}"
                words = self._last_words.decode(errors="replace").strip().splitlines()
                raise FeedError(
                    f"{self._what} stopped with {how}: {words[-1] if words else 'it said nothing'}",
                    hint="run it by hand with the same arguments; is the device there, and is it allowed to us?",
                )
        self._raw.finish()

    def _listen(self, stderr: IO[bytes]) -> None:
        """Drain what the program says, so that it never blocks on it, and keep the end."""
        while piece := os.read(stderr.fileno(), LAST_WORDS_BYTES):
            self._last_words = (self._last_words + piece)[-LAST_WORDS_BYTES:]


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  # the operator's own configuration names the program; no shell
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except (OSError, ValueError) as error:
        raise FeedError(
            f"cannot start {command[0]}: {error}", hint="give its full path as the first item of command"
        ) from error


class ReadEventsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the driver `readevents`.

    Attributes:
        command: program and arguments; empty = standard input.
        legacy: the high half of each word comes first (option -X of readevents).
        timeout_s: how long the card may be silent; dummy words count as a sign of life.
    """

    command: tuple[str, ...] = ()
    legacy: bool = False
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        require("timeout_s", self.timeout_s, 1e-3, 3600.0)
        if self.command and not self.command[0]:
            raise ParameterError("command starts with an empty name")


def _open(options: ReadEventsOptions, site: Site) -> ReadEvents:
    return ReadEvents(options.command, folder=site.folder, legacy=options.legacy, timeout_s=options.timeout_s)


DRIVER = Driver(ReadEventsOptions, _open, "S-Fifteen readevents, as a program or on standard input")
