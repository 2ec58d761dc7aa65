"""Runner for whole transcripts: one engine, its own tags and secrets, and the peer's words from the record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from distribution.formats.s15 import decode_words
from distribution.sources.replay import Replay as TagReplay
from qkd import roles
from qkd.bbm92 import Outcome
from qkd.exchange import handshake
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role, Steps
from qkd.exchange.transcript import Transcript
from qkd.knownanswers.frame import Answer, Json, Mismatch, Runner
from qkd.randomness import FixedBits
from qkd.session import SessionParameters
from qkd.station import station_for
from qkd.testing import MemoryVault, flip
from qkd.transport.replay import Replay, Said


@dataclass(frozen=True, slots=True)
class Recording:
    """What a transcript vector gives to both roles.

    Attributes:
        params: of the session. tags: a1 words of each station. pre_shared: the initial secret, hex.
        labels: of each station's `FixedBits`.
        said: every message.
    """

    params: SessionParameters
    tags: dict[Role, bytes]
    pre_shared: bytes
    labels: dict[Role, str]
    said: list[Said]

    @classmethod
    def of(cls, group: Json) -> Recording:
        """From a group of a vector file."""
        inputs, randomness = group["parameters"], group["randomness"]
        return cls(
            msgspec.convert(inputs["session"], SessionParameters),
            {role: bytes.fromhex(inputs["tags"][role.value]) for role in Role},
            bytes.fromhex(randomness["preSharedSecret"]),
            {role: randomness["labels"][role.value] for role in Role},
            [Said(Role(message["sender"]), bytes.fromhex(message["encoded"])) for message in inputs["messages"]],
        )


def play(recording: Recording, role: Role, *, exact: bool = True) -> tuple[Outcome, Transcript]:
    """Handshake and one block of one role against the recording.

    Raises:
        RecordingDiffers: it says something else. QkdError: what the role raises.
    """
    secrets, vault = FixedBits(recording.labels[role]), MemoryVault(recording.pre_shared)
    station = station_for(role, recording.params, secrets)
    replay, transcript = Replay(recording.said, exact=exact), Transcript()
    hello = handshake.alice if role is Role.ALICE else handshake.bob
    start = replay.drive(Engine(role, hello(recording.params, vault, secrets, simulated=True), transcript))
    number = start.next_block
    steps: Steps[Outcome] = (
        roles.alice(station, recording.params, secrets, vault, start, number, transcript)
        if role is Role.ALICE
        else roles.bob(station, recording.params, secrets, vault, start, number, transcript)
    )
    source = TagReplay(decode_words(recording.tags[role]), simulated=True)
    outcome = replay.drive(Engine(role, steps, transcript), source)
    if not replay.ended:
        raise Mismatch("the role has finished, but the recording goes on")
    if vault.committed != number:
        raise Mismatch(f"block {number} was not committed")
    return outcome, transcript


def _transcript(group: Json, test: Json) -> Answer:
    recording, role = Recording.of(group), Role(test["role"])
    if "altered" in test:
        _alter(recording, role, **test["altered"])
    outcome, transcript = play(recording, role, exact="altered" not in test)
    block = outcome.block
    # The key of a published vector is nobody's secret.
    return Answer(
        {
            "key": block.key.hex(),
            "keySha256": hashlib.sha256(block.key).hexdigest(),
            "secretBits": block.bits,
            "refillAlice": block.refill_alice,
            "refillBob": block.refill_bob,
            "sessionId": block.session_id.hex(),
            "transcriptSha256": transcript.digest(),
        },
        {
            "siftedZ": block.report.sifted_z,
            "siftedX": block.report.sifted_x,
            "errorsZ": block.report.errors_z,
            "errorsX": block.report.errors_x,
            "leakEcBits": block.report.leak_ec_bits,
            "phaseErrorsZ": block.report.phase_errors_z,
            "phaseErrorsX": block.report.phase_errors_x,
        },
    )


def _alter(recording: Recording, role: Role, *, message: int, bit: int) -> None:
    """Invert one bit of a message on its way to a role."""
    sent = recording.said[message]
    if sent.sender is role:
        raise Mismatch(f"message {message} is not one that {role.value} receives")
    (encoded,) = flip(bit)(sent.encoded)
    recording.said[message] = Said(sent.sender, encoded)


RUNNERS: dict[str, Runner] = {"TranscriptTest": _transcript}
