"""The known-answer vectors: each test of each file, the files' form, and that the checker notices what is wrong."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numba
import pytest
from click.testing import CliRunner

from cli import vectors as cli_vectors
from cli.main import main
from distribution.formats.recording import Format
from distribution.formats.s15 import read_a1
from qkd.errors import QkdError
from qkd.exchange import handshake
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.knownanswers import RUNNERS, VALID, check_document, check_test
from qkd.knownanswers.transcript import Recording, play
from qkd.randomness import FixedBits
from qkd.testing import MemoryVault
from qkd.transport.replay import RecordingDiffers, Replay, Said
from tests import vectormaker
from tests.vectormaker import transcript as transcript_maker

Json = dict[str, Any]

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
FILES = [
    path.relative_to(FOLDER).as_posix() for path in sorted(FOLDER.glob("*/*.json")) if path.parent.name != "schema"
]
SCHEMAS = sorted(path.name for path in (FOLDER / "schema").glob("*.json"))
DOCUMENTS: dict[str, Json] = {name: json.loads((FOLDER / name).read_text(encoding="utf-8")) for name in FILES}
CASES = [
    pytest.param(group, test, id=f"{Path(name).stem}-{test['tcId']}")
    for name, document in DOCUMENTS.items()
    for group in document["testGroups"]
    for test in group["tests"]
]
SLOW_TO_MAKE = {"privacy", "finite-key"}  # 15 s and 10 s on one core
TRANSCRIPT = DOCUMENTS["transcript/bbm92.json"]["testGroups"][0]

every_file = pytest.mark.parametrize("name", FILES)


# ------------------------------------------------------------------------------------------------ every single test


@pytest.mark.parametrize(("group", "test"), CASES)
def test_vector(group: Json, test: Json) -> None:
    if numba.config.DISABLE_JIT and test.get("inputBits", 0) > 50_000:
        pytest.skip("a million points in plain Python")
    assert check_test(group, test) == ""


# ------------------------------------------------------------------------------------------------ the files' form


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_one_and_closed(name: str) -> None:
    schema = json.loads((FOLDER / "schema" / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    objects = [node for node in _nodes(schema) if node.get("type") == "object" and "properties" in node]
    assert objects
    # Where groups of several types meet, the if/then branches close the object, one for each type.
    opened = [node for node in objects if node.get("additionalProperties") is not False]
    assert all("allOf" in node for node in opened), opened


@every_file
def test_file_follows_its_schema(name: str) -> None:
    document = DOCUMENTS[name]
    schema = json.loads((FOLDER / "schema" / document["schema"]).read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    assert [f"{error.json_path}: {error.message[:200]}" for error in errors] == []


@every_file
def test_counts_numbers_and_flags(name: str) -> None:
    document = DOCUMENTS[name]
    tests = [test for group in document["testGroups"] for test in group["tests"]]
    assert document["numberOfTests"] == len(tests)
    assert [test["tcId"] for test in tests] == list(range(1, len(tests) + 1))
    assert {flag for test in tests for flag in test["flags"]} == set(document["notes"])
    assert len({test["comment"] for test in tests if test["result"] != VALID}) == sum(
        t["result"] != VALID for t in tests
    )


@every_file
def test_results_name_our_errors(name: str) -> None:
    ours = {kind.__name__ for kind in _subclasses(QkdError)}
    results = {test["result"] for group in DOCUMENTS[name]["testGroups"] for test in group["tests"]}
    assert results <= {VALID} | ours


def test_every_runner_and_schema_is_used_and_every_folder_explained() -> None:
    assert {group["type"] for document in DOCUMENTS.values() for group in document["testGroups"]} == set(RUNNERS)
    assert {document["schema"] for document in DOCUMENTS.values()} == set(SCHEMAS)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{Path(name).parent}`" in readme for name in FILES)


@pytest.mark.parametrize(
    "stage",
    [pytest.param(s, marks=pytest.mark.slow) if s in SLOW_TO_MAKE else s for s in ("schema", *vectormaker.STAGES)],
)
def test_files_are_what_the_maker_makes(stage: str) -> None:
    made = vectormaker.make(stage)
    assert {path.relative_to(FOLDER).as_posix() for path in (FOLDER / stage).glob("*.json")} == set(made)
    for path, text in made.items():
        assert (FOLDER / path).read_text(encoding="utf-8") == text, f"{path}: run `qkd vectors make {stage}`"


# --------------------------------------------------------------------------------------- a checker that can say no


@every_file
def test_a_wrong_expectation_is_noticed(name: str) -> None:
    """Every leaf of `expected` and `intermediate` of the smallest valid test that has any, one after the other."""
    candidates = [(g, t) for g in DOCUMENTS[name]["testGroups"] for t in g["tests"] if t["result"] == VALID]
    group, test = min(candidates, key=lambda pair: (not pair[1]["expected"], len(json.dumps(pair[1]))))
    altered = 0
    for part in ("expected", "intermediate"):
        for wrong in _with_one_leaf_changed(test.get(part, {})):
            assert check_test(group, {**test, part: wrong}) != ""
            altered += 1
    assert altered
    assert check_test(group, {**test, "result": "RemoteProtocolError"}) != ""


def test_another_error_than_named_is_noticed() -> None:
    for document in DOCUMENTS.values():
        for group in document["testGroups"]:
            for test in group["tests"]:
                if test["result"] != VALID and group["type"] != "TranscriptTest":
                    assert check_test(group, {**test, "result": VALID}) != ""
                    assert check_test(group, {**test, "result": "QkdError"}) != ""


def test_a_foreign_exception_and_an_unknown_type_are_findings() -> None:
    group = {"type": "Poly1305Test"}
    test = {"tcId": 1, "comment": "", "hashKey": 5, "pad": "", "message": "", "expected": {}, "result": VALID}
    assert "TypeError escaped" in check_test(group, test)
    assert "knows no tests" in check_test({"type": "Poly1306Test"}, test)


def test_a_missing_test_is_a_finding() -> None:
    document = copy.deepcopy(DOCUMENTS["auth/auth_poly1305.json"])
    document["testGroups"][0]["tests"].pop()
    problems = [verdict.problem for verdict in check_document(document) if verdict.problem]
    assert problems == ["numberOfTests is 18, the file has 17"]


# ---------------------------------------------------------------------------------------------- the whole transcript


def test_transcript_follows_from_tags_and_seeds_by_the_references() -> None:
    """From the detector words in the file: 37 comparisons up to the key; nothing in it is the product's word alone."""
    parameters = TRANSCRIPT["parameters"]
    events = {role: _events(bytes.fromhex(words)) for role, words in parameters["tags"].items()}
    assert events == transcript_maker.stations()
    expected, intermediate, compared = transcript_maker.recompute(parameters["messages"], events)
    assert compared == 37
    for test in TRANSCRIPT["tests"][:2]:
        assert test["expected"] == expected
        assert test["intermediate"] == intermediate
    assert hashlib.sha256(bytes.fromhex(expected["key"])).hexdigest() == expected["keySha256"]


