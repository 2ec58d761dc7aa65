"""Side-channel monitors: what a station's own tags, and its matched pairs, say about leaks and about an active Eve.

    tags, pairs -> counts per interval (counts.py) -> judges on counts (one file a monitor) -> findings and alarms

Counting is streaming and does not depend on how a stream is cut; judging is a pure function of counts. `StationMonitor`
sees one station's tags, `PairMonitor` the delays of matched pairs with this station's own outcomes; neither changes
what is sifted, and nothing but counts and statistics leaves them.
"""
