"""A Bell test from its counts: S with its error, what chance says of it, and what must hold for it to mean anything.

Which settings make the test and which correlator carries the minus sign follow from the angles and the state aimed
at, before any count is seen (`distribution.correlators.bell_test`, or `signs_for` here). Everything else is a pure
function of the counts of the four pairs of settings.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution import correlators
from distribution.estimates import Estimate, balance
from distribution.states import BellState
from distribution.tails import chi_square_above
from qkd import bellgame, loopholes
from qkd.bellgame import FourCells, Interval, PValue, SettingChoice
from qkd.errors import ParameterError
from qkd.loopholes import Loophole, LoopholeState

Table = npt.NDArray[np.int64]
Signs = tuple[int, int, int, int]
"""Of E(a0, b0), E(a0, b1), E(a1, b0), E(a1, b1); three are equal and one is opposite."""

# Chi-square is used where each cell of a table expects this many counts; below, the check is left open.
_LEAST_EXPECTED = 10.0


def signs_for(angles_a_deg: Sequence[float], angles_b_deg: Sequence[float], state: BellState) -> Signs:
    """Signs of the CHSH test that two settings a side make of `state`.

    Args:
        angles_a_deg, angles_b_deg: polarisation of outcome 0 at each of the two settings, H = 0, in degrees.
        state: the Bell state aimed at.

    Raises:
        ParameterError: not two settings a side, or settings that quantum mechanics does not predict to exceed 2.
    """
    if len(angles_a_deg) != 2 or len(angles_b_deg) != 2:
        raise ParameterError(
            f"a CHSH test has two settings a side, got {len(angles_a_deg)} and {len(angles_b_deg)} angles"
        )
    detectors_a, detectors_b = (
        [x for angle in side for x in (angle, angle + 90.0)] for side in (angles_a_deg, angles_b_deg)
    )
    plan = correlators.bell_test(detectors_a, detectors_b, state)
    if plan is None:
        raise ParameterError(
            f"settings at {list(angles_a_deg)} and {list(angles_b_deg)} degrees make no Bell test of {state.value}: "
            "S is not predicted to exceed 2",
            hint="ideal: Alice 0 and 45, Bob 22.5 and 67.5 degrees",
        )
    return plan.signs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BellCounts:
    """Counts of the four pairs of settings of a CHSH test.

    Attributes:
        table: shape (2, 2, 2, 2), int64: Alice's setting, Bob's setting, Alice's outcome bit, Bob's outcome bit.
        signs: of the correlators in S, fixed before the data.

    Raises:
        ParameterError: another shape, counts that are no integers, negative or too many, signs that make no CHSH
            expression, or a pair of settings without any count.
    """

    table: Table
    signs: Signs

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _checked(self.table, (2, 2, 2, 2)))
        if len(self.signs) != 4 or any(s not in (-1, 1) for s in self.signs) or math.prod(self.signs) != -1:
            raise ParameterError(f"signs = {self.signs}: three must be equal and one opposite, each 1 or -1")
        empty = [(int(x), int(y)) for x, y in np.argwhere(self.trials == 0)]
        if empty:
            raise ParameterError(
                f"no counts at settings {', '.join(f'(a{x}, b{y})' for x, y in empty)}: S cannot be known",
                hint="count longer, or check that each analyser visits both of its settings",
            )

    @classmethod
    def chosen(cls, table: Table, settings_a: tuple[int, int], settings_b: tuple[int, int], signs: Signs) -> BellCounts:
        """Two settings a side out of a larger table.

        Args:
            table: shape (Alice's settings, Bob's settings, 2, 2), integers.
            settings_a, settings_b: indices of the two settings of each side.
            signs: see `signs_for`.
        """
        whole = _checked(table, None)
        for name, chosen, many in (("a", settings_a, whole.shape[0]), ("b", settings_b, whole.shape[1])):
            if len(set(chosen)) != 2 or not all(0 <= i < many for i in chosen):
                raise ParameterError(f"settings_{name} = {chosen}: need two different ones of {many}")
        return cls(table=whole[np.ix_(settings_a, settings_b)], signs=signs)

    @classmethod
    def of_detectors(cls, counts: correlators.Counts, plan: correlators.BellTest) -> BellCounts:
        """The settings of `plan` out of coincidences per pair of detectors (`distribution.correlators`)."""
        blocks = [[counts[np.ix_(a, b)] for b in plan.settings_b] for a in plan.settings_a]
        return cls(table=np.array(blocks), signs=plan.signs)

    @property
    def trials(self) -> FourCells:
        """Counts of each pair of settings, shape (2, 2)."""
        return self.table.sum(axis=(2, 3))

    @property
    def wins(self) -> FourCells:
        """Trials of each pair of settings that went as the signs ask, shape (2, 2)."""
        equal = self.table[:, :, 0, 0] + self.table[:, :, 1, 1]
        return np.where(np.reshape(self.signs, (2, 2)) > 0, equal, self.trials - equal)


def _checked(table: Table, shape: tuple[int, ...] | None) -> Table:
    """A read-only int64 copy."""
    found = np.asarray(table)
    fits = found.shape == shape if shape else found.ndim == 4 and found.shape[2:] == (2, 2) and found.size > 0
    if not fits:
        wanted = shape if shape else "(Alice's settings, Bob's settings, 2, 2)"
        raise ParameterError(f"counts of a Bell test have shape {wanted}, got {found.shape}")
    if not np.issubdtype(found.dtype, np.integer):
        raise ParameterError(f"counts of a Bell test are integers, got {found.dtype}")
    if found.min() < 0:
        raise ParameterError(f"counts of a Bell test cannot be negative, got {int(found.min())}")
    if sum(int(n) for n in found.flat) > bellgame.MOST_TRIALS:
        raise ParameterError(f"a Bell test takes {bellgame.MOST_TRIALS} counts at most")
    copy: Table = found.astype(np.int64)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, slots=True)
class Check:
    """A chi-square check of the data.

    Attributes:
        chi2, degrees: the statistic and its degrees of freedom.
        p_value: chance of a statistic as large or larger; None where counts are too few for the test.
    """

    chi2: float
    degrees: int
    p_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSignalling:
    """Does the outcome of one side depend on the setting of the other? Four checks, one for each setting.

    Attributes:
        alice, bob: for each own setting, outcome against the other side's setting.
        p_value: the smallest of the four times their number, at most 1 (Bonferroni); None if none could be made.
    """

    alice: tuple[Check, Check]
    bob: tuple[Check, Check]
    p_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BellResult:
    """What a Bell test says.

    Attributes:
        correlators: E(a0, b0), E(a0, b1), E(a1, b0), E(a1, b1), each with its standard error.
        s: sum of the correlators with their signs, and its standard error.
        wins, trials: of the CHSH game.
        choice: what is taken of the settings.
        p_value: exact binomial, against local models with memory; trials fixed beforehand.
        betting_p_value: the same, valid at any time of stopping.
        iid, memory: confidence intervals of S without and with memory of the devices.
        no_signalling: check of the marginals.
        settings: counts of the four pairs against the probabilities in `choice`; with shares as counted, a check of
            independence of the two sides.
        tsirelson_excess: how many standard errors S lies above 2 sqrt(2); 0 when it does not.
        loopholes: each with its state.
        label: what the violation may be called.
    """

    correlators: tuple[Estimate, Estimate, Estimate, Estimate]
    s: Estimate
    wins: int
    trials: int
    choice: SettingChoice
    p_value: PValue
    betting_p_value: PValue
    iid: Interval
    memory: Interval
    no_signalling: NoSignalling
    settings: Check
    tsirelson_excess: float
    loopholes: tuple[LoopholeState, ...]
    label: str

    @property
    def win_share(self) -> float:
        """omega, share of trials won: 3/4 for the best local model, 0.8536 for the best quantum one."""
        return self.wins / self.trials


def bell_result(
    counts: BellCounts,
    *,
    choice: SettingChoice | None = None,
    confidence: float = 0.99,
    closed: Collection[Loophole] = (),
    heralding: tuple[float, float] | None = None,
) -> BellResult:
    """Everything that the counts of a CHSH test say.

    Args:
        counts: with the signs that were fixed before.
        choice: how settings were drawn; None: independently, with the shares that were counted.
        confidence: of both intervals.
        closed: loopholes that the owner of the experiment declares closed.
        heralding: efficiencies of Alice and of Bob, for the statement on fair sampling.

    Raises:
        ParameterError: a confidence that is not between 0 and 1, or heralding efficiencies that are not.
    """
    wins, trials = counts.wins, counts.trials
    drawn = choice or SettingChoice.counted(trials)
    found = [_correlator(counts, x, y) for x in (0, 1) for y in (0, 1)]
    s = Estimate(
        sum(sign * e.value for sign, e in zip(counts.signs, found, strict=True)),
        math.sqrt(sum(e.error**2 for e in found)),
    )
    states = loopholes.statement(closed, heralding)
    return BellResult(
        correlators=(found[0], found[1], found[2], found[3]),
        s=s,
        wins=int(wins.sum()),
        trials=int(trials.sum()),
        choice=drawn,
        p_value=bellgame.exact_p_value(int(wins.sum()), int(trials.sum()), drawn.local_win),
        betting_p_value=bellgame.betting_p_value(wins, trials - wins, drawn),
        iid=bellgame.iid_interval(wins, trials, drawn, confidence),
        memory=bellgame.memory_interval(wins, trials, drawn, confidence),
        no_signalling=no_signalling(counts),
        settings=settings_check(trials, drawn),
        tsirelson_excess=max(0.0, (abs(s.value) - bellgame.TSIRELSON_S) / s.error),
        loopholes=states,
        label=loopholes.label(states),
    )


def _correlator(counts: BellCounts, x: int, y: int) -> Estimate:
    equal = int(np.trace(counts.table[x, y]))
    found = balance(equal, int(counts.trials[x, y]) - equal)
    assert found is not None  # BellCounts refuses an empty cell
    return found


def no_signalling(counts: BellCounts) -> NoSignalling:
    """Chi-square of each side's outcomes against the other side's setting, for each own setting: 2 x 2, one degree.

    A setting of one side must not change the marginal of the other. Post-selected data may fail it without any
    signal: detectors of unequal efficiency whose coincidences depend on both settings.
    """
    by_a, by_b = counts.table.sum(axis=3), counts.table.sum(axis=2)
    alice = tuple(_contingency(by_a[x]) for x in (0, 1))
    bob = tuple(_contingency(by_b[:, y]) for y in (0, 1))
    known = [check.p_value for check in (*alice, *bob) if check.p_value is not None]
    return NoSignalling(
        alice=(alice[0], alice[1]),
        bob=(bob[0], bob[1]),
        p_value=min(1.0, len(known) * min(known)) if known else None,
    )


def settings_check(trials: FourCells, choice: SettingChoice) -> Check:
    """Counts of the four pairs of settings: against what was declared (3 degrees), or of independence (1 degree)."""
    if choice.source is bellgame.SettingsFrom.COUNTED:
        return _contingency(trials)
    return _chi_square(trials, choice.probability() * trials.sum(), 3)


def _contingency(table: Table) -> Check:
    """Are rows and columns of a 2 x 2 table independent?"""
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(1, int(table.sum()))
    return _chi_square(table, expected, 1)


def _chi_square(table: Table, expected: npt.NDArray[np.float64], degrees: int) -> Check:
    if not expected.min() > 0:
        return Check(0.0, degrees, None)
    chi2 = float(((table - expected) ** 2 / expected).sum())
    return Check(chi2, degrees, chi_square_above(chi2, degrees) if expected.min() >= _LEAST_EXPECTED else None)
