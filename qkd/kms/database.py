"""The key store's file: one SQLite database, one process, one connection, one transaction at a time.

Durability is SQLite's WAL with synchronous=FULL: what a transaction wrote is on disk when it ends. A lock
file beside the database keeps other processes out, because two nodes on one store would use the same pads
twice. Everything that SQLite can complain about becomes a KeyStoreError, with the transaction rolled back and
the store still usable.

Deleted secrets: secure_delete overwrites them in the page, but the page's older copy stays in the WAL until a
checkpoint writes over it. It is ciphertext under the master key; closing the store truncates the WAL.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    literal_column,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from qkd.errors import KeyStoreError

SCHEMA_VERSION = 2

_schema = MetaData()

meta = Table("meta", _schema, Column("name", String, primary_key=True), Column("value", LargeBinary, nullable=False))

# One row a sender: the sealed hash key, the number of the next pad and the number that the next refill will
# get. Of the peer's pads, those above "next" that a guess has burnt have no row in `pads` any more.
senders = Table(
    "senders",
    _schema,
    Column("sender", String, primary_key=True),
    Column("hash_key", LargeBinary, nullable=False),
    Column("next", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    CheckConstraint('0 <= "next" AND "next" <= "end"', name="marks_in_order"),
)

pads = Table(
    "pads",
    _schema,
    Column("sender", String, ForeignKey("senders.sender"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

# What may have gone wrong, by kind of entry; see qkd.kms.ledger.
ledger = Table(
    "ledger",
    _schema,
    Column("entry", String, primary_key=True),
    Column("entries", Integer, nullable=False),
    Column("eps", Float, nullable=False),
    CheckConstraint("entries >= 0 AND eps >= 0", name="nothing_is_given_back"),
)

# What is sealed is the whole key while the block is prepared, what is left for units while it is whole, and nothing
# once it is cut. Of a whole block, "units" is how many it will give. The sealed value stands last, because SQLite
# reads through a long value to reach the columns behind it.
blocks = Table(
    "blocks",
    _schema,
    Column("number", Integer, primary_key=True),
    Column("state", String, nullable=False),
    Column("session_id", LargeBinary, nullable=False),
    Column("bits", Integer, nullable=False),
    Column("refill_alice", Integer, nullable=False),
    Column("refill_bob", Integer, nullable=False),
    Column("report", String, nullable=False),
    Column("simulated", Integer, nullable=False),
    Column("created_s", Integer, nullable=False),
    Column("units", Integer, nullable=False),
    Column("delivered", Integer, nullable=False),
    Column("void", Integer, nullable=False),
    Column("sealed", LargeBinary),
    CheckConstraint("delivered >= 0 AND void >= 0 AND delivered + void <= units", name="units_add_up"),
    CheckConstraint("state IN ('prepared', 'whole', 'cut')", name="known_block_state"),
    CheckConstraint("(sealed IS NULL) = (state = 'cut')", name="sealed_until_cut"),
)
# Conditions in SQLite's own words: it does not use a partial index for a value that it is told later.
is_prepared = blocks.c.state == literal_column("'prepared'")
is_whole = blocks.c.state == literal_column("'whole'")
Index("one_prepared", blocks.c.state, unique=True, sqlite_where=is_prepared)
Index("blocks_whole", blocks.c.number, blocks.c.units, sqlite_where=is_whole)

keys = Table(
    "keys",
    _schema,
    Column("key_id", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("size_bits", Integer, nullable=False),
    Column("master", String, nullable=False),
    CheckConstraint("state IN ('reserved', 'assigned')", name="known_state"),
)

slaves = Table(
    "slaves",
    _schema,
    Column("key_id", String, ForeignKey("keys.key_id", ondelete="CASCADE"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("slave", String, nullable=False),
    Column("collected", Integer, nullable=False),
)

# Only living units have a row. A unit without a key is available; with one, the key's state is its state.
units = Table(
    "units",
    _schema,
    Column("ordinal", Integer, primary_key=True),
    Column("unit_id", String, nullable=False, unique=True),
    Column("block", Integer, ForeignKey("blocks.number"), nullable=False),
    Column("owner", String, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("key_id", String, ForeignKey("keys.key_id")),
    Column("part", Integer),
)
Index("units_free", units.c.owner, units.c.ordinal, sqlite_where=units.c.key_id.is_(None))
Index("units_of_key", units.c.key_id, sqlite_where=units.c.key_id.isnot(None))

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
    "temp_store = MEMORY",
    "trusted_schema = OFF",
    "wal_autocheckpoint = 256",  # 1 MiB: deleted ciphertext does not linger in the log for long
)

_COMPLAINTS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space and try again; the store is unchanged"),
    sqlite3.SQLITE_BUSY: ("the database is locked", "another program has the file open: close it"),
    sqlite3.SQLITE_LOCKED: ("the database is locked", "another program has the file open: close it"),
    sqlite3.SQLITE_READONLY: (
        "the database is read-only",
        "check the mode of the file and its folder, and the mount",
    ),
    sqlite3.SQLITE_PERM: ("access was refused", "check the owner and mode of the file and its folder"),
    sqlite3.SQLITE_CANTOPEN: ("the file cannot be opened", "check that its folder is there and writable"),
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged",
        "do not restore an old copy: start anew with a new secret",
    ),
    sqlite3.SQLITE_NOTADB: ("the file is not a key store", "name the right file"),
    sqlite3.SQLITE_IOERR: ("reading or writing failed", "check the disk and its free space"),
}


class Database:
    """An open key store file, ours alone.

    Args:
        path: the SQLite file; made with mode 0600 when it is not there.

    Raises:
        KeyStoreError: in use by another process, of an unknown version, not a key store, or unreadable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.RLock()
        self._connection: Connection | None = None
        self._lock_fd = _lock(path)
        try:
            with self._complaints():
                self._connection = _connect(path)
                self._prepare_schema()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: durable when the block ends, undone when it raises.

        Raises:
            KeyStoreError: the store is closed, or SQLite complained.
        """
        with self._mutex, self._complaints():
            if self._connection is None:
                raise KeyStoreError(f"{self.path} is closed")
            connection = self._connection
            raw = driver(connection)
            # Taking the write lock at once means that a transaction never fails half-way for want of it.
            raw.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                raw.execute("COMMIT")
            finally:
                # SQLAlchemy, if it was asked anything, believes in a transaction of its own.
                connection.rollback()
                if raw.in_transaction:
                    raw.rollback()

    def close(self) -> None:
        """Fold the log into the file, give it up, and let others have it. Harmless when done twice."""
        with self._mutex:
            connection, self._connection = self._connection, None
            if connection is not None:
                _disconnect(connection)
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1

    def _prepare_schema(self) -> None:
        with self.transaction() as connection:
            version = connection.scalar(text("PRAGMA user_version"))
            if version == SCHEMA_VERSION:
                return
            if version != 0 or connection.scalar(text("SELECT count(*) FROM sqlite_master")):
                raise KeyStoreError(
                    f"{self.path} has schema version {version}, this program knows version {SCHEMA_VERSION}",
                    hint="open it with the release that made it, or start both ends with new stores and a new secret",
                )
            _schema.create_all(connection)
            connection.execute(text(f"PRAGMA user_version = {SCHEMA_VERSION}"))

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            # The driver's text names tables and constraints only; SQLAlchemy's would quote the statement.
            cause = error.orig if isinstance(error, DBAPIError) else error
            code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
            what, hint = _COMPLAINTS.get(code, (str(cause), ""))
            raise KeyStoreError(f"{self.path}: {what}", hint=hint) from cause


def driver(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection, within the same transaction: ten times faster for the small steps of every tag."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _lock(path: Path) -> int:
    """Take the lock file; the descriptor holds it until closed, or until the process ends however it ends."""
    lock = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise KeyStoreError(
            f"{lock}: {(error.strerror or str(error)).lower()}",
            hint="check that its folder is there and writable",
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise KeyStoreError(
            f"{path} is in use by another process",
            hint=f"stop that process first (fuser {lock} names it); two nodes on one store would reuse pads",
        ) from error
    return fd


def _connect(path: Path) -> Connection:
    # SQLite gives its log files the mode of the database, so the mode is set before it sees the file.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise KeyStoreError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 5.0},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _on_connect)
    return engine.connect()


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not open transactions of its own
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _disconnect(connection: Connection) -> None:
    engine: Engine = connection.engine
    try:
        raw = connection.connection.driver_connection
        if isinstance(raw, sqlite3.Connection):
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (sqlite3.Error, DBAPIError):
        pass  # a full disk must not keep the store from closing; the log is folded in at the next opening
    finally:
        connection.close()
        engine.dispose()
