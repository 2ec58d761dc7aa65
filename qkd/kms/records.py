"""Keys as rows: binding units to a key, reading them back, and taking them out of the books for good.

Every function works inside a transaction of its caller and keeps no state. Lists of names may be of any
length; they go to SQLite in portions because it bounds the parameters of a statement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Select, bindparam, delete, func, insert, select, update

from qkd.exchange.steps import Role
from qkd.kms.cipher import RowCipher
from qkd.kms.database import blocks, is_whole, keys, slaves, units
from qkd.kms.key import Assignment, UnitState

_MOST_NAMES = 10_000
_MOST_LIMIT = (1 << 63) - 1  # a larger integer does not fit SQLite

# Statements are built once: building one costs more than running it.
_names: BindParameter[Any] = bindparam("names", expanding=True)
_insert_key = insert(keys)
_insert_slave = insert(slaves)
_bind_unit = (
    update(units).where(units.c.unit_id == bindparam("name")).values(key_id=bindparam("key"), part=bindparam("place"))
)


def _units_where(condition: ColumnElement[bool]) -> Select[Any]:
    return select(keys, units.c.unit_id, units.c.part).join_from(keys, units).where(condition).order_by(units.c.ordinal)


def _slaves_where(condition: ColumnElement[bool]) -> Select[Any]:
    return select(slaves.c.key_id, slaves.c.place, slaves.c.slave).join_from(slaves, keys).where(condition)


_by_name = keys.c.key_id.in_(_names)
_by_state = keys.c.state == bindparam("state")
_load_named = (_units_where(_by_name), _slaves_where(_by_name))
_load_in_state = (_units_where(_by_state), _slaves_where(_by_state))

_collected = select(slaves.c.key_id, slaves.c.slave).where(slaves.c.key_id.in_(_names), slaves.c.collected == 1)
_collect = update(slaves).where(slaves.c.key_id.in_(_names), slaves.c.slave == bindparam("who")).values(collected=1)
_waiting = select(slaves.c.key_id).where(slaves.c.key_id.in_(_names), slaves.c.collected == 0)

_sealed_units = (
    select(units.c.key_id, units.c.unit_id, units.c.sealed, units.c.block)
    .where(units.c.key_id.in_(_names))
    .order_by(units.c.key_id, units.c.part)
)
_delete_units = delete(units).where(units.c.key_id.in_(_names)).returning(units.c.block)
_delete_keys = delete(keys).where(keys.c.key_id.in_(_names))
_tally = {
    UnitState.DELIVERED: blocks.c.delivered,
    UnitState.VOID: blocks.c.void,
}
_add_to_tally = {
    state: update(blocks).where(blocks.c.number == bindparam("block")).values({tally: tally + bindparam("more")})
    for state, tally in _tally.items()
}

_is_free = units.c.key_id.is_(None)
_is_owned = units.c.owner == bindparam("owner")
_free_named = select(units.c.unit_id).where(units.c.unit_id.in_(_names), _is_owned, _is_free)
_known = select(units.c.unit_id).where(units.c.unit_id.in_(_names))
_oldest_free = select(units.c.unit_id).where(_is_free, _is_owned).order_by(units.c.ordinal).limit(bindparam("most"))
_count_free = select(func.count()).select_from(units).where(_is_free)
_count_free_owned = _count_free.where(_is_owned)
# What whole blocks will give, by owner: `qkd.kms.key.units_owned` in SQL.
_count_uncut = {
    owner: select(func.coalesce(func.sum(share), 0)).where(is_whole)
    for owner, share in (
        (None, blocks.c.units),
        (Role.ALICE.value, (blocks.c.units + 1) // 2),
        (Role.BOB.value, blocks.c.units // 2),
    )
}


def bind(connection: Connection, assignments: Sequence[Assignment], state: UnitState) -> None:
    """Tie units to new keys; the units must be there and free."""
    if not assignments:
        return
    connection.execute(
        _insert_key,
        [{"key_id": a.key_id, "state": state.value, "size_bits": a.size_bits, "master": a.master} for a in assignments],
    )
    connection.execute(
        _insert_slave,
        [
            {"key_id": a.key_id, "place": place, "slave": slave, "collected": 0}
            for a in assignments
            for place, slave in enumerate(a.slaves)
        ],
    )
    connection.execute(
        _bind_unit,
        [{"name": name, "key": a.key_id, "place": place} for a in assignments for place, name in enumerate(a.unit_ids)],
    )


def load(connection: Connection, key_ids: Sequence[str], state: UnitState | None = None) -> dict[str, Assignment]:
    """Those of the named keys that are in this state (or in any), by key ID."""
    found: dict[str, Assignment] = {}
    for names in _portions(key_ids):
        found |= _load(connection, _load_named, {"names": names}, state)
    return found


def load_state(connection: Connection, state: UnitState) -> list[Assignment]:
    """All keys in this state, in the order of their oldest units."""
    return list(_load(connection, _load_in_state, {"state": state.value}, state).values())


def collected(connection: Connection, key_ids: Sequence[str], *, by: str | None = None) -> set[str]:
    """Those of the named keys that this slave (or any) has collected."""
    return {
        key_id
        for names in _portions(key_ids)
        for key_id, slave in connection.execute(_collected, {"names": names})
        if by is None or slave == by
    }


def collect(connection: Connection, key_ids: Sequence[str], slave: str) -> list[str]:
    """Note that a slave has collected these keys; those for which it was the last."""
    waiting: set[str] = set()
    for names in _portions(key_ids):
        connection.execute(_collect, {"names": names, "who": slave})
        waiting.update(connection.scalars(_waiting, {"names": names}))
    return [name for name in key_ids if name not in waiting]


def key_bytes(
    connection: Connection, cipher: RowCipher, key_ids: Sequence[str]
) -> tuple[dict[str, bytes], dict[str, list[int]]]:
    """The joined bytes of each key's units, and the numbers of the blocks they came from in order."""
    joined: dict[str, bytes] = defaultdict(bytes)
    sources: dict[str, list[int]] = defaultdict(list)
    for names in _portions(key_ids):
        for row in connection.execute(_sealed_units, {"names": names}):
            joined[row.key_id] += cipher.open("units", row.unit_id, row.sealed)
            if row.block not in sources[row.key_id]:
                sources[row.key_id].append(row.block)
    return joined, sources


