"""The frame of a vector file, its JSON Schema, and how both are written: C2SP wycheproof's, adapted to a pipeline.

A generator builds tests with `case`, groups with `group` and the file with `document`; a schema is put together from
`obj` and the constants below, `additionalProperties` false throughout. `render` lays both out: two spaces, keys in
the order given, lists of scalars on as few lines as 120 columns allow.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Json = dict[str, Any]

VALID = "valid"
COLUMNS = 120

# Schema pieces.
HEX: Json = {"type": "string", "pattern": "^([0-9a-f]{2})*$"}
SHA256: Json = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
NATURAL: Json = {"type": "integer", "minimum": 0}
INTEGER: Json = {"type": "integer"}
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
BOOLEAN: Json = {"type": "boolean"}
BIT: Json = {"enum": [0, 1]}


@dataclass(frozen=True)
class Flag:
    """What a flag of a test means; wycheproof's notes."""

    bug_type: str
    description: str
    effect: str
    links: tuple[str, ...] = ()

    def json(self) -> Json:
        return {
            "bugType": self.bug_type,
            "description": self.description,
            "effect": self.effect,
            "links": list(self.links),
        }


@dataclass(frozen=True)
class GroupSchema:
    """What the groups of one type hold: schemas of parameters, randomness, a test's inputs, its answer."""

    type: str
    inputs: Json
    expected: Json
    parameters: Json = field(default_factory=dict)
    randomness: Json = field(default_factory=dict)
    intermediate: Json = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Who or what computed the expected values."""

    name: str
    version: str
    reference: str

    def json(self) -> Json:
        return {"name": self.name, "version": self.version, "reference": self.reference}


def case(
    comment: str,
    inputs: Json,
    expected: Json | None = None,
    *,
    flags: Sequence[str] = (),
    intermediate: Json | None = None,
    result: str = VALID,
) -> Json:
    """One test; `document` numbers it."""
    return {
        "tcId": 0,
        "comment": comment,
        "flags": list(flags),
        **inputs,
        **({"intermediate": intermediate} if intermediate else {}),
        "expected": expected or {},
        "result": result,
    }


def group(kind: str, tests: Sequence[Json], *, parameters: Json | None = None, randomness: Json | None = None) -> Json:
    """Tests that share parameters and randomness."""
    return {"type": kind, "parameters": parameters or {}, "randomness": randomness or {}, "tests": list(tests)}


def document(
    algorithm: str, schema: str, source: Source, header: str, notes: dict[str, Flag], groups: Sequence[Json]
) -> Json:
    """The whole file, tests numbered from 1, notes reduced to none that are unused."""
    tests = [test for each in groups for test in each["tests"]]
    for number, test in enumerate(tests, 1):
        test["tcId"] = number
    used = {flag for test in tests for flag in test["flags"]}
    unused = notes.keys() ^ used
    assert not unused, f"{algorithm}: flags used and flags explained differ by {sorted(unused)}"
    return {
        "algorithm": algorithm,
        "schema": schema,
        "source": source.json(),
        "header": textwrap.wrap(" ".join(header.split()), COLUMNS - 8),
        "notes": {name: flag.json() for name, flag in sorted(notes.items())},
        "numberOfTests": len(tests),
        "testGroups": list(groups),
    }


def bits(values: Sequence[int] | np.ndarray) -> Json:
    """Bits as {"bitLength", "bits"}, packed here by the obvious loop."""
    flat = [int(b) for b in values]
    packed = bytearray((len(flat) + 7) // 8)
    for i, bit in enumerate(flat):
        packed[i // 8] |= bit << (7 - i % 8)
    return {"bitLength": len(flat), "bits": bytes(packed).hex()}


def pack(values: Sequence[int] | np.ndarray) -> bytes:
    """The same packing as bytes."""
    return bytes.fromhex(bits(values)["bits"])


def obj(properties: Json, optional: Sequence[str] = ()) -> Json:
    """Schema of an object with exactly these keys."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def array(items: Json) -> Json:
    """Schema of a list."""
    return {"type": "array", "items": items}


BITS: Json = obj({"bitLength": NATURAL, "bits": HEX})


def file_schema(algorithm: str, title: str, groups: Sequence[GroupSchema]) -> Json:
    """JSON Schema (2020-12) of a vector file whose groups are of the given types."""
    note = obj({"bugType": TEXT, "description": TEXT, "effect": TEXT, "links": array(TEXT)})
    body = obj(
        {
            "algorithm": {"const": algorithm},
            "schema": {"type": "string", "pattern": "\\.v1\\.schema\\.json$"},
            "source": obj({"name": TEXT, "version": TEXT, "reference": TEXT}),
            "header": array(TEXT),
            "notes": {"type": "object", "additionalProperties": note},
            "numberOfTests": {"type": "integer", "minimum": 1},
            "testGroups": array(_by_type(groups)),
        }
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **body}


def _by_type(groups: Sequence[GroupSchema]) -> Json:
    """A group is what its type says; spelt with if/then because a validator then names what is wrong."""
    if len(groups) == 1:
        return _group_schema(groups[0])
    return {
        "type": "object",
        "properties": {"type": {"enum": [of.type for of in groups]}},
        "required": ["type"],
        "allOf": [{"if": {"properties": {"type": {"const": of.type}}}, "then": _group_schema(of)} for of in groups],
    }


def _group_schema(of: GroupSchema) -> Json:
    return obj(
        {
            "type": {"const": of.type},
            "parameters": obj(of.parameters),
            "randomness": obj(of.randomness),
            "tests": array(_test_schema(of)),
        }
    )


def _test_schema(of: GroupSchema) -> Json:
    """A valid test answers in full; one that must raise answers nothing."""
    properties: Json = {
        "tcId": {"type": "integer", "minimum": 1},
        "comment": TEXT,
        "flags": array(TEXT),
        **of.inputs,
        **({"intermediate": obj(of.intermediate)} if of.intermediate else {}),
        "expected": {"type": "object"},
        "result": {"enum": [VALID, *of.errors]},
    }
    answer = {"properties": {"expected": obj(of.expected)}}
    if of.intermediate:
        answer["required"] = ["intermediate"]  # type: ignore[assignment]
    return {
        **obj(properties, ("intermediate", *of.optional)),
        "if": {"properties": {"result": {"const": VALID}}},
        "then": answer,
        "else": {"properties": {"expected": obj({})}, "not": {"required": ["intermediate"]}},
    }


def render(value: object) -> str:
    """A file's text."""
    return _render(value, 0) + "\n"


def _render(value: object, depth: int) -> str:
    inner, outer = "  " * (depth + 1), "  " * depth
    if isinstance(value, dict) and value:
        one_line = json.dumps(value, ensure_ascii=False)
        if set(value) == {"bitLength", "bits"} and len(one_line) < COLUMNS - len(outer) - 20:
            return one_line
        lines = [f"{inner}{json.dumps(key)}: {_render(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    if isinstance(value, list) and value:
        if all(isinstance(item, int | float | bool) for item in value):
            return _scalars(value, inner, outer)
        return "[\n" + ",\n".join(inner + _render(item, depth + 1) for item in value) + f"\n{outer}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _scalars(values: list[Any], inner: str, outer: str) -> str:
    one_line = ", ".join(json.dumps(v) for v in values)
    if len(outer) + len(one_line) + 30 <= COLUMNS:
        return f"[{one_line}]"
    return "[\n" + textwrap.fill(one_line, COLUMNS, initial_indent=inner, subsequent_indent=inner) + f"\n{outer}]"
