"""`qkd tags` as a user meets it: stdout, stderr, exit codes, and its examples as printed."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from distribution import formats
from distribution.formats import Format, generic, native, registry
from distribution.tags import TimeTags
from tests.commands import assert_refused, one_object
from tests.data_files import find

ROOT = Path(__file__).resolve().parents[1]


def qkd(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`qkd ARGUMENTS` in this process: a fresh one would spend a second on imports for a millisecond of work."""
    words = [str(argument) for argument in arguments]
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "bench.csv"
    path.write_text("0,1\n500,2\n1000000,1\n2000000000000,1\n")
    return path


def test_convert_says_what_it_cost(csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.a1"
    done = qkd("tags", "convert", csv, out, "--map", "1=0,2=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert done.stderr.splitlines() == [
        "qkd: bench.csv: csv, 4 tags",
        "qkd: out.a1: a1, 4 tags in units of 3.90625 ps, every time exact",
        "qkd: a1 has no place for: resolution",
    ]
    assert formats.read(out).tags.counts() == {0: 3, 1: 1}
    assert_refused(qkd("tags", "convert", csv, out, "--map", "1=0"), 2, "exists already", "--force")
    again = one_object(qkd("tags", "convert", csv, out, "--to", "csv", "--force", "--json"))
    assert again["schema"] == "qkd.tags-convert.v1"
    assert (again["format"], again["tags"], again["rounded"], again["bytes"]) == ("csv", 4, 0, out.stat().st_size)
    assert again["inputs"][0]["counts"] == {"1": 3, "2": 1}


def test_convert_a_real_recording_to_native_and_back(tmp_path: Path) -> None:
    source = find("s15/timestamp7_c14_rollover.Aa1fX.ts")
    done = qkd("tags", "convert", source, tmp_path / "x.qtag")
    assert "862 tags, 138 dummies left out, 8 late records put in order" in done.stderr
    assert "every time exact" in done.stderr
    info = one_object(qkd("tags", "info", tmp_path / "x.qtag", "--json"))
    assert info["schema"] == "qkd.tags-info.v1"
    assert (info["format"], info["device"], info["resolution_ps"]) == ("qtag", "S-Fifteen time tagger", 3.90625)
    assert info["counts"] == {"0": 431, "3": 431}
    assert info["seconds"] == pytest.approx(0.033695816)
    assert info["rates_hz"]["0"] == pytest.approx(431 / 0.033695816)


def test_convert_rounds_only_when_told(csv: Path, tmp_path: Path) -> None:
    done = qkd("tags", "convert", csv, tmp_path / "x.qtag", "--out-unit-ps", "1000")
    assert "in units of 1000 ps, 1 times rounded by at most 500 ps" in done.stderr
    assert formats.read(tmp_path / "x.qtag").tags.t_ps.tolist() == [0, 1000, 1000000, 2000000000000]


def test_several_id900_files_become_one_recording(tmp_path: Path) -> None:
    for name, stamps in (("c1.bin", (5, 30)), ("c2.bin", (7, 8))):
        (tmp_path / name).write_bytes(struct.pack("<2Q", *stamps))
    files = [tmp_path / "c1.bin", tmp_path / "c2.bin"]
    out = tmp_path / "both.csv"
    done = qkd("tags", "convert", "--from", "id900", "--channel", "1", "--channel", "2", *files, out)
    assert done.returncode == 0, done.stderr
    assert out.read_text() == "t_ps,channel\n5,1\n7,2\n8,2\n30,1\n"
    assert_refused(qkd("tags", "info", "--from", "id900", files[0]), 2, "which channel", "--channel")
    assert_refused(qkd("tags", "head", "--from", "id900", "--channel", "1", "--channel", "2", files[0]), 2, "1 files")


def test_units_that_the_file_does_not_say(tmp_path: Path) -> None:
    tags = TimeTags(np.array([0, 80_955, 161_910]), np.array([1, 2, 1], np.uint8))
    generic.write_csv(tmp_path / "x.csv", tags)
    done = qkd("tags", "convert", tmp_path / "x.csv", tmp_path / "x.bin", "--to", "qutau")
    assert "every time exact" in done.stderr
    head = one_object(qkd("tags", "head", tmp_path / "x.bin", "--from", "qutau", "--json"))
    assert head == {"schema": "qkd.tags-head.v1", "t_ps": [0, 80_955, 161_910], "channel": [1, 2, 1]}
    raw = one_object(qkd("tags", "head", tmp_path / "x.bin", "--from", "qutag", "--unit-ps", "125/32", "--json"))
    assert raw["t_ps"] == [0, 3906, 7813]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--unit-ps", "1"], ["--unit-ps does not apply"]),
        (["--channel", "1"], ["--channel does not apply"]),
        (["--from", "csv", "--unit-ps", "1"], ["csv files say it themselves"]),
        (["--from", "qutag", "--unit-ps", "0"], ["not a positive number"]),
        (["--from", "qutag", "--unit-ps", "1/0"], ["not a positive number"]),
        (["--from", "qutag", "--unit-ps", "x"], ["not a positive number"]),
        (["--from", "a9"], ["no format 'a9'", "qtag"]),
    ],
)
def test_options_that_do_not_fit(csv: Path, options: list[str], words: list[str]) -> None:
    assert_refused(qkd("tags", "info", csv, *options), 2, *words)


