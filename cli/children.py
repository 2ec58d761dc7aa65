"""Our own commands as child processes that print one JSON object a line, for `qkd demo`.

Each child gets its own pipes and is stopped when the demo ends, however it ends.
"""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qkd.errors import QkdError

Event = tuple[str, dict[str, Any]]


def free_ports(count: int) -> list[int]:
    """Distinct free loopback ports (all held open while being chosen)."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


class ChildFailed(QkdError):
    """A process of the demo stopped by itself."""


class Children:
    """Child processes and the one queue that all their events arrive in.

    Args:
        folder: where they run and where their stderr is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._events: queue.Queue[Event] = queue.Queue()

    def start(self, name: str, *arguments: str) -> None:
        """Start `qkd ARGUMENTS` under a name."""
        with self._stderr(name).open("wb") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *arguments],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self._children[name] = child
        threading.Thread(target=self._listen, args=(name, child), daemon=True).start()

    def _stderr(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _listen(self, name: str, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            self._events.put((name, json.loads(line)))
        self._events.put((name, {"event": "gone", "code": child.wait()}))

    def next_event(self, timeout_s: float) -> Event | None:
        """The next event of any child, or None when none came in time.

        Raises:
            ChildFailed: a child stopped; its last words are in the message.
        """
        try:
            name, event = self._events.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return None
        if event.get("event") == "gone":
            words = self._stderr(name).read_text(errors="replace").strip().splitlines()
            raise ChildFailed(f"the {name} process stopped with exit code {event['code']}: {' / '.join(words[-3:])}")
        return name, event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
