"""The Bell test of a block: both stations tell their outcomes at every pair of settings that gives no key, and judge.

Both hold the same counts afterwards. What they tell leaves the key for good; the pairs that give key keep their
outcomes secret and become the two strings (of one basis each, to the later stages) that BBM92 calls Z and X.

The p-value takes the settings with the shares that were counted: a test is not won by measuring one pair of settings
most of the time, where local realism wins as well.

The settings must come evenly and independently: the bound on phase errors (`qkd.bellkey`) rests on it. Their counts
over all coincidences are checked by chi-square; a block that fails loses the composable label, because a p-value below
UNEVEN is no accident. A check cannot see what it lacks the counts for: that each setting is as likely whatever came
before stays an assumption on the analysers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from distribution.states import BellState
from distribution.tails import as_uneven_as
from qkd.bellgame import LOCAL_S
from qkd.bellkey import OutcomeCounts
from qkd.bits import pack, unpack
from qkd.chsh import BellCounts, BellResult, bell_result, signs_for
from qkd.errors import BellTestFailed, KeyTooShort, QberTooHigh, RemoteProtocolError
from qkd.estimation import Estimate
from qkd.exchange.messages import BellOutcomes
from qkd.exchange.steps import Role, Steps, receive, send
from qkd.protocols import NO_KEY, KeyPair, Settings, settings_of
from qkd.session import SessionParameters
from qkd.sifting import SiftedBlock
from qkd.station import ACROSS

UNEVEN = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What was told, and what is left to make key of; the same at both stations but for the bits.

    Attributes:
        sifted: the pairs that give key; `basis` 0 for the first string, 1 for the second.
        table: int64, shape (Alice's settings, Bob's settings, 2, 2): outcomes told, Bob's inverted where the state says
            so; 0 at pairs that give key.
        pairs: int64, shape (Alice's settings, Bob's settings): all coincidences, those that give key included.
        across: how many of them were clicks at several settings, at Alice and at Bob; 0 at a station with two.
        chsh, result: the counts of the CHSH test, and what they say.
    """

    sifted: SiftedBlock = field(repr=False)
    table: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]
    across: dict[Role, int]
    chsh: BellCounts
    result: BellResult

    def counts(self, key: KeyPair) -> OutcomeCounts:
        """What bounds the phase errors of one key."""
        plus, minus = self.table[key.plus], self.table[key.minus]
        return OutcomeCounts(
            key=int(self.pairs[key.key]),
            plus_equal=int(np.trace(plus)),
            plus_different=int(plus.sum() - np.trace(plus)),
            minus_equal=int(np.trace(minus)),
            minus_different=int(minus.sum() - np.trace(minus)),
            across=self.across[key.split],
            pairs=self.pairs.size,
        )

    @property
    def wins(self) -> tuple[int, ...]:
        """Won trials of the CHSH game by pairs of settings, as a block's report has them."""
        return tuple(map(int, self.chsh.wins.flat))

    @property
    def trials(self) -> tuple[int, ...]:
        """All trials, likewise."""
        return tuple(map(int, self.chsh.trials.flat))

    @property
    def evenness(self) -> float:
        """Chance of settings as uneven as these if each pair is as likely; chi-square over all pairs."""
        return as_uneven_as(self.pairs)


def alice(kept: SiftedBlock, params: SessionParameters) -> Steps[Told]:
    """Alice's part: she tells first.

    Raises:
        KeyTooShort: a pair of settings never came. RemoteProtocolError: Bob's outcomes are not as many as they must be.
    """
    told = _to_tell(kept, params)
    yield from send(told)
    theirs = yield from receive(BellOutcomes)
    return _told(kept, params, (told, theirs))


def bob(kept: SiftedBlock, params: SessionParameters) -> Steps[Told]:
    """Bob's part: the mirror image; raises the same."""
    told = _to_tell(kept, params)
    theirs = yield from receive(BellOutcomes)
    yield from send(told)
    return _told(kept, params, (theirs, told))


def judged(stage: Steps[Estimate], told: Told, params: SessionParameters) -> Steps[Estimate]:
    """The estimation, and then the verdict on both: an abort for the Bell test tells the error rates as well.

    Raises:
        BellTestFailed: local realism is not refuted as the session asks. And what the stage raises.
    """
    try:
        estimate = yield from stage
    except QberTooHigh as error:
        _require(told.result, params, error.qber_z, error.qber_x)
        raise
    _require(told.result, params, estimate.qber_z, estimate.qber_x)
    return estimate


def _require(result: BellResult, params: SessionParameters, qber_z: float, qber_x: float) -> None:
    p_value = result.p_value.value
    if p_value > params.bell_p_limit:
        raise BellTestFailed(
            result.s.value, result.s.error, LOCAL_S, p_value=p_value, p_limit=params.bell_p_limit, qber=(qber_z, qber_x)
        )


def _to_tell(kept: SiftedBlock, params: SessionParameters) -> BellOutcomes:
    settings = settings_of(params.protocol)
    if len(kept) < params.least_block_bits:
        raise KeyTooShort(0, len(kept), params.least_block_bits)
    at = settings.key_of[kept.basis] == NO_KEY
    return BellOutcomes(pack(kept.bit[at] & 1), int(np.count_nonzero(kept.bit & ACROSS)))


def _told(kept: SiftedBlock, params: SessionParameters, words: tuple[BellOutcomes, BellOutcomes]) -> Told:
    settings = settings_of(params.protocol)
    key_of = settings.key_of[kept.basis]
    pairs = np.bincount(kept.basis, minlength=settings.key_of.size)
    at = key_of == NO_KEY
    for word in words:
        if not 0 <= word.across <= len(kept):
            raise RemoteProtocolError(f"{word.across} of {len(kept)} events were clicks at several settings: cannot be")
    at_alice, at_bob = (unpack(word.bits, int(np.count_nonzero(at))) for word in words)
    shape = (len(settings.alice), len(settings.bob))
    _all_came(pairs, kept)
    cells = 4 * kept.basis[at].astype(np.int64) + 2 * at_alice + at_bob
    table = np.bincount(cells, minlength=4 * pairs.size).reshape(*shape, 2, 2)
    sifted = replace(kept, basis=key_of[~at], bit=kept.bit[~at] & 1)
    across = {Role.ALICE: words[0].across, Role.BOB: words[1].across}
    chsh = _chsh(settings, table)
    return Told(sifted, table, pairs.reshape(shape), across, chsh, bell_result(chsh))


def _all_came(pairs: npt.NDArray[np.int64], kept: SiftedBlock) -> None:
    if not pairs.all():
        raise KeyTooShort(0, len(kept), 2 * len(kept), "coincidences")


def _chsh(settings: Settings, table: npt.NDArray[np.int64]) -> BellCounts:
    """The counts of the test that the protocol names; Bob's inversions make every state phi+."""
    a, b = settings.chsh_alice, settings.chsh_bob
    signs = signs_for([settings.alice[i] for i in a], [settings.bob[i] for i in b], BellState.PHI_PLUS)
    return BellCounts.chosen(table, (a[0], a[1]), (b[0], b[1]), signs)
