"""Every numba option of the project, and where compiled code is cached.

The cache directory is chosen before numba is imported: numba's own search fails at import time when the package is
read-only and there is no HOME (systemd DynamicUser). Cached objects are pickles, so the directory is private to the
user (mode 0700, own uid) and never a shared one.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import platformdirs


def _is_private(path: Path) -> bool:
    """True if `path` exists or can be made as a directory that only this user may write."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat()
    except OSError:
        return False
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and os.access(path, os.W_OK)


def cache_directory() -> Path:
    """First private directory among $QKD_CACHE_DIR, systemd's $CACHE_DIRECTORY, the user's cache, a temporary one."""
    named = [os.environ.get("QKD_CACHE_DIR"), os.environ.get("CACHE_DIRECTORY")]
    for name in filter(None, [*named, platformdirs.user_cache_dir("entangled-qkd")]):
        path = Path(name) / "numba"
        if _is_private(path):
            return path
    return Path(tempfile.mkdtemp(prefix="entangled-qkd-"))


os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_directory()))

import numba  # noqa: E402  (the cache directory must be set first)

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a loop: cached on disk, releases the GIL, Python integer semantics off, no fastmath."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


def lean(function: F) -> F:
    """Compile a loop that makes no arrays: as `kernel`, but array references are not counted.

    Numba counts them with atomic instructions wherever an array is passed on inside a loop, which costs more than
    the work of a loop that touches a few words at a time. Anything that would need the count is refused at
    compilation.
    """
    return numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function)


def inlined(function: F) -> F:
    """Compile a helper that is called from the innermost loop of a kernel in the same file."""
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)
