"""What was said, in order: the bytes that the authentication tags cover.

Each message enters as  sender (1 byte, "A" or "B") || length (8 bytes, big-endian) || encoded message.  Because the
conversation is half-duplex, both sides hold the same transcript unless somebody altered it.
"""

from __future__ import annotations

import hashlib

from qkd.exchange.steps import Role


class Transcript:
    """The growing record of one block's conversation."""

    def __init__(self) -> None:
        self._said = bytearray()

    def add(self, sender: Role, encoded: bytes) -> None:
        """Append one message as it travelled."""
        self._said += (b"A" if sender is Role.ALICE else b"B") + len(encoded).to_bytes(8, "big")
        self._said += encoded

    def recorded(self) -> bytes:
        """All of it, as bytes."""
        return bytes(self._said)

    def digest(self) -> str:
        """SHA-256 of the transcript, hex: for vectors and logs, not for security."""
        return hashlib.sha256(self._said).hexdigest()

    def __len__(self) -> int:
        return len(self._said)
