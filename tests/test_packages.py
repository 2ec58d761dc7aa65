"""The three packages come from one place, `--help` is light, and nothing above the line imports the truth."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import cli
import distribution
import qkd
from cli.main import COMMANDS

ROOT = Path(qkd.__file__).parents[1]


def test_the_packages_come_from_one_place() -> None:
    """Another project on the public index ships a top-level `qkd`; it must not shadow ours."""
    assert len({Path(str(m.__file__)).parents[1] for m in (qkd, distribution, cli)}) == 1


def run(*code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", *code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_help_imports_neither_numpy_nor_numba() -> None:
    done = run(
        "import sys\nfrom cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'scipy', 'galois', 'aiohttp', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    assert done.returncode == 0, done.stderr
    assert "qkd demo" in done.stdout


def test_every_command_exists_and_shows_an_example() -> None:
    for name, (module, _) in COMMANDS.items():
        done = run(f"import sys; sys.argv = ['qkd', {name!r}, '--help']; from cli.main import main; main()")
        assert done.returncode == 0, (name, module, done.stderr)
        assert "Example:" in done.stdout, name


def imports_of(package: Path) -> set[str]:
    """Every module that a package's files import, by reading them."""
    found: set[str] = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_stations_cannot_reach_the_truth() -> None:
    """Nothing that runs inside `qkd node` imports the simulator; the process proves it on the live module table."""
    for part in ("node", "exchange", "transport", "kms", "reconciliation"):
        assert not {m for m in imports_of(ROOT / "qkd" / part) if m.startswith("distribution.simulate")}, part
    done = run(
        "import sys, qkd.node.service\n"
        "sys.exit(repr([m for m in sys.modules if m.startswith(('distribution.simulate', 'distribution.live',"
        " 'distribution.scenario', 'distribution.eavesdroppers'))]) if any(m.startswith(('distribution.simulate',"
        " 'distribution.live')) for m in sys.modules) else 0)"
    )
    assert done.returncode == 0, done.stderr


def test_a_full_disk_is_one_line_with_its_place_and_a_hint(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk that is full."""
    out = str(tmp_path / "out")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"sys.argv = ['qkd', 'simulate', 'metro', '--seconds', '0.2', '--seed', '1', '--out', {out!r}]\n"
        "from cli.main import main; main()"
    )
    done = run(code)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "out") in done.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file()], "something half written was left"