def test_transcript_has_every_message_of_a_good_block() -> None:
    kinds = {message["kind"] for message in TRANSCRIPT["parameters"]["messages"]}
    known = {example[0] for example in vectormaker.coding.EXAMPLES}
    of_other_methods = {"LdpcSyndromes", "LdpcRequest", "LdpcReveal"}
    assert known - kinds - of_other_methods == {"MoreDetections", "FailedFrames", "FailedErrors", "Abort"}


@pytest.mark.parametrize("role", list(Role))
def test_replay_holds_every_own_word_against_the_record(role: Role) -> None:
    own = [i for i, said in enumerate(Recording.of(TRANSCRIPT).said) if said.sender is role]
    for number in (own[0], own[len(own) // 2], own[-1]):
        recording = Recording.of(TRANSCRIPT)
        encoded = recording.said[number].encoded
        recording.said[number] = Said(role, encoded[:-1] + bytes([encoded[-1] ^ 1]))
        with pytest.raises(RecordingDiffers, match=f"byte {len(encoded) - 1} ") as caught:
            play(recording, role)
        assert caught.value.number == number


def test_replay_of_a_recording_cut_short() -> None:
    recording = Recording.of(TRANSCRIPT)
    del recording.said[-1]
    with pytest.raises(RecordingDiffers, match="the recording is over, but alice says more"):
        play(recording, Role.ALICE)
    with pytest.raises(RecordingDiffers, match="the recording is over, but bob waits"):
        play(recording, Role.BOB)


def test_replay_of_a_recording_out_of_turn() -> None:
    recording = Recording.of(TRANSCRIPT)
    recording.said[0], recording.said[1] = recording.said[1], recording.said[0]
    with pytest.raises(RecordingDiffers, match="bob speaks where it is alice's turn"):
        play(recording, Role.BOB)
    with pytest.raises(RecordingDiffers, match="alice waits where it should speak"):
        play(recording, Role.ALICE)


def test_replay_says_how_lengths_differ_and_knows_its_end() -> None:
    recording = Recording.of(TRANSCRIPT)
    first, second = recording.said[:2]

    def bob() -> Engine[Any]:
        vault, secrets = MemoryVault(recording.pre_shared), FixedBits(recording.labels[Role.BOB])
        return Engine(Role.BOB, handshake.bob(recording.params, vault, secrets, simulated=True), Transcript())

    with pytest.raises(RecordingDiffers, match=f"{len(first.encoded) + 1} bytes are due"):
        Replay([Said(Role.BOB, first.encoded + b"\0"), second]).drive(bob())
    replay = Replay([first, second])
    assert not replay.ended
    assert replay.drive(bob()).next_block == 0
    assert replay.ended


def test_tags_are_what_the_file_reader_reads(tmp_path: Path) -> None:
    """The a1 vectors drive the stream decoder; the file reader must agree with them, whatever the word order."""
    for test in DOCUMENTS["a1/a1_words.json"]["testGroups"][0]["tests"]:
        if test["result"] == VALID:
            (tmp_path / "tags").write_bytes(bytes.fromhex(test["data"]))
            read = read_a1(tmp_path / "tags")
            assert read.tags.t_ps.tolist() == test["expected"]["tPs"]
            assert read.tags.channel.tolist() == test["expected"]["channel"]
            legacy = test["expected"]["order"] == "high half first"
            assert read.format is (Format.S15_A1_LEGACY if legacy else Format.S15_A1)


# ------------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def light_folder(tmp_path: Path) -> Path:
    """All stages but the one that takes minutes where nothing is compiled."""
    for path in FOLDER.iterdir():
        if path.is_dir() and path.name != "privacy":
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def test_check_prints_a_line_a_file(light_folder: Path) -> None:
    result = CliRunner().invoke(main, ["vectors", "check", str(light_folder)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in FILES if not name.startswith("privacy")]


def test_check_finds_a_wrong_file_and_a_malformed_one(tmp_path: Path) -> None:
    (tmp_path / "schema").symlink_to(FOLDER / "schema")
    (tmp_path / "auth").mkdir()
    document = copy.deepcopy(DOCUMENTS["auth/auth_poly1305.json"])
    document["testGroups"][0]["tests"][0]["expected"]["tag"] = "00" * 16
    (tmp_path / "auth" / "wrong.json").write_text(json.dumps(document))
    (tmp_path / "auth" / "extra.json").write_text(json.dumps({**DOCUMENTS["auth/auth_poly1305.json"], "more": 1}))
    (tmp_path / "auth" / "noise.json").write_text("{")
    (tmp_path / "auth" / "lost.json").write_text(json.dumps({"schema": "../../lost.v1.schema.json"}))
    result = CliRunner().invoke(main, ["vectors", "check", str(tmp_path), "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["schema"], report["ok"], report["schemas_checked"]) == ("qkd.vectors-check.v1", False, True)
    problems = {entry["file"]: entry["problems"][0] for entry in report["files"]}
    assert "expected.tag is '0000" in problems["auth/wrong.json"]
    assert "'more' was unexpected" in problems["auth/extra.json"]
    assert "not a vector file" in problems["auth/noise.json"]
    assert problems["auth/lost.json"] == "there is no schema lost.v1.schema.json"


def test_check_works_without_jsonschema(light_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    result = CliRunner().invoke(main, ["vectors", "check", str(light_folder)])
    assert result.exit_code == 0
    assert "jsonschema is not installed" in result.stderr


def test_check_of_nothing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        result = CliRunner().invoke(main, ["vectors", "check", str(folder)])
        assert result.exit_code == 2
        assert "hint:" in result.stderr


def test_make_writes_a_stage_and_refuses_what_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["vectors", "make", "codec", "--out", str(tmp_path)]
    first, second = (CliRunner().invoke(main, arguments).stdout for _ in range(2))
    assert first.count("written") == 2
    assert second.count("unchanged") == 2
    for name in ("codec/codec_ascending.json", "codec/codec_messages.json"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
    refused = CliRunner().invoke(main, ["vectors", "make", "kodak"])
    assert refused.exit_code == 2
    assert "one of: schema, expansion, codec" in refused.stderr
    monkeypatch.setattr(cli_vectors, "CHECKOUT", tmp_path)
    outside = CliRunner().invoke(main, arguments)
    assert outside.exit_code == 2
    assert "which only a checkout has" in outside.stderr


# ------------------------------------------------------------------------------------------------------------ helpers


def _nodes(value: object) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _subclasses(kind: type) -> Iterator[type]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _subclasses(inner)


def _with_one_leaf_changed(value: Any) -> Iterator[Any]:
    """The value once per leaf, each time with that leaf changed."""
    if isinstance(value, dict):
        for key, inner in value.items():
            for changed in _with_one_leaf_changed(inner):
                yield {**value, key: changed}
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            for changed in _with_one_leaf_changed(inner):
                yield [*value[:i], changed, *value[i + 1 :]]
    elif value is None:
        yield 0
    else:
        yield value + "00" if isinstance(value, str) else value + 1


def _events(data: bytes) -> list[tuple[int, int]]:
    words = struct.unpack(f"<{len(data) // 8}Q", data)
    return [(word >> 10, word & 15) for word in words]
