"""The bound on phase errors from its definition: operators as matrices, logarithms to 40 digits, one design a time.

Nothing here is shared with `qkd.bellkey` but the angles of `qkd.protocols` and the list of designs.
"""

from __future__ import annotations

import itertools
import math
from functools import reduce

import mpmath as mp
import numpy as np
import numpy.typing as npt

from qkd.exchange.steps import Role
from qkd.protocols import KeyPair, Settings

Matrix = npt.NDArray[np.float64]
Z = np.diag([1.0, -1.0])
X = np.array([[0.0, 1.0], [1.0, 0.0]])


def direction(angle_deg: float) -> Matrix:
    """Linear polarisation at an angle from H: outcome 0 is +1, outcome 1 is -1."""
    return math.cos(math.radians(2 * angle_deg)) * Z + math.sin(math.radians(2 * angle_deg)) * X


def threshold(angle_deg: float, photons: int) -> Matrix:
    """Mean outcome of two detectors behind a polariser that share `photons`: a random bit where both click."""
    up, down = ((np.eye(2) + sign * direction(angle_deg)) / 2 for sign in (1, -1))
    return reduce(np.kron, [up] * photons) - reduce(np.kron, [down] * photons)


def complementary(angle_deg: float, photons: int = 1) -> Matrix:
    """The measurement V that nobody makes."""
    return threshold(angle_deg + 45.0, photons)


def mean_weight(settings: Settings, key: KeyPair, c: float, v: float, photons: tuple[int, int]) -> Matrix:
    """What a coincidence of so many photons at Alice and Bob is weighted with on average, as an operator.

    Photons meet settings at random; events across settings get a random setting and a random bit, and at the side where
    plus and minus differ they cost the weight k. On the key pair the complementary measurement is made.
    """
    sides = {Role.ALICE: (settings.alice, photons[0]), Role.BOB: (settings.bob, photons[1])}
    counts = {role: len(angles) for role, (angles, _) in sides.items()}
    k = c * (1 + math.sqrt(2)) / 8 / (counts[Role.ALICE] * counts[Role.BOB])
    one = {role: np.eye(2**n) for role, (_, n) in sides.items()}
    together = {role: counts[role] ** (1.0 - n) for role, (_, n) in sides.items()}

    def measured(role: Role, setting: int, key_pair: bool) -> Matrix:
        angles, n = sides[role]
        angle = angles[setting]
        return complementary(angle, n) if key_pair else threshold(angle, n)

    total = np.zeros((2 ** sum(photons),) * 2)
    for a, b in itertools.product(range(counts[Role.ALICE]), range(counts[Role.BOB])):
        base, slope = {key.key: (1 + c * v, -c), key.plus: (1 - c * v / 2, c / math.sqrt(2))}.get(
            (a, b), (1 - c * v / 2, -c / math.sqrt(2)) if (a, b) == key.minus else (1.0, 0.0)
        )
        is_key = (a, b) == key.key
        product = np.kron(measured(Role.ALICE, a, is_key), measured(Role.BOB, b, is_key))
        # Only an event that met one setting at either side has outcomes that depend on the state.
        clean = together[Role.ALICE] * together[Role.BOB]
        across = 1.0 - together[key.split]
        whole = np.kron(one[Role.ALICE], one[Role.BOB])
        total += ((base - k * across) * whole + slope * clean * product) / (counts[Role.ALICE] * counts[Role.BOB])
    return total


def bound(
    designs: list[tuple[float, float]],
    pairs: int,
    key: int,
    tested: tuple[int, int, int, int],
    across: int,
    eps: float,
) -> int:
    """Most phase errors that no design excludes, 0 .. key; `tested` is plus equal, plus different, minus likewise."""
    with mp.workdps(40):
        level = -2 * mp.log(eps) + mp.log(len(designs))
        half = 1 / mp.sqrt(2)
        least = key
        for c, v in designs:
            agrees, differs = 1 + c * mp.mpf(v) - c, 1 + c * mp.mpf(v) + c
            up, down = 1 - c * mp.mpf(v) / 2 + c * half, 1 - c * mp.mpf(v) / 2 - c * half
            k = mp.mpf(c) * (1 + mp.sqrt(2)) / 8 / pairs
            rest = (
                (tested[0] + tested[3]) * mp.log(up)
                + (tested[1] + tested[2]) * mp.log(down)
                + across * mp.log(1 - k / min(agrees, down, 1))
            )
            most = mp.floor((level - rest - key * mp.log(agrees)) / (mp.log(differs) - mp.log(agrees)))
            least = min(least, max(0, int(most)))
        return least
