"""Known-answer vectors, made from the reference implementations: `qkd vectors make` calls this, tests compare with it.

Expected values never come from the code that they test where a reference exists; the one exception, the full
transcript, says so in its `source`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.vectormaker import bell, cascade, coding, finitekey, hashing, ldpc, recordings, sifting, transcript
from tests.vectormaker.frame import render

Json = dict[str, Any]

SCHEMAS: dict[str, Json] = {
    "expansion": coding.EXPANSION_SCHEMA,
    "ascending": coding.ASCENDING_SCHEMA,
    "messages": coding.MESSAGES_SCHEMA,
    "a1": coding.A1_SCHEMA,
    "native": recordings.NATIVE_SCHEMA,
    "qcrypto": recordings.QCRYPTO_SCHEMA,
    "clicks": sifting.CLICKS_SCHEMA,
    "coincidence": sifting.COINCIDENCE_SCHEMA,
    "sifting": sifting.SIFTING_SCHEMA,
    "sample": sifting.SAMPLE_SCHEMA,
    "cascade": cascade.SCHEMA,
    "ldpc": ldpc.SCHEMA,
    "verification": hashing.VERIFICATION_SCHEMA,
    "privacy": hashing.PRIVACY_SCHEMA,
    "poly1305": hashing.POLY1305_SCHEMA,
    "authentication": hashing.TAG_SCHEMA,
    "finite-key": finitekey.SCHEMA,
    "transcript": transcript.SCHEMA,
    "bell-key": bell.SCHEMA,
}

STAGES: dict[str, dict[str, Callable[[], Json]]] = {
    "expansion": {"expansion_chacha20": coding.expansion},
    "codec": {"codec_ascending": coding.ascending, "codec_messages": coding.messages},
    "a1": {"a1_words": coding.a1},
    "native": {"native_files": recordings.native},
    "qcrypto": {"qcrypto_packets": recordings.qcrypto_streams},
    "sifting": {
        "sifting_clicks": sifting.clicks,
        "sifting_coincidences": sifting.coincidences,
        "sifting_block": sifting.block,
    },
    "estimation": {"estimation_sample": sifting.sample},
    "cascade": {"cascade_small": cascade.small, "cascade_accumulated": cascade.accumulated},
    "ldpc": {"ldpc_small": ldpc.small},
    "verification": {"verification_tags": hashing.verification},
    "privacy": {"privacy_small": hashing.privacy_small, "privacy_accumulated": hashing.privacy_accumulated},
    "auth": {"auth_poly1305": hashing.poly1305_file, "auth_context": hashing.tags},
    "finite-key": {"finite_key_exact": finitekey.exact},
    "transcript": {"bbm92": transcript.full},
    "bell-key": {"bell_phase_errors": bell.bounds},
}


def make(stage: str) -> dict[str, str]:
    """The files of one stage, or "schema": path below the vectors' folder to text."""
    if stage == "schema":
        return {f"schema/{name}.v1.schema.json": render(schema) for name, schema in SCHEMAS.items()}
    return {f"{stage}/{name}.json": render(build()) for name, build in STAGES[stage].items()}
