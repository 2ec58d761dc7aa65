"""Histograms against all differences, findings against published recordings and made-up light, and the command.

The figures of the real recordings are those of the shared data README (counts, comb, missing tooth) and of fpfind's
docs/user/parser.md (the delay of 139 ns between two channels fed from one pulse).
"""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import main
from distribution import analysis, formats
from distribution.correlators import error_rate
from distribution.errors import ClockNotFound, ParameterError
from distribution.formats import generic, s15
from distribution.kernels import histogram as kernels
from distribution.pairs import compare
from distribution.states import Basis, BellState
from distribution.tags import TimeTags, merge
from tests.data_files import find
from tests.reference import histogram as reference

Int64 = npt.NDArray[np.int64]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["analyse", *map(str, args)])


def poisson(rng: np.random.Generator, rate_hz: float, seconds: float) -> Int64:
    """Ascending random times of a steady source, ps."""
    count = rng.poisson(rate_hz * seconds)
    return np.sort(rng.integers(0, round(seconds * 1e12), count))


# --- Histogram ---------------------------------------------------------------------------------------------------

times = st.lists(st.integers(0, 60), max_size=25).map(lambda v: np.array(sorted(v), np.int64))


@settings(deadline=None)
@given(a=times, b=times, start=st.integers(-50, 50), width=st.integers(1, 9), bins=st.integers(1, 12))
def test_kernel_counts_what_all_differences_count(a: Int64, b: Int64, start: int, width: int, bins: int) -> None:
    fast, slow = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    kernels.add_delays(a, b, start, width, fast)
    reference.add_delays(a, b, start, width, slow)
    assert np.array_equal(fast, slow)


