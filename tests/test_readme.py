"""The README tells the truth: its commands run as printed, and its table of commands is the real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
# These serve until they are stopped, or need such a service: tests/test_node.py runs them for real.
SERVICES = ("qkd node", "qkd keys")


def commands(block: str) -> list[str]:
    """The lines that a reader would paste, without their comments."""
    return [line[2:].split("  #")[0].strip() for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_commands_run_as_printed(block: str, tmp_path: Path) -> None:
    launcher = tmp_path / "bin" / "qkd"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n')
    launcher.chmod(0o755)
    path = {"PATH": f"{launcher.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for line in commands(block):
        if line.startswith(SERVICES):
            continue
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env={**os.environ, **path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"\bqkd ([a-z][a-z-]+)", README)) - {"alice"}
    assert named
    assert named <= COMMANDS.keys(), named - COMMANDS.keys()


def test_every_file_that_the_readme_names_exists() -> None:
    for name in re.findall(r"`((?:qkd|distribution|docs|vectors|scenarios|tests)/[\w./-]*)`", README):
        assert (ROOT / name).exists(), name


def test_the_shown_demo_is_of_this_release() -> None:
    """The output printed in the README has the fields that the demo prints today."""
    from qkd.session import summarise

    fields = summarise([], protocol="bbm92", simulated=True, keys_match=True, seconds=1.0)
    (shown,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    for field in (name for name, value in fields.items() if value is not None):
        assert re.search(rf"^{field} ", shown, re.MULTILINE), field
    assert shown.rstrip().endswith("keys match")
