"""Alice's and Bob's role in one block, whichever protocol the session runs: see `qkd.bbm92` and `qkd.e91`."""

from __future__ import annotations

from qkd import bbm92, e91
from qkd.bbm92 import Outcome
from qkd.block import Vault
from qkd.exchange.handshake import SessionStart
from qkd.exchange.steps import Steps
from qkd.exchange.transcript import Transcript
from qkd.protocols import Protocol
from qkd.randomness import SecretBits
from qkd.session import SessionParameters
from qkd.station import Station


def alice(
    station: Station,
    params: SessionParameters,
    secrets: SecretBits,
    vault: Vault,
    start: SessionStart,
    number: int,
    transcript: Transcript,
    round_trip_s: float = 0.0,
) -> Steps[Outcome]:
    """Alice's side of block `number`; arguments and errors as in `qkd.bbm92.alice`."""
    engine = bbm92 if params.protocol is Protocol.BBM92 else e91
    return engine.alice(station, params, secrets, vault, start, number, transcript, round_trip_s)


def bob(
    station: Station,
    params: SessionParameters,
    secrets: SecretBits,
    vault: Vault,
    start: SessionStart,
    number: int,
    transcript: Transcript,
) -> Steps[Outcome]:
    """Bob's side of block `number`."""
    engine = bbm92 if params.protocol is Protocol.BBM92 else e91
    return engine.bob(station, params, secrets, vault, start, number, transcript)
