"""Runners for clicks, coincidences, sifting and the sample: from two stations' tags to bits."""

from __future__ import annotations

import numpy as np

from distribution.clock import ClockTracker
from distribution.clock.model import ClockModel
from distribution.coincidence import match
from distribution.sources.replay import Replay
from distribution.states import Basis, BellState
from distribution.tags import TimesPs, TimeTags
from qkd import estimation, sifting
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.knownanswers.frame import Answer, Conversation, GivenBits, Json, Mismatch, Runner, bits_json, bits_of, integers
from qkd.session import SessionParameters
from qkd.sifting import SiftedBlock
from qkd.station import Station, group_clicks


class _GivenClock(ClockTracker):
    """A clock that is known and does not move; a vector states it."""

    def __init__(self, offset_ps: int) -> None:
        self._given = ClockModel(reference_ps=0, offset_ps=offset_ps)

    @property
    def model(self) -> ClockModel:
        """The given clock."""
        return self._given

    def align(self, a_ps: TimesPs, b_ps: TimesPs) -> TimesPs:
        """Bob's times on Alice's clock."""
        return self._given.to_alice(b_ps)


def _tags(test: Json) -> TimeTags:
    return TimeTags(integers(test["tPs"]), np.array(test["channel"], np.uint8))


def _clicks(group: Json, test: Json) -> Answer:
    events = group_clicks(_tags(test), group["parameters"]["doubleClickPs"], GivenBits(test["draws"]))
    return Answer(
        {
            "tPs": events.t_ps.tolist(),
            "basis": bits_json(events.basis),
            "bit": bits_json(events.bit),
            "doubleClicks": events.double_clicks,
        }
    )


def _coincidences(group: Json, test: Json) -> Answer:
    found = match(integers(test["aPs"]), integers(test["bPs"]), group["parameters"]["windowPs"])
    return Answer(
        {"indexA": found.index_a.tolist(), "indexB": found.index_b.tolist(), "ambiguous": int(found.ambiguous.sum())}
    )


def _session(parameters: Json) -> SessionParameters:
    return SessionParameters(
        state=BellState(parameters["state"]),
        window_ps=parameters["windowPs"],
        bin_ps=parameters["binPs"],
        double_click_ps=parameters["doubleClickPs"],
        epoch_s=parameters["epochS"],
    )


def _station(role: Role, parameters: Json) -> Station:
    station = Station(parameters["doubleClickPs"], GivenBits([""] * 64))
    if role is Role.ALICE:
        station.tracker = _GivenClock(parameters["clockOffsetPs"])
    return station


def _sifting(group: Json, test: Json) -> Answer:
    parameters, params = group["parameters"], _session(group["parameters"])
    talk = Conversation()
    at_alice, at_bob = talk.between(
        sifting.alice(_station(Role.ALICE, parameters), params),
        sifting.bob(_station(Role.BOB, parameters), params),
        Replay(_tags(test["alice"])),
        Replay(_tags(test["bob"])),
    )
    if not np.array_equal(at_alice.basis, at_bob.basis):
        raise Mismatch("the two stations kept events of different bases")
    return Answer(
        {
            "basis": bits_json(at_alice.basis),
            "aliceBits": bits_json(at_alice.bit),
            "bobBits": bits_json(at_bob.bit),
            "coincidences": at_alice.coincidences,
        },
        {"messages": [encoded.hex() for _, encoded in talk.messages]},
    )


def _sifting_hostile(group: Json, test: Json) -> Answer:
    """One role with its tags against scripted messages; only errors are expected of it."""
    role, params = Role(test["role"]), _session(group["parameters"])
    steps = (sifting.alice if role is Role.ALICE else sifting.bob)(_station(role, group["parameters"]), params)
    engine, source = Engine(role, steps, Transcript()), Replay(_tags(test["tags"]))
    for encoded in [None, *test["received"]]:
        if encoded is not None:
            engine.receive(bytes.fromhex(encoded))
        while engine.wants_tags is not None:
            engine.feed(source.until(engine.wants_tags.until_ps))
    return Answer({})


def _sample(group: Json, test: Json) -> Answer:
    params = SessionParameters(
        sample_fraction=group["parameters"]["sampleFraction"],
        qber_limit=group["parameters"]["qberLimit"],
        least_block_bits=1000,
    )
    talk = Conversation()
    at_alice, at_bob = talk.between(
        estimation.alice(_block(test["alice"]), params, GivenBits([group["randomness"]["seed"]])),
        estimation.bob(_block(test["bob"]), params),
    )
    counts = [(e.sample_z, e.sample_x, e.errors_z, e.errors_x) for e in (at_alice, at_bob)]
    if counts[0] != counts[1]:
        raise Mismatch(f"the two stations counted differently: {counts}")
    names = ("sampleZ", "sampleX", "errorsZ", "errorsX")
    return Answer(
        {
            **dict(zip(names, counts[0], strict=True)),
            "alice": {"z": bits_json(at_alice.z), "x": bits_json(at_alice.x)},
            "bob": {"z": bits_json(at_bob.z), "x": bits_json(at_bob.x)},
        },
        {"messages": [encoded.hex() for _, encoded in talk.messages]},
    )


def _block(strings: Json) -> SiftedBlock:
    z, x = bits_of(strings["z"]), bits_of(strings["x"])
    basis = np.repeat(np.array([Basis.Z.value, Basis.X.value], np.uint8), [z.size, x.size])
    return SiftedBlock(basis, np.concatenate([z, x]), basis.size, 0, basis.size, ended=True)


RUNNERS: dict[str, Runner] = {
    "ClicksTest": _clicks,
    "CoincidenceTest": _coincidences,
    "SiftingTest": _sifting,
    "SiftingHostileTest": _sifting_hostile,
    "SampleTest": _sample,
}
