"""One door for every driver: found by entry point, options checked by name, every fault named with its owner."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from distribution import delivery
from distribution.delivery import Site, check_options, installed_drivers, open_source
from distribution.errors import FeedError, ParameterError, TagFormatError
from distribution.formats.s15 import write_a1
from distribution.tags import TimeTags
from distribution.testing import check_tag_source

DOCS = Path(delivery.__file__).parents[1] / "docs" / "tag-sources.md"
BUILT_IN = ["network", "readevents", "replay", "simulator"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path; `install` puts projects there as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(folder: Path, name: str, module: str, code: str, entry: str, version: str = "1.0") -> None:
    (folder / f"{module}.py").write_text(textwrap.dedent(code))
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{delivery.GROUP}]\n{entry} = {module}:DRIVER\n")


def broken_driver(body: str) -> str:
    """A driver of which one method is as given, and the rest is sound."""
    return f"""
        import msgspec, numpy as np
        from distribution.delivery import Driver
        from distribution.health import SourceHealth
        from distribution.tags import TagChunk, TimeTags
        class Options(msgspec.Struct, frozen=True, kw_only=True):
            pass
        class Source:
            simulated = False
            health = SourceHealth()
            def __init__(self, options, site): pass
            def until(self, until_ps): return TagChunk(TimeTags(np.array([5, 6]), np.zeros(2, np.uint8)), True)
            def skip_backlog(self): pass
            def close(self): pass
        def changed(source):
            {body}
            return source
        DRIVER = Driver(Options, lambda options, site: changed(Source(options, site)))
        """


def test_the_built_in_drivers_come_through_the_door() -> None:
    ours = [driver for driver in installed_drivers() if driver.distribution.startswith("entangled-qkd ")]
    assert [driver.name for driver in ours] == BUILT_IN, "install this project again: its entry points are stale"


def test_loading_the_simulators_driver_brings_no_simulator_into_the_process() -> None:
    """The station's process holds one end of a pipe; the other station's tags and the truth stay in the child."""
    code = (
        "import sys; from distribution.delivery import Site, open_source\n"
        "options = {'scenario': 'metro', 'seed': 1, 'pace': 0.0, 'seconds': 0.1}\n"
        "source = open_source('simulator', options, Site('alice')); chunk = source.until(1 << 60); source.close()\n"
        "assert len(chunk.tags) > 1000 and source.simulated\n"
        "found = [m for m in sys.modules if m.startswith(('distribution.simul', 'distribution.live',"
        " 'distribution.scenario', 'distribution.eavesdroppers.intercept'))]\n"
        "sys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=DOCS.parents[1], check=False
    )
    assert done.returncode == 0, done.stderr


def test_two_stations_with_one_seed_get_the_two_halves_of_one_link() -> None:
    """Two children, two pipes; what arrives equals one simulation's two streams, each rounded to the words' grid."""
    from distribution.scenario import load_scenario
    from distribution.simulate import simulate

    whole = simulate(load_scenario("metro"), 0.2, np.random.default_rng(21))
    options = {"scenario": "metro", "seed": 21, "pace": 0.0, "seconds": 0.2}
    for station, expected in (("alice", whole.alice), ("bob", whole.bob)):
        source = open_source("simulator", options, Site(station))
        got = source.until(1 << 60).tags
        source.close()
        assert got.channel.tolist() == expected.channel.tolist()
        assert int(np.abs(got.t_ps - expected.t_ps).max()) <= 4


def test_an_impossible_scenario_is_told_when_the_source_is_opened() -> None:
    with pytest.raises(FeedError, match="no scenario atlantis"):
        open_source("simulator", {"scenario": "atlantis", "seed": 1}, Site("alice"))


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("replay", {"file": "x", "speed": 2.0}, ["'replay'", "'speed'"]),
        ("replay", {}, ["'replay'", "file"]),
        ("replay", {"file": 3}, ["file", "str"]),
        ("network", {"address": "nowhere"}, ["nowhere", "host:port"]),
        ("network", {"address": "a:1", "patience_s": -1.0}, ["patience_s", "-1"]),
        ("simulator", {"scenario": "metro", "seed": -1}, ["seed"]),
        ("readevents", {"command": "readevents7 -a 1"}, ["command", "array"]),
    ],
)
def test_wrong_options_are_named(driver: str, options: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        check_options(driver, options)
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_unknown_option_is_told_with_the_known_ones() -> None:
    with pytest.raises(ParameterError) as caught:
        check_options("replay", {"file": "x", "speed": 2.0})
    assert caught.value.hint == "it knows: file, pace, simulated"


def test_an_unknown_driver_is_told_with_the_installed_ones() -> None:
    with pytest.raises(ParameterError, match="network, readevents, replay, simulator") as caught:
        open_source("warp", {}, Site("alice"))
    assert "install" in caught.value.hint


def test_an_unknown_station_is_refused() -> None:
    with pytest.raises(ParameterError, match="carol"):
        Site("carol")


def test_a_driver_that_cannot_be_imported_is_named_with_its_project(project: Path) -> None:
    install(project, "acme-tagger", "acme_one", "import a_library_that_is_not_there", "acme-one", "2.3")
    with pytest.raises(FeedError, match=r"'acme-one' of acme-tagger 2\.3 .*a_library_that_is_not_there") as caught:
        open_source("acme-one", {}, Site("alice"))
    assert "acme_one:DRIVER" in caught.value.hint


def test_what_is_no_driver_is_named(project: Path) -> None:
    install(project, "acme-tagger", "acme_two", "DRIVER = 'hello'", "acme-two")
    with pytest.raises(FeedError, match="is no Driver but str"):
        check_options("acme-two", {})


def test_a_name_that_two_projects_claim_is_refused(project: Path) -> None:
    for owner, module in (("acme-a", "acme_a"), ("acme-b", "acme_b")):
        install(project, owner, module, "DRIVER = None", "acme-same")
    with pytest.raises(ParameterError, match=r"acme-a 1\.0 and acme-b 1\.0"):
        open_source("acme-same", {}, Site("alice"))


FAULTS = {
    "raise RuntimeError('no licence')": (FeedError, "no licence", "open"),
    "source.simulated = None": (FeedError, "simulated", "open"),
    "source.until = lambda u: 1 / 0": (FeedError, "ZeroDivisionError", "until"),
    "source.until = lambda u: (1, 2)": (FeedError, "tuple instead of a TagChunk", "until"),
    "source.until = lambda u: TagChunk(TimeTags(np.array([6, 5]), np.zeros(2, np.uint8)), False)": (
        TagFormatError,
        "run backwards",
        "until",
    ),
    "source.until = lambda u: TagChunk(TimeTags(np.array([900]), np.zeros(1, np.uint8)), False)": (
        TagFormatError,
        "900 ps when asked for those before",
        "until",
    ),
}


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_a_drivers_faults_come_out_as_our_errors_that_name_it(project: Path, number: int) -> None:
    body, (kind, text, when) = list(FAULTS.items())[number]
    install(project, "acme-tagger", f"acme_f{number}", broken_driver(body), f"acme-f{number}")
    if when == "open":
        with pytest.raises(kind, match=f"acme-f{number}.*{text}"):
            open_source(f"acme-f{number}", {}, Site("alice"))
        return
    source = open_source(f"acme-f{number}", {}, Site("alice"))
    with pytest.raises(kind, match=f"acme-f{number}.*{text}"):
        source.until(100)


def test_the_documents_example_is_a_driver_that_keeps_the_contract(project: Path) -> None:
    """The code block of docs/tag-sources.md, installed as a project of its own and opened through the door."""
    (code,) = re.findall(r"```python\n(# lines_tagger\.py.*?)```", DOCS.read_text(), re.S)
    install(project, "lines-tagger", "lines_tagger", code, "lines")
    rng = np.random.default_rng(5)
    tags = TimeTags(np.sort(rng.integers(0, 10**11, 500)), rng.integers(0, 4, 500).astype(np.uint8))
    lines = "".join(f"{t} {c}\n" for t, c in zip(tags.t_ps.tolist(), tags.channel.tolist(), strict=True))
    (project / "tags.txt").write_text(lines)
    check_tag_source(lambda: open_source("lines", {"file": "tags.txt"}, Site("bob", project)), expected=tags)
    with pytest.raises(ParameterError, match="'colour'"):
        open_source("lines", {"file": "tags.txt", "colour": 3}, Site("bob"))


def test_relative_paths_count_from_the_sites_folder(tmp_path: Path) -> None:
    tags = TimeTags(np.arange(1, 5, dtype=np.int64) * 125_000, np.zeros(4, np.uint8))
    write_a1(tmp_path / "a.ts", tags)
    source = open_source("replay", {"file": "a.ts", "pace": 0.0}, Site("alice", tmp_path))
    assert source.until(1 << 60).tags.t_ps.tolist() == tags.t_ps.tolist()


def test_a_simulated_tagger_whose_reader_is_gone_stops_by_itself() -> None:
    order = '{"scenario": "metro", "seed": 1, "station": "bob", "seconds": 0, "pace": 0, "intercept_fraction": 0}'
    child = subprocess.Popen(
        [sys.executable, "-m", "distribution.simulated_tagger", order],
        cwd=DOCS.parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert b'"simulated": true' in child.stdout.readline()
    child.stdout.close()
    assert child.wait(30) == 0
    assert child.stderr is not None
    assert child.stderr.read() == b""
