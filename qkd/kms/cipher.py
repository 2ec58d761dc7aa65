"""At-rest encryption of the key store: AES-256-GCM under a key of its own for every row.

    store key  = HKDF-SHA256(master key, salt, "entangled-qkd key store v1")
    row key    = HMAC-SHA256(store key, identity || 0x01)       that is HKDF-Expand with info = identity
    identity   = table, 0x00, row name
    sealed row = nonce (12 random bytes) || AES-256-GCM(row key, nonce, plaintext, AAD = identity)

A key per row keeps random nonces far from the birthday bound however many rows a link makes in its life, and
the identity in both places means that a sealed value moved to another row does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qkd.errors import KeyStoreError, ParameterError

MASTER_KEY_BYTES = 32
SALT_BYTES = 16
_NONCE_BYTES = 12
_LABEL = b"entangled-qkd key store v1"
_PADS = (0x36, 0x5C)


class RowCipher:
    """Seals and opens the secret column of rows; a sealed value opens only in the row it was made for.

    Args:
        master_key: 32 secret bytes.
        salt: 16 public bytes, drawn once per store.

    Raises:
        ParameterError: a wrong length.
    """

    def __init__(self, master_key: bytes, salt: bytes) -> None:
        if len(master_key) != MASTER_KEY_BYTES:
            raise ParameterError(
                f"the master key has {len(master_key)} bytes, it must have {MASTER_KEY_BYTES}",
                hint=f"make one with: qkd pki psk --bytes {MASTER_KEY_BYTES} --out FILE",
            )
        if len(salt) != SALT_BYTES:
            raise ParameterError(f"the salt has {len(salt)} bytes, it must have {SALT_BYTES}")
        store_key = HKDF(hashes.SHA256(), 32, salt, _LABEL).derive(master_key)
        # HMAC (RFC 2104) with the key's own blocks hashed beforehand: a block of key is thousands of rows.
        self._inner, self._outer = (hashlib.sha256(bytes(b ^ pad for b in store_key.ljust(64, b"\0"))) for pad in _PADS)

    def seal(self, table: str, row: str, plaintext: bytes) -> bytes:
        """Encrypt the secret of one row; 28 bytes longer than the plaintext."""
        return self.seal_all(table, [(row, plaintext)])[0]

    def seal_all(self, table: str, secrets: Iterable[tuple[str, bytes]]) -> list[bytes]:
        """The same for many rows (name, plaintext) of one table, in order."""
        rows = list(secrets)
        nonces = os.urandom(_NONCE_BYTES * len(rows))
        sealed = []
        for at, (row, plaintext) in enumerate(rows):
            identity = _identity(table, row)
            nonce = nonces[at * _NONCE_BYTES : (at + 1) * _NONCE_BYTES]
            sealed.append(nonce + AESGCM(self._row_key(identity)).encrypt(nonce, plaintext, identity))
        return sealed

    def open(self, table: str, row: str, sealed: bytes) -> bytes:
        """Decrypt what `seal` made for the same row.

        Raises:
            KeyStoreError: another master key, another row, or altered bytes.
        """
        identity = _identity(table, row)
        try:
            return AESGCM(self._row_key(identity)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], identity)
        except (InvalidTag, ValueError) as error:
            raise KeyStoreError(
                f"the sealed value of {table} {row} does not open",
                hint="the file was altered or damaged, or the master key is not the one that made it",
            ) from error

    def fingerprint(self, purpose: str, data: bytes) -> bytes:
        """32 bytes that tell equal data from other data to whoever holds the master key, and nobody else."""
        return hmac.digest(self._row_key(_identity("fingerprint", purpose)), data, "sha256")

    def _row_key(self, identity: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(identity + b"\x01")
        outer.update(inner.digest())
        return outer.digest()


def _identity(table: str, row: str) -> bytes:
    return f"{table}\x00{row}".encode()
