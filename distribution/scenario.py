"""A link as a TOML file: source, two arms, detectors and clocks, every bound checked, no key unknown.

title  = "..."            what it is, for people
source = "..."            where the numbers come from
[pairs]                   PairSource
[alice] [bob]             Station: loss_db, and tables analyser, detectors (with response), clock
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from distribution.bounds import require
from distribution.channel import Analyser, outcome_table
from distribution.detector import Detectors, StationClock, four
from distribution.eavesdropper import InterceptResend
from distribution.errors import ParameterError
from distribution.source import PairSource
from distribution.units import loss_db_to_transmittance


class Station(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm of the link and the station at its end.

    Attributes:
        loss_db: from the source to the analyser's detectors, which add their own efficiency.
        analyser, detectors, clock: what stands there.
    """

    loss_db: float = 0.0
    analyser: Analyser = Analyser()
    detectors: Detectors = Detectors()
    clock: StationClock = StationClock()

    def __post_init__(self) -> None:
        require("loss_db", self.loss_db, 0.0, 200.0)

    @property
    def efficiencies(self) -> tuple[float, ...]:
        """Chance per detector that a photon bound for it at the source makes it click."""
        transmittance = loss_db_to_transmittance(self.loss_db)
        return tuple(transmittance * efficiency for efficiency in four(self.detectors.efficiency))


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

    def outcomes(self, intercept_fraction: float = 0.0) -> npt.NDArray[np.float64]:
        """Joint outcome probabilities of one emitted pair, shape (5, 5): see `outcome_table`."""
        return outcome_table(
            InterceptResend(self.pairs.quantum_state, intercept_fraction),
            self.alice.analyser,
            self.bob.analyser,
            self.alice.efficiencies,
            self.bob.efficiencies,
        )


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
