"""`qkd bench simulate`: the shape of what it prints; speed is not a test."""

from __future__ import annotations

import json

from click.testing import CliRunner

from cli.main import main


def test_json() -> None:
    done = CliRunner().invoke(main, ["bench", "simulate", "--seconds", "0.005", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["schema"] == "qkd.bench.simulate.v1"
    headline = [row for row in result["rows"] if row["case"] == "every effect, passive analysers"]
    assert [row["value"] for row in headline] == [result["mevents_per_s"]]
    for row in result["rows"]:
        assert row["unit"] == "Mevents/s"
        assert row["value"] > 0
        assert row["reference"] > 0
        assert row["events"] > 10_000
