"""Blinding: bright light turns detectors into classical ones, and Eve makes them click as she likes.

Eve measures Bob's photon in one of his bases with an analyser of her own and sends a bright pulse polarised as she
found it. Blinded detectors do not see photons; they click when a pulse is above their threshold, which happens only
in the basis that Eve chose, and then with certainty. With a passive analyser every pulse makes Bob click, with Eve's
outcome; where he turns his analyser himself, he clicks only if his basis is hers and half the pairs are lost. Dark
counts vanish. Errors do not rise: wherever Bob's basis is Alice's, Eve's was, too (Makarov, New J. Phys. 11, 065003
(2009), arXiv 0707.3987; Lydersen et al., Nat. Photonics 4, 686 (2010); against a running entanglement system, whose
passive analyser it controlled in full, Gerhardt et al., Nat. Commun. 2, 349 (2011), arXiv 1011.0105).

With both stations blinded she needs no photons at all: she draws outcomes that the pairs could have had, and both
click only in the basis that she drew, so no two clicks of one pulse are in different bases (this fakes even a Bell
test: Gerhardt et al., Phys. Rev. Lett. 107, 170404 (2011)).
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from distribution.bounds import require
from distribution.errors import ParameterError
from distribution.outcomes import (
    LinkOptics,
    LinkOutcomes,
    OutcomeSet,
    SideOptics,
    joined,
    noise_outcomes,
    outcome_set,
    pair_outcomes,
)
from distribution.scenario import Scenario, Station

_Rows = list[tuple[float, tuple[int, ...], tuple[int, ...]]]


class Blinding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faked states for Bob, or for both stations.

    Attributes:
        fraction: share of the time for which she blinds, in [0, 1], in slices far below any interval of a monitor.
        efficiency: chance that an emitted pair leads to a faked state: her own channel and detectors.
        z_share: how often she chooses the first of the two bases.
        both: Alice's detectors are blinded as well.
        double_share: share of Bob's faked clicks in which a detector of his other basis, where he has both at once, is
            above threshold, too.
        dead_ns: recovery time of her own apparatus: no two faked states come closer. Needs fraction = 1; see
            `reshaped`.
    """

    fraction: float = 1.0
    efficiency: float = 0.1
    z_share: float = 0.5
    both: bool = False
    double_share: float = 0.0
    dead_ns: float = 0.0

    def __post_init__(self) -> None:
        for name in ("fraction", "efficiency", "z_share", "double_share"):
            require(name, getattr(self, name), 0.0, 1.0)
        require("dead_ns", self.dead_ns, 0.0, 1e6)
        if self.dead_ns and self.fraction < 1.0:
            raise ParameterError(f"dead_ns = {self.dead_ns} with fraction = {self.fraction}: it needs fraction = 1")

    def outcomes(self, optics: LinkOptics) -> LinkOutcomes:
        """See Eavesdropper; raises ParameterError unless both stations have two bases."""
        if optics.alice.share.size != 2 or optics.bob.share.size != 2:
            raise ParameterError("blinding is modelled for two bases a side")
        faked = self._both_faked(optics) if self.both else self._bob_faked(optics)
        honest = 1.0 - self.fraction
        pairs = joined(pair_outcomes(optics).scaled(honest), faked.scaled(self.fraction))
        noise = noise_outcomes(optics)
        at_alice = noise.alice[:, 0] < optics.alice.detectors
        awake = np.where(at_alice & (not self.both), 1.0, honest)
        noise = replace(noise, weight=noise.weight * awake)
        return LinkOutcomes(pairs, noise)

    def reshaped(self, link: Scenario) -> Scenario:
        """The link with what she does to waiting times: one apparatus makes all of a station's clicks.

        Her recovery time then looks like one dead time that mutes the whole station.
        """
        if not self.dead_ns:
            return link

        def muted(station: Station) -> Station:
            dead_ns = max(self.dead_ns, station.detectors.dead_ns)
            detectors = msgspec.structs.replace(station.detectors, dead_ns=dead_ns, mutes_station=True)
            return msgspec.structs.replace(station, detectors=detectors)

        alice = muted(link.alice) if self.both else link.alice
        return msgspec.structs.replace(link, alice=alice, bob=muted(link.bob))

    @staticmethod
    def _clicks(side: SideOptics, basis: int) -> float:
        """1 if faked states in this basis make the station click: its analyser takes part of the light there."""
        return float(side.share[basis] > 0.0)

    def _bob_faked(self, optics: LinkOptics) -> OutcomeSet:
        """Alice's photon goes its way; Bob clicks as Eve found the other one."""
        alice, bob = optics.alice, optics.bob
        rows: _Rows = []
        seen_by_alice = np.zeros(alice.detectors)
        for k, choice in enumerate((self.z_share, 1.0 - self.z_share)):
            click = self.efficiency * choice * self._clicks(bob, k)
            eve = (1.0 + np.array([1.0, -1.0]) * float(bob.axis[k] @ optics.state.bob)) / 2.0
            joint = np.zeros((alice.detectors, 2))
            for m, (share, axis) in enumerate(zip(alice.share, alice.axis, strict=True)):
                table = share * optics.state.probabilities(axis, bob.axis[k])
                joint[2 * m : 2 * m + 2] = table * alice.efficiency[2 * m : 2 * m + 2, None]
            for y in (0, 1):
                hits = self._hits(bob, k, y)
                for i in range(alice.detectors):
                    rows += [(click * joint[i, y] * w, (i,), bobs) for w, bobs in hits]
                lone = max(float(eve[y] - joint[:, y].sum()), 0.0)
                rows += [(click * lone * w, (), bobs) for w, bobs in hits]
            seen_by_alice += click * joint.sum(axis=1)
        alone = np.maximum(alice.chance(optics.state.alice) - seen_by_alice, 0.0)
        rows += [(alone[i], (i,), ()) for i in range(alice.detectors)]
        return outcome_set(rows)

    def _both_faked(self, optics: LinkOptics) -> OutcomeSet:
        """Outcomes as the pairs would have had them in the basis that she draws; errors included."""
        rows: _Rows = []
        for k, choice in enumerate((self.z_share, 1.0 - self.z_share)):
            table = optics.state.probabilities(optics.alice.axis[k], optics.bob.axis[k])
            at_alice, at_bob = self._clicks(optics.alice, k), self._clicks(optics.bob, k)
            for x in (0, 1):
                for y in (0, 1):
                    sent = self.efficiency * choice * float(table[x, y])
                    rows.append((sent * at_alice * (1.0 - at_bob), (2 * k + x,), ()))
                    for w, bobs in self._hits(optics.bob, k, y):
                        rows.append((sent * at_alice * at_bob * w, (2 * k + x,), bobs))
                        rows.append((sent * (1.0 - at_alice) * at_bob * w, (), bobs))
        return outcome_set(rows)

    def _hits(self, bob: SideOptics, basis: int, bit: int) -> list[tuple[float, tuple[int, ...]]]:
        """Which of Bob's detectors a faked state trips, with their shares."""
        target, other = 2 * basis + bit, 2 * (1 - basis)
        both = self.double_share * self._clicks(bob, 1 - basis)
        return [(1.0 - both, (target,)), (both / 2.0, (target, other)), (both / 2.0, (target, other + 1))]
