"""How fast the simulator makes time tags, from a plain link to one with every effect switched on.

An event is a tag handed out, at either station. The reference of each row is what anybody would write first: numpy
draws as many exponential gaps, adds them up, adds a Gaussian jitter and sorts; no detectors, no pairs, no dead time.
Both are timed by the processor time of this process, as they run on one core and wait for nothing.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.analyser import Analyser
from distribution.channels.arm import ArmConditions, ArmCourse
from distribution.detector import Afterpulsing, Detectors, Response, Tagger
from distribution.eavesdroppers.intercept import InterceptResend
from distribution.outcomes import Eavesdropper
from distribution.scenario import Scenario, Station
from distribution.simulate import LinkSimulator
from distribution.source import PairSource, Pulses, Statistics
from distribution.station_clock import ClockJump, StationClock
from qkd.benchmarks.result import Result, Row

REPEATS = 5
STRETCH_S = 0.05


@dataclass(frozen=True, slots=True)
class _Fading:
    """An arm whose loss swings by 3 dB, its delay drifting with it; `step_s` is how often it changes."""

    step_s: float
    dispersion_ps: float

    def at(self, t_s: float) -> ArmConditions:
        """See `distribution.channels.arm.ArmCourse`."""
        swing = 0.5 + 0.5 * math.sin(20.0 * math.pi * t_s)
        return ArmConditions(
            transmittance=0.5 * 10.0 ** (-0.3 * swing),
            background_cps=2_000.0 * swing,
            delay_ps=5e8 + 1e5 * t_s,
            delay_rate=1e-7,
            dispersion_ps=self.dispersion_ps,
        )


class _FadingStation(Station, frozen=True, kw_only=True):
    """A station behind such an arm."""

    step_s: float = 0.01
    dispersion_ps: float = 20.0

    def course(self, rng: np.random.Generator) -> ArmCourse:
        """See Station."""
        return _Fading(self.step_s, self.dispersion_ps)


def plain() -> Scenario:
    """A continuous source and two stations of four detectors, no more: 3.2e6 tags a second."""
    station = Station(loss_db=6.0, detectors=Detectors(efficiency=0.8, response=Response(sigma_ps=60.0)))
    return Scenario(title="plain", source="", pairs=PairSource(pairs_per_s=8e6), alice=station, bob=station)


def everything(*, slot_ns: float | None = None, pulses: Pulses | None = None, step_s: float = 0.01) -> Scenario:
    """Every effect at once: see the fields.

    Args:
        slot_ns: of active analysers; None: passive ones.
        pulses: of the pump; None: continuous.
        step_s: how often the arms change.
    """
    clock = StationClock(
        offset_s=0.1, drift_ppm=3.0, drift_rate_ppb_per_s=1.0, walk_ppb=1.0, jumps=(ClockJump(at_s=0.5, step_ps=5_000),)
    )
    four = slot_ns is None
    detectors = Detectors(
        efficiency=(0.8, 0.75, 0.78, 0.7) if four else (0.8, 0.75),
        dark_cps=500.0,
        background_cps=1_000.0,
        dead_ns=30.0,
        recovery_ns=10.0,
        delay_ps=(0.0, 20.0, -15.0, 30.0) if four else (0.0, 20.0),
        response=Response(sigma_ps=60.0, tail_fraction=0.1, tail_ps=200.0),
        afterpulsing=Afterpulsing(probability=0.02, decay_ns=(30.0, 200.0), share=(0.5, 0.5)),
    )
    station = _FadingStation(
        step_s=step_s,
        analyser=Analyser(z_share=0.6, z_error_deg=1.0, x_error_deg=-2.0, slot_ns=slot_ns),
        detectors=detectors,
        tagger=Tagger(resolution_ps=3.90625, max_rate_cps=5e7),
        clock=clock,
    )
    pairs = PairSource(pairs_per_s=8e6, visibility_z=0.97, visibility_x=0.96, pulses=pulses)
    return Scenario(title="everything", source="", pairs=pairs, alice=station, bob=station)


def measure(seconds: float = 1.0) -> Result:
    """Rows for five links, and the headline: every effect on, a passive analyser.

    Args:
        seconds: simulated time per repeat.
    """
    eve = InterceptResend(0.1)
    thermal = Pulses(rate_hz=80e6, width_ps=10.0, statistics=Statistics.THERMAL)
    rows = (
        _row("plain, continuous", plain(), None, seconds),
        _row("every effect, passive analysers", everything(), eve, seconds),
        _row("every effect, passive analysers, arms that change at 1 kHz", everything(step_s=0.001), eve, seconds),
        _row("every effect, active analysers", everything(slot_ns=1_000.0), eve, seconds),
        _row("every effect, thermal pulses", everything(pulses=thermal), eve, seconds),
    )
    return Result(headline={"mevents_per_s": rows[1].value}, rows=rows)


def _row(case: str, scenario: Scenario, eve: Eavesdropper | None, seconds: float) -> Row:
    simulator = LinkSimulator(scenario, np.random.default_rng(1), eve)
    simulator.advance(STRETCH_S)  # compiles, and fills the pipeline
    events, spent, naive = 0, [], []
    for _ in range(REPEATS):
        start = time.process_time()
        n = max(1, _run(simulator, seconds))
        middle = time.process_time()
        _naive(n)
        spent.append((middle - start) / n)
        naive.append((time.process_time() - middle) / n)
        events += n
    return Row(
        case=case,
        value=1e-6 / statistics.median(spent),
        unit="Mevents/s",
        reference=1e-6 / statistics.median(naive),
        against="numpy: as many exponential gaps, cumsum, jitter, sort",
        details={"events": events, "events_per_repeat": events / REPEATS},
    )


def _run(simulator: LinkSimulator, seconds: float) -> int:
    """Tags made in some time, taken in stretches as a live source takes them."""
    stretches = [simulator.advance(STRETCH_S) for _ in range(math.ceil(seconds / STRETCH_S - 1e-9))]
    return sum(len(stretch.alice) + len(stretch.bob) for stretch in stretches)


def _naive(n: int) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(2)
    return np.sort(np.cumsum(rng.exponential(1e6, n)) + rng.normal(0.0, 60.0, n))
