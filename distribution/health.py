"""What a tag source counts about itself: nothing that went wrong on the way to the station may go unseen.

events + skipped + dropped + late, and what still waits, are all the detections that anybody knows of.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHealth:
    """Running totals of one source; those of several add up.

    Attributes:
        events: tags handed out.
        gaps: stretches in which tags are missing; each was, or will be, told in a chunk's `gaps`.
        missing_ps: their lengths, added up.
        overflows: gaps because the tagger's own buffer overran.
        reconnects: times that the line to the tagger was mended.
        dropped: tags that are known to be lost: by the tagger, or by us because nobody fetched them in time.
        skipped: tags that `skip_backlog` dropped on purpose.
        late: tags that came after their time had been handed out, and had to be dropped.
    """

    events: int = 0
    gaps: int = 0
    missing_ps: int = 0
    overflows: int = 0
    reconnects: int = 0
    dropped: int = 0
    skipped: int = 0
    late: int = 0

    def __add__(self, other: SourceHealth) -> SourceHealth:
        return SourceHealth(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})
