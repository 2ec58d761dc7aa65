"""A station's polarisation analyser: which bases it measures in, how often, and how well they are aligned.

Outcome o of basis k is detector channel 2 k + o. A passive analyser splits photons at random over its bases and has
two detectors for each. An active one has two detectors in all and turns to the basis of the current slot, drawn by
hash from a secret seed; its two detectors' efficiency, dead time and delay then belong to the outcome, not to the
basis.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from distribution.bounds import require
from distribution.errors import ParameterError
from distribution.twoqubit import linear

MAX_BASES = 3


class Setting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One basis of an analyser.

    Attributes:
        angle_deg: direction from H of the polarisation that gives outcome 0; outcome 1 is orthogonal to it.
        ellipticity_deg: its ellipticity, 45 for right circular.
        share: fraction of photons (passive) or of slots (active) measured in this basis.
    """

    share: float
    angle_deg: float = 0.0
    ellipticity_deg: float = 0.0

    def __post_init__(self) -> None:
        require("share", self.share, 0.0, 1.0)
        require("angle_deg", self.angle_deg, -180.0, 180.0)
        require("ellipticity_deg", self.ellipticity_deg, -45.0, 45.0)

    @property
    def axis(self) -> npt.NDArray[np.float64]:
        """Unit vector of outcome 0 on the Poincare sphere, shape (3,)."""
        return linear(math.radians(self.angle_deg), math.radians(self.ellipticity_deg))


class Analyser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Polarisation analyser: Z and X given in short, or any one to three bases listed.

    Attributes:
        z_share: fraction of photons that are measured in Z, the rest in X.
        z_error_deg, x_error_deg: how far the polariser of each basis is turned from 0 and 45 degrees.
        settings: the bases instead of these three, in the order of their detectors; shares add up to at most 1.
        slot_ns: length of an active analyser's slots, by the station's own clock; None: passive.
    """

    z_share: float = 0.5
    z_error_deg: float = 0.0
    x_error_deg: float = 0.0
    settings: tuple[Setting, ...] = ()
    slot_ns: float | None = None

    def __post_init__(self) -> None:
        require("z_share", self.z_share, 0.0, 1.0)
        require("z_error_deg", self.z_error_deg, -90.0, 90.0)
        require("x_error_deg", self.x_error_deg, -90.0, 90.0)
        if self.slot_ns is not None:
            require("slot_ns", self.slot_ns, 0.001, 1e12)
        if self.settings:
            self._check_settings()

    def _check_settings(self) -> None:
        if (self.z_share, self.z_error_deg, self.x_error_deg) != (0.5, 0.0, 0.0):
            raise ParameterError("settings replace z_share, z_error_deg and x_error_deg: give one or the other")
        if len(self.settings) > MAX_BASES:
            raise ParameterError(f"an analyser has {MAX_BASES} bases at most, got {len(self.settings)} settings")
        total = sum(setting.share for setting in self.settings)
        if total > 1.0 + 1e-9 or (self.active and total < 1.0 - 1e-9):
            raise ParameterError(
                f"shares of the settings add up to {total}, which is not 1",
                hint="less than 1 is loss, for a passive analyser only",
            )

    @property
    def active(self) -> bool:
        """True if the basis is switched, not split."""
        return self.slot_ns is not None

    @property
    def slot_ps(self) -> int:
        """Length of a slot, ps; 0 for a passive analyser."""
        return 0 if self.slot_ns is None else round(self.slot_ns * 1000)

    @property
    def bases(self) -> tuple[Setting, ...]:
        """All bases."""
        return self.settings or (
            Setting(share=self.z_share, angle_deg=self.z_error_deg),
            Setting(share=1.0 - self.z_share, angle_deg=45.0 + self.x_error_deg),
        )

    @property
    def detectors(self) -> int:
        """Number of detectors that stand behind it."""
        return 2 if self.active else 2 * len(self.bases)

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """Detector behind each channel, shape (2 bases,), int64."""
        return np.arange(2 * len(self.bases), dtype=np.int64) % self.detectors
