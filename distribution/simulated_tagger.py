"""The child process behind the driver `simulator`: simulates a link and writes one station's feed to its output.

    python -m distribution.simulated_tagger ORDER

ORDER is the JSON of an `Order`. It ends when its output is closed. What it cannot do it says in one line on stderr.
"""

from __future__ import annotations

import os
import sys
import time
from typing import IO

import msgspec
import numpy as np

from distribution.eavesdroppers.intercept import InterceptResend
from distribution.errors import QkdError
from distribution.feed import WORD_PS, FeedHeader, encode_end, encode_frame
from distribution.scenario import load_scenario
from distribution.simulate import LinkSimulator

STEP_S = 0.02


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to simulate; see `distribution.sources.simulator.SimulatorOptions`."""

    scenario: str
    seed: int
    station: str
    seconds: float
    pace: float
    intercept_fraction: float


def run(order: Order, out: IO[bytes]) -> None:
    """Write header and frames until the tagger ends or `out` is closed (BrokenPipeError).

    Raises:
        ParameterError: an impossible scenario.
    """
    scenario = load_scenario(order.scenario)
    simulator = LinkSimulator(scenario, np.random.default_rng(order.seed), InterceptResend(order.intercept_fraction))
    clock = f"seed {order.seed}"
    out.write(FeedHeader(order.station, f"simulated: {scenario.title}", simulated=True, clock=clock).encode())
    begin_s, done = time.monotonic(), 0
    while not order.seconds or done * STEP_S < order.seconds:
        both = simulator.advance(STEP_S)
        done += 1
        if order.station == "alice":
            tags, horizon_ps = both.alice, both.alice_horizon_ps
        else:
            tags, horizon_ps = both.bob, both.bob_horizon_ps
        out.write(encode_frame(tags, horizon_ps - WORD_PS))
        out.flush()
        if order.pace:
            time.sleep(max(0.0, begin_s + done * STEP_S / order.pace - time.monotonic()))
    out.write(encode_end())
    out.flush()


def main() -> int:
    """Run the order of the command line; returns the exit code."""
    try:
        run(msgspec.json.decode(sys.argv[1], type=Order), sys.stdout.buffer)
    except (QkdError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except BrokenPipeError:
        # Nobody reads any more; python would complain once again while it closes its output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
