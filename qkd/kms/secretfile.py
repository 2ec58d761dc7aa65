"""Files that hold a secret: made once, for the owner alone, refused when others could have read them."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from qkd.errors import ParameterError

MOST_BYTES = 64 << 20


def load_secret_file(path: Path, least_bytes: int) -> bytes:
    """The bytes of a secret file.

    Args:
        path: the file; its content is binary, a newline at the end counts.
        least_bytes: refuse anything shorter.

    Raises:
        ParameterError: missing, not a regular file, open to group or others, too short or absurdly long.
    """
    try:
        # Mode and content come from one descriptor, so the file cannot be exchanged between the two.
        with open(path, "rb", opener=_open_without_waiting) as file:
            _check_mode(path, os.fstat(file.fileno()).st_mode)
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _unusable(path, error) from error
    if len(data) < least_bytes:
        raise ParameterError(
            f"{path} holds {len(data)} bytes where at least {least_bytes} are needed",
            hint=f"make one with: qkd pki psk --bytes {least_bytes} --out FILE",
        )
    if len(data) > MOST_BYTES:
        raise ParameterError(f"{path} is longer than {MOST_BYTES} bytes: surely not a secret file")
    return data


def create_secret_file(path: Path, nbytes: int) -> None:
    """Write `nbytes` fresh bytes from the operating system to a new file of mode 0600.

    Raises:
        ParameterError: `nbytes` is impossible, the file is there already, or its folder is not writable.
    """
    if not 1 <= nbytes <= MOST_BYTES:
        raise ParameterError(f"a secret of {nbytes} bytes: must be in 1 .. {MOST_BYTES}")
    write_secret_file(path, secrets.token_bytes(nbytes), replace=False)


def write_secret_file(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a secret to a file of mode 0600, whole or not at all, durably.

    Args:
        path: where to.
        data: the secret.
        replace: False refuses to touch a file that is there.

    Raises:
        ParameterError: the file is there already, or its folder is not writable.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with open(draft, "xb", opener=_open_private) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)  # unlike rename, link fails when the name is taken
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def check_private(path: Path) -> None:
    """Refuse a secret file that group or others may read.

    Raises:
        ParameterError: naming the mode and the command that mends it; also when the file is missing.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unusable(path, error) from error
    _check_mode(path, mode)


def _check_mode(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ParameterError(f"{path} is not a regular file")
    if mode & 0o077:
        raise ParameterError(
            f"{path} has mode {stat.S_IMODE(mode):04o}: others than its owner may use it",
            hint=f"chmod 600 {path}; if others could have read it, make a new secret",
        )


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO in the secret's place must not hang the start


def _unusable(path: Path, error: OSError) -> ParameterError:
    if isinstance(error, FileExistsError):
        return ParameterError(f"{path} exists already", hint="name another file, or remove this one yourself")
    return ParameterError(f"{path}: {(error.strerror or str(error)).lower()}")
