"""Which settings each protocol measures in, and what each pair of settings is for: fixed by the protocol's name.

Angles are polarisations in degrees from H; detector 2 k + o is outcome o of setting k. A pair of settings is written
(Alice's, Bob's). On the source's Bell state, Bob's bits inverted as `inversions` says, every protocol here sees
E(a, b) = cos 2(a - b).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from distribution.states import Basis, BellState
from qkd.bits import Bits
from qkd.errors import ParameterError
from qkd.exchange.steps import Role

Pair = tuple[int, int]


class Protocol(Enum):
    """Which protocol the engines run.

    * BBM92: Bennett, Brassard and Mermin, PRL 68, 557 (1992): two conjugate bases a side.
    * E91: Ekert, PRL 67, 661 (1991): three settings a side, a CHSH test, key from the two pairs of equal settings.
    * E91_3X2: the settings of Acin et al., PRL 98, 230501 (2007): Alice has one for the key and two to test with, Bob
      one for the key which he tests with as well, and another.
    """

    BBM92 = "bbm92"
    E91 = "e91"
    E91_3X2 = "e91-3x2"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A pair of settings that gives key, and the two pairs that bound what Eve knows of it (`qkd.bellkey`).

    Attributes:
        key: the pair of settings.
        plus, minus: the tested pairs. The phase errors of the key are those of the complementary measurement V (x) V,
            and V (x) V = (plus - minus) / sqrt 2 as operators on two qubits, Bob's inversions applied.
        split: the side at which `plus` and `minus` differ: there V is made from two settings.
    """

    key: Pair
    plus: Pair
    minus: Pair
    split: Role


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a protocol.

    Attributes:
        alice, bob: angle of outcome 0 of each setting, degrees.
        keys: the pairs that give key: the first makes the string called Z elsewhere, the second, if any, X.
        chsh_alice, chsh_bob: the two settings of each side that make the CHSH test; empty where there is none.
    """

    alice: tuple[float, ...]
    bob: tuple[float, ...]
    keys: tuple[KeyPair, ...] = ()
    chsh_alice: tuple[int, ...] = ()
    chsh_bob: tuple[int, ...] = ()

    @property
    def tested(self) -> bool:
        """True if the protocol has a Bell test, so that every coincidence is of use."""
        return bool(self.chsh_alice)

    def count(self, role: Role) -> int:
        """How many settings one station has."""
        return len(self.alice if role is Role.ALICE else self.bob)

    @property
    def pairs(self) -> int:
        """How many pairs of settings there are."""
        return len(self.alice) * len(self.bob)

    @property
    def key_pairs(self) -> int:
        """How many of them give sifted bits: equal ones, or with a Bell test those in `keys`."""
        return len(self.keys) if self.tested else len(self.alice)

    def number(self, pair: Pair) -> int:
        """The pair of settings as one number."""
        return pair[0] * len(self.bob) + pair[1]

    def numbers(self, at_alice: Bits, at_bob: Bits) -> Bits:
        """`number` for the settings of many coincidences, uint8."""
        return at_alice * np.uint8(len(self.bob)) + at_bob

    @property
    def key_of(self) -> Bits:
        """For each number of a pair which key string it belongs to, 0 or 1; 255 for none; shape (pairs,), uint8."""
        table = np.full(self.pairs, NO_KEY, np.uint8)
        for string, pair in enumerate(self.keys):
            table[self.number(pair.key)] = string
        return table


NO_KEY = 255

# Settings on the equator of the Bloch sphere: polarisation angle t is cos 2t Z + sin 2t X, so 0 is Z, 45 is X,
# 22.5 is M = (Z + X) / sqrt 2 and 67.5 is N = (X - Z) / sqrt 2.
SETTINGS: dict[Protocol, Settings] = {
    Protocol.BBM92: Settings(alice=(0.0, 45.0), bob=(0.0, 45.0)),
    Protocol.E91: Settings(
        alice=(0.0, 22.5, 45.0),
        bob=(22.5, 45.0, 67.5),
        keys=(
            # Key M (x) M: V is N, and N = (X - Z) / sqrt 2 at Alice.
            KeyPair(key=(1, 0), plus=(2, 2), minus=(0, 2), split=Role.ALICE),
            # Key X (x) X: V is Z, and Z = (M - N) / sqrt 2 at Bob.
            KeyPair(key=(2, 1), plus=(0, 0), minus=(0, 2), split=Role.BOB),
        ),
        chsh_alice=(0, 2),
        chsh_bob=(0, 2),
    ),
    Protocol.E91_3X2: Settings(
        alice=(0.0, 22.5, -22.5),
        bob=(0.0, 45.0),
        # Key Z (x) Z: V is X, and X = (A1 - A2) / sqrt 2 at Alice.
        keys=(KeyPair(key=(0, 0), plus=(1, 1), minus=(2, 1), split=Role.ALICE),),
        chsh_alice=(1, 2),
        chsh_bob=(0, 1),
    ),
}


def settings_of(protocol: Protocol) -> Settings:
    """The settings of a protocol."""
    return SETTINGS[protocol]


def inversions(protocol: Protocol, state: BellState) -> Bits:
    """For each of Bob's settings whether his bits come inverted, shape (settings,), uint8.

    Raises:
        ParameterError: at settings between H/V and D/A the state is correlated along mirrored angles, which the
            protocol's analysers do not have.
    """
    z, x = state.anticorrelated(Basis.Z), state.anticorrelated(Basis.X)
    if protocol is Protocol.E91:
        if z is not x:
            raise ParameterError(
                f"{protocol.value} at its angles takes phi+ or psi-, not {state.value}",
                hint=f"make the source's state phi+ or psi-, or use {Protocol.E91_3X2.value}, which takes all four",
            )
        return np.full(3, z, np.uint8)
    return np.array([z, x], np.uint8)


def pack_settings(settings: Bits, count: int) -> Bits:
    """Settings as bits for the wire: one bit each where there are two, two bits each, high first, where three."""
    if count == 2:
        return settings
    return np.stack([settings >> 1, settings & 1], axis=1).reshape(-1)


def unpack_settings(bits: Bits, count: int) -> Bits:
    """Inverse of `pack_settings`; what comes from a peer may hold a setting that does not exist: see the caller."""
    return bits if count == 2 else 2 * bits[0::2] + bits[1::2]


def setting_bits(count: int) -> int:
    """Bits that one setting takes on the wire."""
    return 1 if count == 2 else 2