def finish(connection: Connection, key_ids: Sequence[str], end: UnitState) -> None:
    """Delete keys with their units, and count the units in their blocks as DELIVERED or VOID."""
    for names in _portions(key_ids):
        gone = Counter(connection.scalars(_delete_units, {"names": names}).all())
        connection.execute(_delete_keys, {"names": names})
        for block, count in gone.items():
            connection.execute(_add_to_tally[end], {"block": block, "more": count})


def free_units(connection: Connection, unit_ids: Sequence[str], owner: str) -> set[str]:
    """Those of the named units that are cut, available and owned by this node."""
    return {
        name
        for names in _portions(unit_ids)
        for name in connection.scalars(_free_named, {"names": names, "owner": owner})
    }


def unknown_units(connection: Connection, unit_ids: Sequence[str]) -> set[str]:
    """Those of the names that no cut unit has: gone, of a whole block, or never made."""
    known = {name for names in _portions(unit_ids) for name in connection.scalars(_known, {"names": names})}
    return set(unit_ids) - known


def oldest_free(connection: Connection, owner: str, most: int) -> list[str]:
    """IDs of the oldest available units of this owner that are cut, at most so many."""
    return list(connection.scalars(_oldest_free, {"owner": owner, "most": min(most, _MOST_LIMIT)}))


def count_free(connection: Connection, owner: str | None = None) -> int:
    """How many units are available, cut or in whole blocks: this owner's, or all."""
    uncut = connection.execute(_count_uncut[owner]).scalar_one()
    if owner is None:
        return int(uncut + connection.execute(_count_free).scalar_one())
    return int(uncut + connection.execute(_count_free_owned, {"owner": owner}).scalar_one())


def census(connection: Connection) -> dict[UnitState, int]:
    """How many units are in each state."""
    living = connection.execute(
        select(keys.c.state, func.count()).select_from(units).outerjoin(keys).group_by(keys.c.state)
    )
    counts = dict.fromkeys(UnitState, 0)
    for name, count in living:
        counts[UnitState(name or UnitState.AVAILABLE.value)] = count
    counts[UnitState.AVAILABLE] += int(connection.execute(_count_uncut[None]).scalar_one())
    for state, tally in _tally.items():
        counts[state] = int(connection.scalar(select(func.coalesce(func.sum(tally), 0))) or 0)
    return counts


def _load(
    connection: Connection,
    statements: tuple[Select[Any], Select[Any]],
    values: dict[str, Any],
    state: UnitState | None,
) -> dict[str, Assignment]:
    heads: dict[str, tuple[int, str]] = {}
    parts: dict[str, dict[int, str]] = defaultdict(dict)
    named: dict[str, dict[int, str]] = defaultdict(dict)
    for row in connection.execute(statements[0], values):
        if state is None or row.state == state.value:
            heads[row.key_id] = (row.size_bits, row.master)
            parts[row.key_id][row.part] = row.unit_id
    for key_id, place, slave in connection.execute(statements[1], values):
        named[key_id][place] = slave
    return {
        name: Assignment(name, _in_order(parts[name]), size_bits, master, _in_order(named[name]))
        for name, (size_bits, master) in heads.items()
    }


def _in_order(places: dict[int, str]) -> tuple[str, ...]:
    return tuple(places[place] for place in sorted(places))


def _portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[i : i + _MOST_NAMES] for i in range(0, len(names), _MOST_NAMES))
