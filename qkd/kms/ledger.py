"""The epsilon ledger: what may have gone wrong in the life of a link, added up, and the budget that stops it.

Three kinds of entries: a run of the protocol, charged when it begins; a tag sent; a tag checked. Every entry is made in
the transaction that makes what it accounts for possible (the pad's burning, the block's beginning), so no crash loses
one. Sums are rounded up. A run is charged whether or not it gave a key: secrecy is a bound on the chance that a run
passes and is not secret, so n tries cost n times the bound, and whoever can break runs off chooses among the tries
(union bound; Portmann and Renner, Rev. Mod. Phys. 94, 025008 (2022), on composing repeated runs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection

from qkd.errors import EpsilonBudgetSpent, ParameterError
from qkd.kms.database import driver

DEFAULT_BUDGET = 1e-6

_READ_ALL = "SELECT entry, entries, eps FROM ledger"
_READ = "SELECT entries, eps FROM ledger WHERE entry = ?"
_WRITE = "INSERT OR REPLACE INTO ledger (entry, entries, eps) VALUES (?, ?, ?)"


class Entry(Enum):
    """What was charged."""

    RUN = "run"
    TAG_SENT = "tag_sent"
    TAG_CHECKED = "tag_checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The ledger at one moment.

    Attributes:
        runs, tags_sent, tags_checked: how many of each were charged.
        eps_runs, eps_tags: what they cost, sums rounded up.
        budget: what may be spent in the life of this store.
    """

    runs: int
    tags_sent: int
    tags_checked: int
    eps_runs: float
    eps_tags: float
    budget: float

    @property
    def spent(self) -> float:
        """All entries together, rounded up."""
        return _up(self.eps_runs, self.eps_tags)

    def runs_left(self, eps: float) -> int:
        """How many more runs of this cost the budget covers, tags not counted."""
        return max(0, math.floor((self.budget - self.spent) / eps))


class EpsilonLedger:
    """The ledger of one database; every method works within a transaction of the caller.

    Args:
        budget: the most that the entries may add up to before another run is refused.

    Raises:
        ParameterError: the budget is not in (0, 1].
    """

    def __init__(self, budget: float) -> None:
        if not 0 < budget <= 1:
            raise ParameterError(f"eps_budget = {budget} must be above 0 and at most 1")
        self._budget = budget
        self._begun = 0.0

    def begin(self, connection: Connection, eps: float) -> None:
        """Charge a run that begins.

        Raises:
            EpsilonBudgetSpent: the budget does not cover it.
        """
        self._require(connection, eps)
        self._charge(connection, Entry.RUN, 1, eps)
        self._begun = eps

    def complete(self, connection: Connection, eps: float) -> None:
        """Charge what the run that began last cost beyond its first charge; all of it if none was begun here.

        Raises:
            EpsilonBudgetSpent: the budget does not cover it.
        """
        more, counted = max(0.0, eps - self._begun), 0 if self._begun else 1
        if more:
            self._require(connection, more)
            self._charge(connection, Entry.RUN, counted, more)
        self._begun = 0.0

    def tag(self, connection: Connection, entry: Entry, eps: float) -> None:
        """Charge a tag; never refused, because the run that it belongs to was admitted."""
        self._charge(connection, entry, 1, eps)

    def account(self, connection: Connection) -> Account:
        """All sums."""
        counts, eps = dict.fromkeys(Entry, 0), dict.fromkeys(Entry, 0.0)
        for name, entries, spent in driver(connection).execute(_READ_ALL):
            counts[Entry(name)], eps[Entry(name)] = entries, spent
        return Account(
            runs=counts[Entry.RUN],
            tags_sent=counts[Entry.TAG_SENT],
            tags_checked=counts[Entry.TAG_CHECKED],
            eps_runs=eps[Entry.RUN],
            eps_tags=_up(eps[Entry.TAG_SENT], eps[Entry.TAG_CHECKED]),
            budget=self._budget,
        )

    def _require(self, connection: Connection, eps: float) -> None:
        spent = self.account(connection).spent
        if _up(spent, eps) > self._budget:
            raise EpsilonBudgetSpent(spent, eps, self._budget)

    def _charge(self, connection: Connection, entry: Entry, count: int, eps: float) -> None:
        if not 0 <= eps <= 1:
            raise ParameterError(f"eps = {eps} is no probability")
        raw = driver(connection)
        before, spent = raw.execute(_READ, (entry.value,)).fetchone() or (0, 0.0)
        raw.execute(_WRITE, (entry.value, before + count, _up(spent, eps)))


def _up(one: float, other: float) -> float:
    """A sum that is not below the true one; exact when one of the two is nothing."""
    total = one + other
    return total if 0.0 in (one, other) else math.nextafter(total, math.inf)
