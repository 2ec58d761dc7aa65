"""The clocks of two stations, from their detection times alone: `acquire` finds them, `ClockTracker` follows them.

Read on in the order of the search: `acquisition` (the whole of it), `search` (where pairs may be), `ridge` and `fit`
(from there to picoseconds), `verdict` (whether it is true), `tracker` and `servo` (along the run), `model` (the map).
"""

from distribution.clock.acquisition import FALSE_ALARM_LIMIT, acquire
from distribution.clock.model import Acquisition, ClockModel, KnownClock
from distribution.clock.tracker import ClockTracker

__all__ = ["FALSE_ALARM_LIMIT", "Acquisition", "ClockModel", "ClockTracker", "KnownClock", "acquire"]
