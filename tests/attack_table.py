"""Every eavesdropper against every monitor, on the real simulator, and with them every attack there is.

`python -m tests.attack_table` prints this table; with `all`, the tables of docs/attacks.md; with `write`, it puts them
into the document.

Each row is one link, simulated for a second or two, its pairs found from the tags alone, and put before the monitors of
both stations. A link that changes on the way is two recordings, one after the other.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import msgspec
import numpy as np

from distribution.clock import ClockTracker, acquire
from distribution.eavesdroppers.blinding import Blinding
from distribution.eavesdroppers.intercept import InterceptResend
from distribution.eavesdroppers.middle import SourceInTheMiddle
from distribution.eavesdroppers.named import Attack, link_under
from distribution.eavesdroppers.timeshift import TimeShift
from distribution.monitors.finding import Finding, Watch
from distribution.monitors.limits import Limits
from distribution.monitors.recordings import watch_pairs
from distribution.scenario import Scenario, load_scenario
from distribution.simulate import simulate
from distribution.station_clock import StationClock
from distribution.tags import TimeTags, join
from distribution.units import seconds_to_ps

WINDOW_PS = 1000
LIMITS = Limits(interval_s=0.25, reference_events=20_000)


def metro(**of_bob: object) -> Scenario:
    """The shipped metropolitan link on one clock, with other detectors at Bob's."""
    link = load_scenario("metro")
    detectors = msgspec.structs.replace(link.bob.detectors, **of_bob)
    bob = msgspec.structs.replace(link.bob, detectors=detectors, clock=StationClock())
    return msgspec.structs.replace(link, bob=bob)


@dataclass(frozen=True, slots=True)
class Case:
    """A link, who is at work on it, and what should alarm."""

    name: str
    expected: frozenset[Watch]
    attack: Attack | None = None
    link: Scenario = field(default_factory=metro)
    seconds: float = 1.0
    honest_before_s: float = 0.0

    def tags(self, seed: int) -> tuple[TimeTags, TimeTags]:
        """Both stations' tags."""
        rng = np.random.default_rng(seed)
        attacked = simulate(link_under(self.attack, self.link), self.seconds, rng, self.attack)
        if not self.honest_before_s:
            return attacked.alice, attacked.bob
        honest = simulate(metro(), self.honest_before_s, rng)
        later = seconds_to_ps(self.honest_before_s)
        return _glued(honest.alice, attacked.alice, later), _glued(honest.bob, attacked.bob, later)

    def findings(self, seed: int = 1) -> list[Finding]:
        """What every monitor of both stations says."""
        alice, bob = self.tags(seed)
        clock = acquire(alice.t_ps, bob.t_ps, uncertainty_s=0.5, max_drift_ppm=10.0)
        aligned = ClockTracker(clock).align(alice.t_ps, bob.t_ps)
        watched = watch_pairs(alice, bob, aligned, WINDOW_PS, LIMITS)
        return [*watched.a, *watched.b, *watched.pairs_a, *watched.pairs_b]


def _glued(first: TimeTags, second: TimeTags, later_ps: int) -> TimeTags:
    # The simulator's first photon leaves at its time 0: what jitter made earlier belongs to the first part.
    return join(first.between(0, later_ps), TimeTags(second.t_ps + later_ps, second.channel).between(later_ps, 1 << 62))


CASES = (
    Case("nobody", frozenset()),
    Case("intercept-resend, all photons", frozenset(), InterceptResend(1.0)),
    Case(
        "time shift, 1 in 5 pairs, +-300 ps, efficiencies 1 : 1/2",
        frozenset({Watch.ARRIVAL_INFORMATION, Watch.TIME_SHIFT}),
        TimeShift(fraction=0.2),
    ),
    Case(
        "detectors skewed by 60 ps, nobody",
        frozenset({Watch.ARRIVAL_INFORMATION, Watch.TIME_SHIFT}),
        link=metro(delay_ps=(0.0, 60.0, 0.0, 60.0)),
    ),
    Case("source in the middle, 1 in 50 pairs", frozenset({Watch.DOUBLE_CLICKS}), SourceInTheMiddle(fraction=0.02)),
    Case(
        "blinded Bob, 1 in 50 faked states too bright",
        frozenset({Watch.DOUBLE_CLICKS}),
        Blinding(efficiency=0.2, double_share=0.02),
    ),
    Case("blinded Bob, Eve recovers in 80 ns", frozenset({Watch.BLINDING}), Blinding(efficiency=0.2, dead_ns=80.0)),
    Case("both blinded, a tenth of the time", frozenset({Watch.BLINDING}), Blinding(fraction=0.1, both=True)),
    Case(
        "blinded Bob, half as many clicks, begins after 1 s",
        frozenset({Watch.RATE_JUMP}),
        Blinding(efficiency=0.1),
        honest_before_s=1.0,
    ),
    Case(
        "one detector at 2/3 of its efficiency, nobody",
        frozenset({Watch.EFFICIENCY_MISMATCH}),
        link=metro(efficiency=(0.8, 0.53, 0.8, 0.8)),
    ),
    Case(
        "Z detectors at 4/5 of their efficiency after 1 s, nobody",
        frozenset({Watch.BIAS}),
        link=metro(efficiency=(0.64, 0.64, 0.8, 0.8)),
        honest_before_s=1.0,
    ),
)


def cell(findings: list[Finding], watch: Watch) -> str:
    """The strongest finding of one monitor: its statistic, bold where it alarms."""
    found = [f for f in findings if f.watch is watch]
    if not found:
        return "-"
    most = max(found, key=lambda f: (f.alarm, f.statistic))
    text = f"{max(most.statistic, 0.0):.3g}"
    return f"**{text}**" if most.alarm else text


def markdown(seed: int = 1) -> str:
    """The table."""
    lines = ["| link | " + " | ".join(w.value for w in Watch) + " |", "|---|" + "---|" * len(Watch)]
    for case in CASES:
        findings = case.findings(seed)
        lines.append(f"| {case.name} | " + " | ".join(cell(findings, w) for w in Watch) + " |")
    return "\n".join(lines)


def _main(what: list[str]) -> None:
    if not what:
        print(markdown())
        return
    from tests.attacks import document  # needs the cases above

    if what == ["write"]:
        document.DOCUMENT.write_text(document.written(document.DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        for make in document.TABLES.values():
            print(make(), end="\n\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
