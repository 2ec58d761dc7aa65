"""Run the `qkd` command as a user does, and see stdout, stderr and exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def qkd(*arguments: str | Path, cwd: Path | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """`qkd ARGUMENTS`, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        check=False,
    )


def one_object(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The single JSON object on stdout."""
    (line,) = done.stdout.strip().splitlines()
    fields: dict[str, Any] = json.loads(line)
    return fields


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One clear line (and perhaps a hint) on stderr, the documented exit code, no traceback, nothing on stdout."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("qkd: seed")]
    assert 1 <= len(lines) <= 4, lines
    for word in words:
        assert word in done.stderr, done.stderr
