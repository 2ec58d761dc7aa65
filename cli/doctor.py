"""`qkd doctor`: check this installation, and say how to mend it."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from cli import output

NOISE_DEVICE = "/dev/hwrng"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is well, what was seen, and how to mend it."""

    check: str
    well: bool
    seen: str
    mend: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Look at Python, packages, tag source drivers, kernel cache, entropy, disk and loopback.

    \b
    Example:  qkd doctor
    """
    findings = [check() for check in CHECKS]
    if as_json:
        rows = [{"check": f.check, "well": f.well, "seen": f.seen, "mend": f.mend} for f in findings]
        output.emit("qkd.doctor.v1", {"well": all(f.well for f in findings), "findings": rows})
    else:
        output.table([(f.check, f"{'ok ' if f.well else 'BAD'} {f.seen}") for f in findings])
    for finding in findings:
        if not finding.well:
            output.say(f"{finding.check}: {finding.mend}")
    if not all(f.well for f in findings):
        raise click.exceptions.Exit(output.Exit.FAILURE)


def _python() -> Finding:
    seen = f"{platform.python_version()} on {platform.machine()}"
    return Finding("python", sys.version_info >= (3, 11), seen, "install Python 3.11 or newer")


def _packages() -> Finding:
    try:
        import aiohttp
        import cryptography
        import numba
        import numpy
        import sqlalchemy
    except ImportError as error:
        return Finding("packages", False, str(error), "install again with: pip install entangled-qkd")
    versions = {m.__name__: m.__version__ for m in (numpy, numba, cryptography, aiohttp, sqlalchemy)}
    return Finding("packages", True, " ".join(f"{name} {version}" for name, version in versions.items()))


def _one_place() -> Finding:
    import cli
    import distribution
    import qkd

    places = {str(Path(str(m.__file__)).parents[1]) for m in (cli, qkd, distribution)}
    mend = "another project shadows a package of ours: use a virtual environment of its own"
    return Finding("one place", len(places) == 1, " ".join(sorted(places)), mend)


def _cache() -> Finding:
    from distribution.kernels._jit import cache_directory

    path = cache_directory()
    compiled = sum(1 for _ in path.rglob("*.nbc"))
    return Finding("kernel cache", os.access(path, os.W_OK), f"{path} ({compiled} kernels)", "set QKD_CACHE_DIR")


def _entropy() -> Finding:
    try:
        os.getrandom(32, os.GRND_NONBLOCK)
    except (OSError, AttributeError) as error:
        return Finding(
            "entropy", False, str(error), "the system's random generator is not ready: wait, or add a source"
        )
    return Finding("entropy", True, "the system's generator is ready")


def _noise() -> Finding:
    """A hardware generator is optional; one that is there and broken is worth knowing before a station names it."""
    from qkd.errors import QkdError
    from qkd.node.config import RandomnessConfig
    from qkd.node.noise import open_secrets

    if not os.access(NOISE_DEVICE, os.R_OK):
        return Finding("noise device", True, f"no {NOISE_DEVICE} that can be read (none is needed)")
    try:
        open_secrets(Path(NOISE_DEVICE), RandomnessConfig().claim)
    except QkdError as error:
        return Finding("noise device", False, str(error), "do not name it as randomness.device")
    return Finding("noise device", True, f"{NOISE_DEVICE} passes the start-up health test")


def _disk() -> Finding:
    import tempfile

    room = os.statvfs(tempfile.gettempdir())
    free_mib = room.f_bavail * room.f_frsize >> 20
    return Finding("disk", free_mib > 200, f"{free_mib} MiB free for temporary files", "free some space, or set TMPDIR")


def _loopback() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return Finding("loopback", True, "ports can be opened on 127.0.0.1")
    except OSError as error:
        return Finding("loopback", False, str(error), "bring the loopback interface up")


def _drivers() -> Finding:
    """All drivers, by distribution; a broken one is a fault of the installation."""
    from distribution.delivery import installed_drivers, load_driver
    from distribution.errors import QkdError

    drivers = installed_drivers()
    seen = ", ".join(f"{d.name} ({d.distribution})" for d in drivers) or "none"
    faults = []
    for driver in drivers:
        try:
            load_driver(driver.name)
        except QkdError as error:
            faults.append(f"{error}; {error.hint}")
    if not drivers:
        faults.append("the built-in drivers are missing: install entangled-qkd again")
    return Finding("tag source drivers", not faults, seen, " / ".join(faults))


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _packages,
    _one_place,
    _drivers,
    _cache,
    _entropy,
    _noise,
    _disk,
    _loopback,
)
