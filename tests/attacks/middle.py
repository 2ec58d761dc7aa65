"""Eve with engines of her own between the stations: she does everything right, but has none of their keys.

She has even the recording of the station that she plays, which no physics would give her. Her roles are the stations'
own, with one change: she does not check the tags that she is sent.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from qkd import confirmation
from qkd.exchange.auth import PAD_BITS, check_tag
from qkd.exchange.messages import Tag
from qkd.exchange.steps import Role, Steps, receive
from qkd.link import Link, Side
from tests.attacks.sessions import LinkKind, Played, Watched, errors_noted
from tests.small_link import PRE_SHARED

KIND = LinkKind(name="Eve in the middle")


def against(victim: Role) -> Played:
    """A session of one station with Eve in the place of the other; `blocks` counts the victim's."""

    def check(vault: Any, role: Role, *rest: Any) -> Steps[int]:
        if role is victim:
            return (yield from check_tag(vault, role, *rest))
        yield from receive(Tag)
        return PAD_BITS

    played = Played()
    sides = dict(zip(Role, KIND.sides("", PRE_SHARED, played), strict=True))
    vaults = {role: Watched(role, PRE_SHARED if role is victim else bytes(len(PRE_SHARED)), played) for role in Role}
    for role, side in sides.items():
        vaults[role].peer = vaults[role.peer]
        sides[role] = Side(side.source, vaults[role], side.secrets, side.station)
    with errors_noted(played), mock.patch.object(confirmation, "check_tag", check):
        KIND.run(Link(KIND.params, sides[Role.ALICE], sides[Role.BOB]), played, vaults.values(), blocks=1)
    played.blocks = len(vaults[victim].blocks)
    return played
