"""The pre-shared secret file: dealt out into one store of each role, once, and marked as used.

A second store of the same role with the same secret would use the same pads a second time, which breaks every tag under
them. So before a secret is dealt out, a marker `FILE.ROLE.used` that names the store is put beside it; a store of
another name is refused. A crash between marker and dealing changes nothing: the same store finds its own name. What
the marker cannot notice is a copy of the file in another folder.

Once it is dealt out the file is needed no more, and had better be destroyed: it holds every pad in the clear.
"""

from __future__ import annotations

import os
from pathlib import Path

from qkd.errors import KeyStoreError, ParameterError
from qkd.kms.pads import LEAST_PRE_SHARED_BYTES
from qkd.kms.secretfile import load_secret_file, write_secret_file
from qkd.kms.store import KeyStore


def marker_of(path: Path, store: KeyStore) -> Path:
    """Where it is noted into which store of this role a secret was dealt."""
    return path.with_name(f"{path.name}.{store.role.value}.used")


def deal_out(path: Path, store: KeyStore) -> None:
    """Install the secret of a file into a store, once; later it only checks that the file, if still there, fits.

    Raises:
        ParameterError: no secret is installed and the file is missing, too short, readable by others, or in a folder
            that cannot be written to. KeyStoreError: it was dealt out into another store, or the store has another or
            began with signing keys.
    """
    if store.pre_shared_installed and not path.exists():
        return
    secret = load_secret_file(path, LEAST_PRE_SHARED_BYTES)
    if store.pre_shared_installed or store.beginning.computational:
        store.install_pre_shared(secret)  # compares, or refuses: a secret that is not dealt out must not be marked
    _claim(path, store)
    store.install_pre_shared(secret)


def _claim(path: Path, store: KeyStore) -> None:
    marker = marker_of(path, store)
    try:
        owner = marker.read_text().strip()
    except FileNotFoundError:
        _mark(marker, path, store)
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"cannot read {marker}", hint="it says into which store the secret was dealt") from error
    if owner != store.identity:
        raise KeyStoreError(
            f"{path} was dealt out into another store of {store.role.value} already: its pads must not be used twice",
            hint="make a new secret for both nodes: qkd pki psk --out FILE, and start both with new stores",
        )


def _mark(marker: Path, path: Path, store: KeyStore) -> None:
    try:
        write_secret_file(marker, store.identity.encode() + b"\n", replace=False)
        folder = os.open(marker.parent, os.O_RDONLY)
    except (ParameterError, OSError) as error:
        raise ParameterError(
            f"cannot note beside {path} that it is used: {error}",
            hint="put the secret into a folder that this node may write to, for example that of its store",
        ) from error
    try:
        os.fsync(folder)  # a marker that a power cut forgets would let the secret be dealt out again
    finally:
        os.close(folder)
