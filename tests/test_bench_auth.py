"""`qkd bench auth`: the shape of what it prints, and that it measures the product; speed is not a test."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cli.main import main
from qkd.benchmarks import auth as bench
from qkd.errors import ParameterError
from qkd.exchange import auth


def _json(*arguments: str) -> dict:
    done = CliRunner().invoke(main, ["bench", "auth", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_json() -> None:
    result = _json("--most-bytes", "1024", "--tags", "2")
    assert result["schema"] == "qkd.bench.auth.v1"
    rows = {row["case"]: row for row in result["rows"]}
    assert set(rows) == {"tag 64 bytes", "tag 1024 bytes", "send, pad burnt on disk", "check, pad burnt on disk"}
    # The headline is the speed at the size nearest to a block's conversation.
    assert result["gbyte_per_s"] == rows["tag 1024 bytes"]["value"] > 0
    for size in (64, 1024):
        row = rows[f"tag {size} bytes"]
        assert (row["unit"], row["against"]) == ("GB/s", "HMAC-SHA256")
        assert row["reference"] > 0
        assert row["forgery_probability"] == auth.forgery_probability(size)
        assert row["value"] * row["us_per_tag"] == pytest.approx(size * 1e-3)  # GB/s times us is kB
    for case in ("send", "check"):
        row = rows[f"{case}, pad burnt on disk"]
        assert (row["unit"], row["bytes"], row["tags"], row["pad_bits"]) == ("ms", 1024, 2, 128)
        assert row["value"] > 0


def test_text() -> None:
    done = CliRunner().invoke(main, ["bench", "auth", "--most-bytes", "64", "--tags", "1"])
    assert done.exit_code == 0, done.output
    assert "forged with chance 3.9e-31" in done.stdout  # 8 * 4 * 2^-106


def test_it_is_the_products_function_and_stores_that_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    tagged = []

    def counting(hash_key: bytes, pad: bytes, *parts: bytes) -> bytes:
        tagged.append(sum(len(part) for part in parts))
        return bytes(16)

    monkeypatch.setattr(auth, "wegman_carter_tag", counting)
    bench.measure(sizes=(100,), tags=3)
    assert tagged.count(100) > 5
    whole = [size for size in tagged if size != 100]
    assert len(whole) == 6  # three sent, three checked
    assert min(whole) > 100  # header and framing are tagged as well


@pytest.mark.parametrize("wrong", [{"sizes": ()}, {"sizes": (0,)}, {"tags": 0}, {"tags": 101}])
def test_arguments_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ParameterError):
        bench.measure(**wrong)
