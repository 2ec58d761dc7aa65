"""Stores for tests of a link's life: the same secret at both ends, a clock that stands still."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from qkd.block import SecretBlock
from qkd.exchange.steps import Role
from qkd.kms.store import KeyStore
from qkd.session import BlockReport

MASTER = bytes(range(32))
SECRET = hashlib.shake_256(b"life").digest(16 * (2 + 2 * 63))
NOW = 1_800_000_000
TAG_EPS = 2.0**-90
ONE_EACH = dict.fromkeys(Role, 1)


def opened(folder: Path, role: Role = Role.ALICE, **options: Any) -> KeyStore:
    options = {"clock": lambda: NOW} | options
    return KeyStore.open(folder / f"{role.value}.db", MASTER, role=role, **options)


def with_secret(folder: Path, role: Role = Role.ALICE, **options: Any) -> KeyStore:
    store = opened(folder, role, **options)
    store.install_pre_shared(SECRET)
    return store


def block(number: int, *, pads: int = 0, eps: float = 1e-10) -> SecretBlock:
    bits = 10 * 256 + 128 * 2 * pads
    key = hashlib.shake_256(b"life %d" % number).digest(bits // 8)
    report = BlockReport(block=number, eps_sec=eps, eps_cor=1e-20, label="test")
    return SecretBlock(number, bytes(16), key, bits, pads, pads, report, True)
