"""The signing key of a station in files: NAME for the station alone (mode 0600), NAME.pub to be carried to the peer.

Both are PEM as everybody writes them: PKCS #8 with the 32-byte seed, and SubjectPublicKeyInfo (RFC 9881). A key's
fingerprint is the SHA-256 of the raw public key, in hex.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA87PrivateKey, MLDSA87PublicKey

from qkd.errors import ParameterError
from qkd.exchange.identity import Identity, fingerprint, lacking
from qkd.kms.secretfile import load_secret_file, write_secret_file

ALGORITHM = "ML-DSA-87"
_HINT = "make one with: qkd pki identity --out NAME"
_MOST_PUBLIC_BYTES = 1 << 16
_PEM_HEADER = b"-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """Where a new identity lies, and its fingerprint in hex."""

    private: Path
    public: Path
    fingerprint_sha256: str


def create_identity(private: Path) -> IdentityFiles:
    """Make a key pair in two new files, `private` and `private`.pub.

    Raises:
        ParameterError: one is there already, or the folder is not writable; nothing was changed then.
    """
    public = private.with_name(private.name + ".pub")
    if public.exists():
        raise ParameterError(f"{public} exists already", hint="name another file, or remove this one yourself")
    try:
        key = MLDSA87PrivateKey.generate()
    except UnsupportedAlgorithm as error:
        raise lacking(ALGORITHM) from error
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_secret_file(private, pem, replace=False)
    try:
        with open(public, "xb") as file:
            file.write(_public_pem(key.public_key()))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        private.unlink()  # ours, made a moment ago
        raise ParameterError(f"{public}: {(error.strerror or str(error)).lower()}") from error
    return IdentityFiles(private, public, fingerprint(key.public_key()).hex())


def load_identity(private: Path, peer: Path) -> Identity:
    """A station's identity: its own key, and the peer's public key.

    Raises:
        ParameterError: a file is missing, open to others, or not what it should be; or both are the same key.
    """
    pem = load_secret_file(private, 1)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except UnsupportedAlgorithm as error:
        raise lacking(ALGORITHM) from error
    except (ValueError, TypeError):
        # Without its cause: what a parser says of a secret file may quote it.
        raise ParameterError(f"{private} holds no private key in PEM form that can be used", hint=_HINT) from None
    if not isinstance(key, MLDSA87PrivateKey):
        raise ParameterError(f"{private} is not an {ALGORITHM} key", hint=_HINT)
    return Identity(key, load_public(peer))


def load_public(path: Path) -> MLDSA87PublicKey:
    """A public key from its file.

    Raises:
        ParameterError: missing, or not an ML-DSA-87 public key in PEM form.
    """
    try:
        with open(path, "rb") as file:
            pem = file.read(_MOST_PUBLIC_BYTES)
    except OSError as error:
        hint = "carry the peer's .pub file here"
        raise ParameterError(f"{path}: {(error.strerror or str(error)).lower()}", hint=hint) from error
    try:
        key = serialization.load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise lacking(ALGORITHM) from error
    except ValueError as error:
        raise ParameterError(f"{path} holds no public key in PEM form", hint="name a .pub file") from error
    if not isinstance(key, MLDSA87PublicKey):
        raise ParameterError(f"{path} is not an {ALGORITHM} public key", hint=_HINT)
    return key


def is_public_key(path: Path) -> bool:
    """Whether a file claims to be a public key in PEM form; False also when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_PEM_HEADER)) == _PEM_HEADER
    except OSError:
        return False


def _public_pem(key: MLDSA87PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