@pytest.mark.parametrize("text", ["1", "1=", "1=256", "256=1", "1=2,1=3", "a=b", "1=2;3=4", ""])
def test_maps_that_are_none(csv: Path, tmp_path: Path, text: str) -> None:
    assert_refused(qkd("tags", "convert", csv, tmp_path / "x.csv", "--map", text), 2, "old=new")
    assert not (tmp_path / "x.csv").exists()


def test_what_cannot_be_converted_leaves_nothing(csv: Path, tmp_path: Path) -> None:
    csv.write_text("0,1\n500,7\n")
    assert_refused(qkd("tags", "convert", csv, tmp_path / "x.a1"), 2, "the tags have 7", "--map 7=0")
    assert_refused(qkd("tags", "convert", csv, tmp_path / "x.what"), 2, "which format", "--to")
    read_only = next(entry.name for entry in registry.FORMATS if not entry.writer)
    assert_refused(qkd("tags", "convert", csv, tmp_path / "x", "--to", read_only), 2, "read but not written")
    assert_refused(qkd("tags", "convert", tmp_path / "absent", tmp_path / "x.a1"), 1, "no such file")
    csv.write_text("5,1\n4,1\n")
    assert_refused(qkd("tags", "convert", csv, tmp_path / "x.a1"), 1, "at byte 4")
    assert qkd("tags", "convert", csv).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bench.csv"]


def test_repair_is_asked_for_and_counted(tmp_path: Path) -> None:
    tags = TimeTags(np.arange(100) * 7, np.zeros(100, np.uint8))
    with (
        (tmp_path / "x").open("wb") as file,
        native.NativeWriter(file, native.NativeHeader(), chunk_events=10) as writer,
    ):
        writer.append(tags)
    data = bytearray((tmp_path / "x").read_bytes())
    data[200] ^= 1
    (tmp_path / "x").write_bytes(data)
    assert_refused(qkd("tags", "info", tmp_path / "x"), 1, "is damaged", "at byte", "--repair")
    info = one_object(qkd("tags", "info", tmp_path / "x", "--repair", "--json"))
    assert (info["tags"], info["damaged"], info["lost"]) == (90, 1, 10)
    done = qkd("tags", "convert", "--repair", tmp_path / "x", tmp_path / "y.qtag")
    assert "1 damaged stretches left out with 10 events" in done.stderr
    assert formats.read(tmp_path / "y.qtag").format is Format.NATIVE


def test_head_and_info_for_people(csv: Path) -> None:
    assert qkd("tags", "head", csv, "-n", "2").stdout == "0,1\n500,2\n"
    shown = qkd("tags", "info", csv).stdout
    assert "format         csv\n" in shown
    assert "channel 1      3  1.5 Hz\n" in shown


def test_formats_are_listed_with_what_they_need() -> None:
    rows = {row["name"]: row for row in one_object(qkd("tags", "formats", "--json"))["formats"]}
    assert rows["a1"]["channels"] == 4
    assert rows["qtag"]["found_by_content"]
    assert not rows["id900"]["found_by_content"]
    assert not rows["qutau"]["found_by_content"]
    assert {name for name, row in rows.items() if row["writes"]} >= {"qtag", "a1", "csv", "npz"}
    assert qkd("tags", "formats").stdout.split()[:4] == ["qtag", ".qtag", "read,", "write"]


def test_a_format_whose_package_is_missing_says_what_to_install(csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optional = registry.Entry(
        name="optional", formats=(), suffix=".opt", title="by its vendor's library",
        module="generic", reader="read_csv", package="no_such_package", extra="opt",
    )  # fmt: skip
    monkeypatch.setattr(registry, "FORMATS", (*registry.FORMATS, optional))
    assert "needs: pip install 'entangled-qkd[opt]'" in qkd("tags", "formats").stdout
    assert_refused(
        qkd("tags", "info", csv, "--from", "optional"), 2, "no_such_package", "pip install 'entangled-qkd[opt]'"
    )


def test_mixed_units_are_said(csv: Path, tmp_path: Path) -> None:
    qkd("tags", "convert", csv, tmp_path / "x.qtag", "--out-unit-ps", "1000")
    done = qkd("tags", "convert", csv, tmp_path / "x.qtag", tmp_path / "both.npz")
    assert "the inputs count in 1 and 1000 ps" in done.stderr
    assert len(formats.read(tmp_path / "both.npz").tags) == 8


@pytest.mark.parametrize("name", ["", "convert", "info", "head", "formats"])
def test_examples_work_as_printed(tmp_path: Path, name: str) -> None:
    shown = qkd("tags", *([name] if name else []), "--help").stdout
    example = shown.split("Example:", 1)[1].split("\n", 1)[0].strip()
    launcher = tmp_path / "bin" / "qkd"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m cli.main "$@"\n')
    launcher.chmod(0o755)
    path = f"{launcher.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", example],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
