"""A link as a TOML file: source, two arms, detectors and clocks, every bound checked, no key unknown.

title  = "..."            what it is, for people
source = "..."            where the numbers come from
[pairs]                   PairSource
[alice] [bob]             Station: loss_db, and tables channel (kind = "fibre", "free-space" or "satellite-pass"),
                          analyser, detectors (with response), tagger, clock
"""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from distribution.analyser import Analyser
from distribution.bounds import require
from distribution.channels.arm import ArmConditions, ArmCourse, AttenuatedCourse, ConstantCourse
from distribution.channels.fibre import Fibre
from distribution.channels.freespace import FreeSpace
from distribution.channels.satellite import SatellitePass
from distribution.detector import Detectors, Tagger, per_detector
from distribution.errors import ParameterError
from distribution.outcomes import LinkOptics, SideOptics
from distribution.source import PairSource
from distribution.station_clock import StationClock
from distribution.units import loss_db_to_transmittance


class Station(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm of the link and the station at its end.

    Attributes:
        loss_db: from the source to the analyser's detectors, which add their own efficiency; beside the channel's,
            and not met by the channel's background.
        channel: what lies in between; None: nothing but that loss.
        analyser, detectors, tagger, clock: what stands there.
    """

    loss_db: float = 0.0
    channel: Fibre | FreeSpace | SatellitePass | None = None
    analyser: Analyser = Analyser()
    detectors: Detectors = Detectors()
    tagger: Tagger = Tagger()
    clock: StationClock = StationClock()

    def __post_init__(self) -> None:
        require("loss_db", self.loss_db, 0.0, 200.0)
        self.detectors.check_count(self.analyser.detectors)

    def course(self, rng: np.random.Generator) -> ArmCourse:
        """The arm as time goes on; equal generators give equal courses."""
        transmittance = loss_db_to_transmittance(self.loss_db)
        if self.channel is None:
            return ConstantCourse(ArmConditions(transmittance=transmittance))
        return AttenuatedCourse(self.channel.start(rng), transmittance)

    @property
    def efficiencies(self) -> npt.NDArray[np.float64]:
        """Efficiency of the detector behind each channel, shape (channels,)."""
        return per_detector(self.detectors.efficiency, self.analyser.detectors)[self.analyser.owner]

    def optics(self, arm: ArmConditions, heralding: float = 1.0, basis: int | None = None) -> SideOptics:
        """Analyser and detectors as one photon sees them.

        Args:
            arm: what the arm is like.
            heralding: chance that the photon gets into the arm.
            basis: where an active analyser is turned to; None: passive, all bases at once.
        """
        analyser, bases = self.analyser, self.analyser.bases
        noise = self.detectors.noise_cps(analyser.detectors)[analyser.owner]
        share = np.array([setting.share for setting in bases])
        if analyser.active:
            # Turned to one basis, all light and all dark counts are its two channels'.
            share = np.zeros(len(bases))
            share[basis or 0] = 1.0
            noise = noise * np.repeat(share, 2)
        return SideOptics(
            share=share,
            axis=np.array([setting.axis for setting in bases]),
            efficiency=self.efficiencies * (arm.transmittance * heralding),
            noise_cps=noise + arm.background_cps * np.repeat(share, 2) / 2.0 * self.efficiencies,
        )


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entangled-pair link.

    Attributes:
        title: what it is.
        source: where the numbers come from.
        pairs: the pair source.
        alice, bob: the two stations.
    """

    title: str
    source: str
    pairs: PairSource
    alice: Station = Station()
    bob: Station = Station()

    def with_extra_loss(self, *, alice_db: float = 0.0, bob_db: float = 0.0) -> Scenario:
        """The same link with more (negative: less) loss in its arms; noise at the detectors stays."""
        replace = msgspec.structs.replace
        return replace(
            self,
            alice=replace(self.alice, loss_db=self.alice.loss_db + alice_db),
            bob=replace(self.bob, loss_db=self.bob.loss_db + bob_db),
        )

    def optics(self, alice: ArmConditions, bob: ArmConditions, bases: tuple[int, int] = (0, 0)) -> LinkOptics:
        """What is between the source and the clicks while the arms are like this.

        Args:
            alice, bob: the arms.
            bases: where active analysers are turned to.
        """
        return LinkOptics(
            self.pairs.quantum_state.mapped(alice=alice.polarisation, bob=bob.polarisation),
            self.alice.optics(alice, self.pairs.heralding_a, bases[0]),
            self.bob.optics(bob, self.pairs.heralding_b, bases[1]),
        )

    @property
    def basis_choices(self) -> list[tuple[int, int]]:
        """All bases that two active analysers can be turned to; a passive one counts as one."""
        alice, bob = (len(s.analyser.bases) if s.analyser.active else 1 for s in (self.alice, self.bob))
        return list(itertools.product(range(alice), range(bob)))


def shipped_directory() -> Path:
    """Where the shipped scenarios are: beside this module in a wheel, at the top level in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "scenarios"
    return installed if installed.is_dir() else here.parent / "scenarios"


def shipped_scenarios() -> list[str]:
    """Names of the shipped link scenarios."""
    return sorted(path.stem for path in shipped_directory().glob("*.toml") if "pairs" in _table(path))


def load_scenario(path_or_name: str | Path) -> Scenario:
    """Read a scenario.

    Args:
        path_or_name: a TOML file, or the name of a shipped scenario without its suffix.

    Raises:
        ParameterError: no such scenario, not TOML, a key that is unknown or missing, a value out of bounds.
            The message names the file and the key.
    """
    path = Path(path_or_name)
    if not path.is_file() and path.name == str(path_or_name) and not path.suffix:
        path = shipped_directory() / f"{path_or_name}.toml"
    if not path.is_file():
        raise ParameterError(
            f"no scenario {path_or_name}",
            hint=f"give a TOML file or one of: {', '.join(shipped_scenarios())}",
        )
    try:
        return msgspec.convert(_table(path), Scenario)
    except msgspec.ValidationError as error:
        raise ParameterError(f"{path}: {str(error).replace('`$.', '`')}") from error


def _table(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path}: not TOML: {error}") from error
