"""What a store is bound to for life, checked whenever it is opened: master key, role and unit length."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import insert, select

from qkd.errors import KeyStoreError
from qkd.exchange.steps import Role
from qkd.kms.cipher import SALT_BYTES, RowCipher
from qkd.kms.database import Database, meta


def unlock(database: Database, master_key: bytes, role: Role, unit_bits: int) -> RowCipher:
    """The cipher of a store; a new store is bound to this master key, role and unit length first."""
    binding = f"{role.value} {unit_bits}"
    with database.transaction() as connection:
        known = {row.name: row.value for row in connection.execute(select(meta)).all()}
        if "salt" in known and "check" in known:
            cipher = RowCipher(master_key, known["salt"])
            _check_binding(cipher, known["check"], binding, database.path)
            return cipher
        salt = os.urandom(SALT_BYTES)
        cipher = RowCipher(master_key, salt)
        check = cipher.seal("meta", "check", binding.encode())
        connection.execute(insert(meta), [{"name": "salt", "value": salt}, {"name": "check", "value": check}])
        return cipher


def _check_binding(cipher: RowCipher, check: bytes, binding: str, path: Path) -> None:
    try:
        known = cipher.open("meta", "check", check).decode()
    except KeyStoreError as error:
        raise KeyStoreError(
            f"the master key does not open {path}", hint="name the master key file that made this store"
        ) from error
    if known != binding:
        raise KeyStoreError(
            f"{path} is a store of {known}-bit units, it was opened as one of {binding}-bit units",
            hint="role and unit_bits are a store's for life: name the right file, or make a new store",
        )