def test_cross_correlation_is_numpys_histogram() -> None:
    rng = np.random.default_rng(2)
    a, b = np.sort(rng.integers(0, 10**6, 400)), np.sort(rng.integers(0, 10**6, 300))
    found = analysis.cross_correlation(a, b, 10_000, 130)
    edges = found.start_ps + found.bin_ps * np.arange(found.counts.size + 1)
    delays = reference.delays(a, b)
    expected, _ = np.histogram(delays[delays < edges[-1]], edges)  # numpy's last bin holds its right edge, ours not
    assert np.array_equal(found.counts, expected)
    assert found.centres_ps[found.counts.size // 2] == 0
    assert found.counts.size == 2 * (10_000 // 130) + 1


def test_histogram_of_times_beyond_float_precision() -> None:
    origin = 9 * 10**18
    a = np.array([origin], np.int64)
    found = analysis.cross_correlation(a, a + 3, 4, 1)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0]


def test_impossible_histograms_are_refused() -> None:
    up, down = np.array([1, 2]), np.array([2, 1])
    for a, b, half, width in ((up, up, 10, 0), (up, up, 5, 10), (up, up, 10**12, 1), (down, up, 10, 1)):
        with pytest.raises(ParameterError):
            analysis.cross_correlation(a, b, half, width)
    with pytest.raises(ParameterError):
        analysis.cross_correlation(np.array([1.0]), up, 10, 1)


def test_bins_hold_whole_tagger_units() -> None:
    assert analysis.whole_bin_ps(100, 1.0) == 100
    assert analysis.whole_bin_ps(100, 1000 / 256) == 125  # 32 units
    assert analysis.whole_bin_ps(126, 1000 / 256) == 250
    assert analysis.whole_bin_ps(100, 80.955) == 16191  # 200 units: no smaller number of units is whole picoseconds
    with pytest.raises(ParameterError):
        analysis.whole_bin_ps(0, 1.0)


def test_uneven_bins_are_what_whole_units_avoid() -> None:
    """ETA issue 59: bins that are no multiple of the unit print a false comb over flat light.

    Variance over mean is 1 for n bins of Poisson counts, sigma = sqrt(2/n); five sigma. A bin of 10 ps holds 2.56
    units, that is sometimes two and sometimes three, and the variance grows with the square of the mean of 128.
    """
    rng = np.random.default_rng(7)
    a, b = ((np.sort(rng.integers(0, 2 * 10**8, 10**5)) * 1000 + 128) // 256 for _ in range(2))
    width = analysis.whole_bin_ps(10, 1000 / 256)
    assert width == 125
    even = analysis.cross_correlation(a, b, 50_000, width).counts
    uneven = analysis.cross_correlation(a, b, 50_000, 10).counts
    assert even.var() / even.mean() == pytest.approx(1.0, abs=5 * np.sqrt(2 / even.size))
    assert uneven.var() / uneven.mean() > 3


# --- Findings ----------------------------------------------------------------------------------------------------


def correlate(name: str, i: int, j: int, half_ns: int = 150) -> analysis.Histogram:
    recording = formats.read(find(name))
    a, b = recording.tags.select(i).t_ps, recording.tags.select(j).t_ps
    return analysis.cross_correlation(a, b, half_ns * 1000, analysis.whole_bin_ps(100, recording.resolution_ps))


def test_qutag_single_photons() -> None:
    histogram = correlate("qutag/19_qutag_80MHz_HBT_sync_filtered.qutag", 1, 2)
    comb = analysis.find_comb(histogram)
    assert comb is not None
    assert comb.single_photons
    assert comb.areas[comb.dip] == 0
    assert comb.side_area == 46
    assert comb.period_ps == pytest.approx(12_500, rel=1e-3)  # 80 MHz
    # The README says about -2.2 ns. The median delays of the teeth beside it say -1.3, and so must we.
    tags = formats.read(find("qutag/19_qutag_80MHz_HBT_sync_filtered.qutag")).tags
    a, b = tags.select(1).t_ps, tags.select(2).t_ps
    near = [b[np.searchsorted(b, t - 20_000) : np.searchsorted(b, t + 20_000)] - t for t in a]
    delays = np.concatenate(near)
    middle = (np.median(delays[delays < -8_000]) + np.median(delays[delays > 5_000])) / 2
    assert comb.dip_delay_ps == pytest.approx(middle, abs=100)
    assert comb.dip_delay_ps == pytest.approx(-2_200, abs=1_100)


def test_hydraharp_single_photons() -> None:
    comb = analysis.find_comb(correlate("picoquant/200204_HH400_T2_320MHz_HBT.timeres", 0, 1))
    assert comb is not None
    assert comb.single_photons
    assert comb.period_ps == pytest.approx(3128, abs=1)
    assert comb.dip_delay_ps == pytest.approx(23_900, abs=50)
    assert comb.side_area == pytest.approx(497, rel=0.01)
    assert comb.g2 == pytest.approx(0.004, abs=0.0005)


def test_s15_delayed_copy() -> None:
    """Channel 4 is a delayed copy of channel 1: every event has its partner, 139 ns later (fpfind)."""
    histogram = correlate("s15/timestamp7_c14_rollover.Aa1fX.ts", 0, 3)
    peak = analysis.find_peak(histogram, 1000)
    assert peak is not None
    assert peak.area == 431
    assert peak.delay_ps == pytest.approx(139_000, abs=500)
    assert analysis.find_comb(histogram) is None


def test_flat_light_has_neither_peak_nor_comb() -> None:
    """50 independent pairs of streams, about 60 000 delays each: chance limit 1e-6, so no finding in any."""
    rng = np.random.default_rng(11)
    for _ in range(50):
        a, b = poisson(rng, 2e5, 0.5), poisson(rng, 2e6, 0.5)
        histogram = analysis.cross_correlation(a, b, 150_000, 100)
        assert histogram.counts.sum() > 40_000
        assert analysis.find_peak(histogram, 1000) is None
        assert analysis.find_comb(histogram) is None


@pytest.mark.parametrize("sigma_ps", [20, 400])
def test_lone_peak_is_found_and_is_no_comb(sigma_ps: int) -> None:
    """n = 4000 pairs at 37 ns: the centroid lies within five sigma of it, one sigma being sigma_ps / sqrt(n)."""
    rng = np.random.default_rng(12)
    pairs = poisson(rng, 4e3, 1.0)
    a = np.sort(np.concatenate([pairs, poisson(rng, 5e4, 1.0)]))
    b = np.sort(
        np.concatenate([pairs + 37_000 + rng.normal(0, sigma_ps, pairs.size).astype(np.int64), poisson(rng, 5e4, 1.0)])
    )
    histogram = analysis.cross_correlation(a, b, 150_000, 10)
    peak = analysis.find_peak(histogram, 6 * sigma_ps)
    assert peak is not None
    # The window may lie a bin or two beside the peak's middle and cuts one tail then; a bin more for that.
    assert peak.delay_ps == pytest.approx(37_000, abs=5 * sigma_ps / np.sqrt(pairs.size) + 10)
    expected = len(a) * len(b) * 6 * sigma_ps * 1e-12
    assert peak.background == pytest.approx(expected, abs=5 * np.sqrt(expected * 6 * sigma_ps / 300_000) + 0.5)
    assert analysis.find_comb(histogram) is None


@pytest.mark.parametrize(("g2", "single"), [(1.0, False), (0.6, False), (0.1, True)])
def test_comb_of_pulsed_light(g2: float, single: bool) -> None:
    """Teeth of 400 counts, jitter 200 ps, period 7 ns, one tooth of g2 * 400; five sigma on period and areas."""
    rng = np.random.default_rng(13)
    teeth = np.arange(-25, 26)
    areas = rng.poisson(np.where(teeth == 3, g2 * 400, 400))
    delays = np.repeat(teeth * 7000 + 1234, areas) + rng.normal(0, 200, areas.sum())
    # Pairs far apart from each other, so that only the intended delays fall into the histogram.
    a = np.arange(delays.size, dtype=np.int64) * 10**9
    histogram = analysis.cross_correlation(a, a + np.rint(delays).astype(np.int64), 150_000, 100)
    comb = analysis.find_comb(histogram)
    assert comb is not None
    # A line through n delays of jitter s over k teeth: slope error s / (sqrt(n) * rms tooth number).
    assert comb.period_ps == pytest.approx(7000, abs=5 * 200 / np.sqrt(delays.size) / teeth.std() + 0.5)
    assert comb.single_photons is single
    inside = np.abs(7000 * teeth + 1234) + 3500 < 150_000
    assert comb.areas.tolist() == areas[inside].tolist()
    if single:
        assert comb.dip_delay_ps == pytest.approx(3 * 7000 + 1234, abs=30)
        assert int(comb.areas[comb.dip]) == int(areas[teeth == 3][0])


def test_end_of_a_filled_range_is_no_missing_tooth() -> None:
    """A sync that was filtered around the photons fills a part of the range: empty teeth at its end mean nothing."""
    delays = np.repeat(np.arange(-10, 21) * 7000, 300)
    delays = delays + np.random.default_rng(14).normal(0, 100, delays.size).astype(np.int64)
    a = np.arange(delays.size, dtype=np.int64) * 10**9
    comb = analysis.find_comb(analysis.cross_correlation(a, a + delays, 150_000, 100))
    assert comb is not None
    assert comb.areas[comb.dip] == 0
    assert not comb.single_photons


def test_rates() -> None:
    tags = TimeTags(np.array([0, 1, 10**12 // 2], np.int64), np.array([3, 3, 1], np.uint8))
    assert analysis.rates_hz(tags) == {1: 2.0, 3: 4.0}
    assert analysis.rates_hz(tags.between(0, 1)) == {}


# --- Two recordings ----------------------------------------------------------------------------------------------

OFFSET_PS = 123_456_789_012
DRIFT = 3e-6
ERROR_Z, ERROR_X = 0.02, 0.05


def stations(
    seed: int, *, pairs_hz: float = 20_000, lone_hz: float = 30_000, seconds: float = 2.0
) -> tuple[TimeTags, TimeTags]:
    """Two four-detector stations that see phi+ pairs; made with numpy alone, no code of ours but the containers."""
    rng = np.random.default_rng(seed)
    t = poisson(rng, pairs_hz, seconds)
    basis_a, basis_b, bit = rng.integers(0, 2, (3, t.size))
    error = rng.random(t.size) < np.where(basis_a == 0, ERROR_Z, ERROR_X)
    bit_b = np.where(basis_a == basis_b, bit ^ error, rng.integers(0, 2, t.size))

    def station(basis: Int64, bits: Int64) -> TimeTags:
        lone = poisson(rng, lone_hz, seconds)
        jittered = t + np.rint(rng.normal(0, 80, t.size)).astype(np.int64)
        order = np.argsort(jittered, kind="stable")
        clicks = TimeTags(jittered[order], (2 * basis + bits).astype(np.uint8)[order])
        return merge(clicks, TimeTags(lone, rng.integers(0, 4, lone.size).astype(np.uint8)))

    a, b = station(basis_a, bit), station(basis_b, bit_b)
    start = 10**12  # so that no time is negative
    on_bobs_clock = b.t_ps + np.rint(b.t_ps * DRIFT).astype(np.int64) + OFFSET_PS
    return TimeTags(a.t_ps + start, a.channel), TimeTags(on_bobs_clock + start, b.channel)


def test_pair_report_of_a_made_up_source() -> None:
    """n = 40 000 pairs; five sigma on every count, and on the error rates of about 10 000 coincidences a basis."""
    a, b = stations(21)
    report = compare(a, b, window_ps=1000, half_range_ps=20_000, bin_ps=100, uncertainty_s=1.0, max_drift_ppm=10.0)
    model, counts = report.acquisition.model, report.counts
    assert model.drift_ppm == pytest.approx(DRIFT * 1e6, abs=1e-3)
    expected_offset = OFFSET_PS + DRIFT * (model.reference_ps - 10**12)
    assert model.offset_ps == pytest.approx(expected_offset, abs=100)
    assert report.acquisition.false_alarm < 1e-9
    accidentals = len(a) * len(b) * 1e-9 / 2.0
    # measured in 200 shifted windows
    assert counts.accidentals == pytest.approx(accidentals, abs=5 * np.sqrt(accidentals / 200))
    pairs = len(a) - 2 * 30_000  # give or take the spread of the lone counts
    spread = 5 * np.sqrt(40_000 + 60_000 + accidentals)
    assert counts.coincidences == pytest.approx(pairs + accidentals, abs=spread)
    assert counts.car == pytest.approx(counts.coincidences / counts.accidentals)
    assert counts.heralding_a == pytest.approx(0.4, abs=0.02)
    assert counts.heralding_b == pytest.approx(0.4, abs=0.02)
    assert report.outcomes is not None
    assert report.outcomes.sum() == counts.coincidences
    # Unrelated pairs are wrong half of the time.
    for basis, error in ((Basis.Z, ERROR_Z), (Basis.X, ERROR_X)):
        rate = error_rate(report.outcomes, basis, BellState.PHI_PLUS)
        assert rate is not None
        share = accidentals / counts.coincidences
        expected = error * (1 - share) + share / 2
        assert rate.value == pytest.approx(expected, abs=5 * rate.error)
        assert rate.error == pytest.approx(np.sqrt(expected / 10_000), rel=0.1)


def test_unrelated_recordings_have_no_clock() -> None:
    (a, _), (_, b) = (stations(seed, pairs_hz=500, lone_hz=500, seconds=0.5) for seed in (22, 23))
    with pytest.raises(ClockNotFound):
        compare(a, b, window_ps=1000, half_range_ps=20_000, bin_ps=100, uncertainty_s=0.2, max_drift_ppm=10.0)


def test_recordings_without_a_tag_have_no_clock() -> None:
    a, b = stations(24, pairs_hz=100, lone_hz=100)
    empty = a.between(0, 0)
    with pytest.raises(ClockNotFound):
        compare(empty, b, window_ps=1000, half_range_ps=20_000, bin_ps=100, uncertainty_s=1.0, max_drift_ppm=10.0)


# --- Command -----------------------------------------------------------------------------------------------------


STATED: dict[str, dict[str, object]] = {
    "s15/timestamp7_c1234.Aa1.ts": {
        "events": 2000,
        "patterns": {"1": 614, "2": 481, "4": 476, "8": 417, "3": 2, "5": 2, "6": 3, "9": 3, "10": 2},
        "seconds": pytest.approx(935.01e-6, abs=0.01e-6),  # the data README says 957.45: its words span 935.01
    },
    "s15/timestamp7_c14_rollover.Aa1fX.ts": {
        "events": 862,
        "dummies": 138,
        "counts": {"0": 431, "3": 431},
        "seconds": pytest.approx(33.696e-3, abs=0.001e-3),
        "peak": {"delay_ps": pytest.approx(139_000, abs=500), "area": 431},
    },
    "qutag/19_qutag_80MHz_HBT_sync_filtered.qutag": {
        "events": 267_801,
        "counts": {"1": 79_314, "2": 94_287, "5": 94_200},
        "seconds": pytest.approx(5.04, abs=0.005),
        # The README says about -2.2 ns; the teeth beside say -1.3 (see the test of single photons above).
        "comb": {"period_ps": pytest.approx(12_500, rel=1e-3), "side_area": 46, "dip_area": 0, "g2": 0.0}
        | {"dip_delay_ps": pytest.approx(-1240, abs=100)},
    },
    "picoquant/200204_HH400_T2_320MHz_HBT.timeres": {
        "events": 384_019,
        "records": 409_482,
        "overflows": 25_463,
        "counts": {"0": 159_298, "1": 224_721},
        "seconds": pytest.approx(1.0, abs=0.0005),
        "comb": {"period_ps": pytest.approx(3128, abs=1), "side_area": pytest.approx(497, rel=0.01)}
        | {"dip_delay_ps": pytest.approx(23_900, abs=50), "g2": pytest.approx(0.004, abs=0.0005)},
    },
    "picoquant/v30_t2.ptu": {
        "events": 305_565,
        "records": 435_319,
        "overflows": 129_754,
        "counts": {"0": 305_565},
        "seconds": pytest.approx(5.0, abs=0.0005),
    },
}


@pytest.mark.parametrize("name", STATED)
def test_stated_answers_of_every_recording(name: str) -> None:
    """`qkd analyse` prints what the data README states, corrected where the words themselves say otherwise."""
    done = run(find(name), "--json")
    assert done.exit_code == 0, done.output
    fields = json.loads(done.stdout)
    assert fields["schema"] == "qkd.analyse.v1"
    assert fields["rates_hz"] == {c: pytest.approx(n / fields["seconds"]) for c, n in fields["counts"].items()}
    for key, stated in STATED[name].items():
        if key in ("peak", "comb"):
            found = fields["correlation"][key]
            assert {k: found[k] for k in stated} == stated, key  # type: ignore[attr-defined]
        else:
            assert fields[key] == stated, key


def test_people_see_the_same_figures() -> None:
    done = run(find("picoquant/200204_HH400_T2_320MHz_HBT.timeres"))
    assert done.exit_code == 0
    for figure in ("384019 of 409482", "25463", "159298", "224721", "23.93", "g2 = 0.0040"):
        assert figure in done.stdout
    assert done.stderr == ""


def test_one_detector_has_no_correlation() -> None:
    fields = json.loads(run(find("picoquant/v30_t2.ptu"), "--json").stdout)
    assert fields["events"] == 305_565
    assert "correlation" not in fields


def test_json_of_two_recordings(tmp_path: Path) -> None:
    a, b = stations(21)
    s15.write_a1(tmp_path / "a", a)
    generic.write_npz(tmp_path / "b", b)
    done = run(tmp_path / "a", tmp_path / "b", "--json")
    assert done.exit_code == 0, done.output
    fields = json.loads(done.stdout)
    stable = "offset_ps drift_ppm false_alarm coincidences accidentals car heralding_a heralding_b qber_z qber_x chsh_s"
    assert set(stable.split()) <= fields.keys()
    assert fields["events"]["b"] == len(b)
    assert fields["drift_ppm"] == pytest.approx(3, abs=1e-3)
    assert fields["chsh_s"] is None
    # sqrt(2) (|E_zz| + |E_xx|) with E = 1 - 2 QBER
    by_hand = np.sqrt(2) * (abs(1 - 2 * fields["qber_z"]) + abs(1 - 2 * fields["qber_x"]))
    assert fields["s_from_visibility"] == pytest.approx(by_hand)
    people = run(tmp_path / "a", tmp_path / "b")
    assert people.exit_code == 0
    assert "QBER" in people.stdout


def test_epochs_and_skew_of_two_recordings(tmp_path: Path) -> None:
    a, b = stations(25)
    late = TimeTags(b.t_ps + np.where(b.channel == 2, 300, -100), b.channel)  # detector 2 by 400 ps against the others
    order = np.argsort(late.t_ps, kind="stable")
    generic.write_npz(tmp_path / "a", a)
    generic.write_npz(tmp_path / "b", TimeTags(late.t_ps[order], late.channel[order]))
    table = tmp_path / "epochs.csv"
    done = run(tmp_path / "a", tmp_path / "b", "--json", "--skew", "--epoch-s", "0.5", "--epochs", table)
    assert done.exit_code == 0, done.output
    fields = json.loads(done.stdout)
    skew = fields["skew_ps"]
    for side, true in (("a", [0, 0, 0, 0]), ("b", [-100, -100, 300, -100])):
        for found, error, delay in zip(skew[side], skew[f"{side}_error"], true, strict=True):
            assert found == pytest.approx(delay, abs=5 * error)
            assert error < 3
    rows = fields["epochs"]
    assert [row["seconds"] for row in rows[:3]] == [0.5, 0.5, 0.5]
    for name in ("coincidences", "singles_a", "singles_b", "ambiguous"):
        assert sum(row[name] for row in rows) == fields[name]
    assert sum(row["accidentals"] for row in rows) == pytest.approx(fields["accidentals"])
    for row in rows[:4]:
        assert row["qber_z"] == pytest.approx(ERROR_Z, abs=5 * row["qber_z_error"])
        assert row["visibility_x"] == pytest.approx(1 - 2 * ERROR_X, abs=5 * row["visibility_x_error"])
    lines = table.read_text().splitlines()
    assert len(lines) == 1 + len(rows)
    with table.open(newline="") as text:
        assert [int(row["coincidences"]) for row in csv.DictReader(text)] == [row["coincidences"] for row in rows]
    # The clock was followed and the skew taken off: what is left is the shot noise of white phase, 113 ps a pair.
    first = fields["adev"][0]
    pairs = (fields["coincidences"] - fields["accidentals"]) / fields["common_seconds"] * first["tau_s"]
    assert first["tdev_ps"] == pytest.approx(80 * np.sqrt(2 / pairs), rel=0.2)
    assert fields["g2"]["cross"]["value"] == pytest.approx(fields["car"], rel=0.01)
    people = run(tmp_path / "a", tmp_path / "b", "--skew", "--epochs", table)
    assert people.exit_code == 0
    for words in ("skew b (taken off)", "residual clock", "epoch 1", "visibility", "no Bell test", "+-"):
        assert words in people.stdout
    assert "wrote" in people.stderr


def bell_stations(seed: int, angles_b: tuple[float, ...], visibility: float) -> tuple[TimeTags, TimeTags]:
    """phi+ pairs at analysers of the given angles: E = V cos 2(a - b), random outcomes else; numpy alone."""
    rng = np.random.default_rng(seed)
    t = poisson(rng, 20_000, 2.0)
    basis_a, basis_b, bit = rng.integers(0, 2, (3, t.size))
    apart = np.radians(45.0 * basis_a - np.array(angles_b)[2 * basis_b])
    equal = rng.random(t.size) < (1 + visibility * np.cos(2 * apart)) / 2
    a = TimeTags(t + 10**12, (2 * basis_a + bit).astype(np.uint8))
    b = TimeTags(t + 10**12 + 777_000, (2 * basis_b + (bit ^ ~equal)).astype(np.uint8))
    return a, b


def test_settings_of_a_bell_test_give_s_with_its_error(tmp_path: Path) -> None:
    """n = 40 000 pairs of visibility 0.96: S = 2 sqrt(2) V within five of its stated errors, null without angles."""
    a, b = bell_stations(26, (22.5, 112.5, 67.5, 157.5), 0.96)
    generic.write_npz(tmp_path / "a", a)
    generic.write_npz(tmp_path / "b", b)
    angles = ("--angles-a", "0,90,45,135", "--angles-b", "22.5,112.5,67.5,157.5")
    fields = json.loads(run(tmp_path / "a", tmp_path / "b", "--json", "--epoch-s", "1", *angles).stdout)
    assert 0 < fields["chsh_s_error"] < 0.02
    assert fields["chsh_s"] == pytest.approx(2 * np.sqrt(2) * 0.96, abs=5 * fields["chsh_s_error"])
    assert fields["epochs"][0]["chsh_s"] == pytest.approx(2 * np.sqrt(2) * 0.96, abs=5 * 0.02)
    assert fields["qber_z"] is fields["visibility_x"] is fields["s_from_visibility"] is None
    plain = json.loads(run(tmp_path / "a", tmp_path / "b", "--json", "--dark-b-cps", "5000").stdout)
    assert plain["heralding_a"] == pytest.approx(fields["heralding_a"] / 0.75, rel=1e-2)  # a quarter of b's 20 000/s
    assert plain["chsh_s"] is plain["chsh_s_error"] is None


@pytest.mark.parametrize(
    "options",
    [
        ("--angles-a", "0,90"),
        ("--angles-a", "0,90", "--angles-b", "x,1"),
        ("--angles-a", "0", "--angles-b", "0,90"),
        ("--angles-a", "nan,90", "--angles-b", "0,90"),
        ("--epoch-s", "1e-9"),
        ("--dark-b-cps", "-1"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: tuple[str, ...]) -> None:
    a, b = stations(27, seconds=0.2)
    generic.write_npz(tmp_path / "a", a)
    generic.write_npz(tmp_path / "b", b)
    done = run(tmp_path / "a", tmp_path / "b", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("qkd: ")


@pytest.mark.parametrize("option", [("--skew",), ("--epoch-s", "1"), ("--epochs", "x.csv"), ("--angles-a", "0,90")])
def test_options_of_pairs_need_two_recordings(option: tuple[str, ...]) -> None:
    done = run(find("s15/timestamp7_c1234.Aa1.ts"), *option)
    assert done.exit_code == 2
    assert "needs two recordings" in done.stderr


def test_two_files_without_pairs_fail_in_one_line() -> None:
    done = run(find("s15/timestamp7_c1234.Aa1.ts"), find("s15/timestamp7_c14_rollover.Aa1fX.ts"))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("qkd: ")


def test_plot_is_svg_or_an_error(tmp_path: Path) -> None:
    recording = find("s15/timestamp7_c14_rollover.Aa1fX.ts")
    done = run(recording, "--plot", tmp_path / "g2.svg")
    assert done.exit_code == 0
    root = ET.fromstring((tmp_path / "g2.svg").read_text())
    line = root.find("{http://www.w3.org/2000/svg}polyline")
    assert line is not None
    assert len(line.attrib["points"].split()) == 2 * 2401  # a step for each of 2 * 1200 + 1 bins of 125 ps
    assert run(recording, "--plot", tmp_path / "g2.png").exit_code == 2
    assert run(find("picoquant/v30_t2.ptu"), "--plot", tmp_path / "x.svg").exit_code == 2


@pytest.mark.parametrize("channels", ["0", "0,0", "0,7", "a,b"])
def test_channels_that_cannot_be(channels: str) -> None:
    assert run(find("s15/timestamp7_c1234.Aa1.ts"), "--channels", channels).exit_code == 2


def test_foreign_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.ts").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run(tmp_path / "x.ts")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "is a PNG image" in done.stderr
    assert run(tmp_path / "missing").exit_code == 1
