"""A simulated tagger: one half of a simulated link, in a process of its own that a station can only read from.

The link is simulated by a child (`distribution.simulated_tagger`), which sends this station's tags through a pipe in
the feed format. Neither the other station's tags nor the truth ever enter the station's process. Two stations that are
given the same scenario and seed get matching halves of one link. A simulated tagger waits for its reader: it drops
nothing, and `pace` is the most simulated seconds it gives per second.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

import distribution
from distribution.bounds import require
from distribution.delivery import Driver, Site
from distribution.errors import FeedError, ParameterError, TagFormatError
from distribution.feed import MAX_HEADER_BYTES, FeedHeader, FrameReader
from distribution.inbox import InboxSource, TagInbox

CHILD = "distribution.simulated_tagger"
LEAST_PACE, LARGEST_PACE = 0.01, 1e6
# A child imports numpy and numba and may have to compile kernels before it says its first word.
START_S = 120.0
TIMEOUT_S = 30.0
GRACE_S = 2.0


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the driver `simulator`.

    Attributes:
        scenario: a scenario file, or the name of a shipped one.
        seed: the same at both stations.
        seconds: the tagger ends after so much simulated time; 0 = never.
        pace: simulated seconds per second at most; 0 = as fast as it is asked for.
        intercept_fraction: share of the photons on Bob's arm that an eavesdropper intercepts and resends.
    """

    scenario: str
    seed: int
    seconds: float = 0.0
    pace: float = 1.0
    intercept_fraction: float = 0.0

    def __post_init__(self) -> None:
        require("seed", self.seed, 0, 1 << 62)
        require("seconds", self.seconds, 0.0, 1e7)
        require("pace", self.pace, 0.0, LARGEST_PACE)
        if 0 < self.pace < LEAST_PACE:
            raise ParameterError(f"pace = {self.pace} must be 0 or in {LEAST_PACE} .. {LARGEST_PACE}")
        require("intercept_fraction", self.intercept_fraction, 0.0, 1.0)


class SimulatedTagger(InboxSource):
    """The station's end of the pipe; see TagSource.

    Args:
        options: what to simulate.
        site: for whom.

    Raises:
        FeedError: the child cannot be started, or refuses (an impossible scenario).
    """

    simulated = True

    def __init__(self, options: SimulatorOptions, site: Site) -> None:
        scenario = site.folder / options.scenario
        named = str(scenario.resolve()) if scenario.is_file() else options.scenario
        order = msgspec.json.encode({**msgspec.structs.asdict(options), "scenario": named, "station": site.station})
        # The child must be of this very installation, wherever it is started: -P, and our own folder first.
        places = [str(Path(distribution.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self._child = subprocess.Popen(  # noqa: S603  # our own module, by the running interpreter
            [sys.executable, "-P", "-m", CHILD, order.decode()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=1 << 20,
        )
        assert self._child.stdout is not None
        self._pipe = self._child.stdout
        self._greet(site)
        self._inbox = TagInbox("the simulated tagger", timeout_s=TIMEOUT_S, waits=True)
        self._frames = FrameReader(self._pipe.read)
        threading.Thread(target=self._read, name=f"simulator-{site.station}", daemon=True).start()

    def _greet(self, site: Site) -> None:
        """Wait for the header line, which comes when the scenario is sound."""
        ready, _, _ = select.select([self._pipe], [], [], START_S)
        try:
            line = self._pipe.readline(MAX_HEADER_BYTES) if ready else b""
            if not line:
                raise self._death()
            if FeedHeader.decode(line).station != site.station:
                raise FeedError(f"the simulated tagger is not {site.station}'s")
        except FeedError:
            self._stop()
            raise

    def close(self) -> None:
        """Stop the child."""
        super().close()
        self._stop()

    def _read(self) -> None:
        try:
            while not self._inbox.closed:
                self._inbox.wait_for_room()
                frame = self._frames.next_frame()
                if frame.ended:
                    return self._inbox.end()
                self._inbox.put(frame.tags, frame.horizon_ps)
        except (EOFError, ValueError):
            self._inbox.fail(self._death())
        except (OSError, FeedError, TagFormatError) as error:
            self._inbox.fail(error)

    def _death(self) -> FeedError:
        """The child stopped: its last line says why. It says little, so its pipe never fills up."""
        self._stop()
        assert self._child.stderr is not None
        words = self._child.stderr.read().decode(errors="replace").strip().splitlines()
        return FeedError(f"the simulated tagger stopped: {words[-1] if words else 'it said nothing'}")

    def _stop(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


DRIVER = Driver(SimulatorOptions, SimulatedTagger, "one half of a simulated link, in a process of its own")
