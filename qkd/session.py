"""What two stations agree on before they start, and what each block reports when it is over.

`SessionParameters` must be equal at both ends: the first message carries them and a difference names its fields.
`BlockReport` is a record of counts that add up; every rate is derived from counts.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

import msgspec
import numpy as np

from distribution.estimates import Estimate, balance
from distribution.states import BellState
from distribution.units import PS_PER_S
from qkd.assumptions.claim import Verdict
from qkd.bellgame import SettingChoice, exact_p_value
from qkd.deviceindependent import best_rate, collective_rate
from qkd.errors import ParameterError
from qkd.protocols import Protocol, inversions, settings_of
from qkd.reconciliation.choice import Method
from qkd.reconciliation.ledger import LeakModel


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParameters:
    """Agreed parameters of a link; every field is public.

    Attributes:
        protocol: which one, with its settings (`qkd.protocols`).
        state: Bell state that the source aims at; says at which settings Bob's bits come inverted.
        window_ps: coincidence window, FULL width.
        bin_ps: to how many ps Bob's detection times are coarsened before he sends them.
        double_click_ps: clicks of one station closer than this are one event with a random bit.
        epoch_s: how much of Bob's time one `Detections` message covers.
        clock_uncertainty_s: the two clocks may be apart by up to +- this.
        max_drift_ppm: and run apart by up to this.
        block_bits: sifted bits of a block (both bases), about: it is closed at `block_coincidences`.
        least_block_bits: a last, shorter block is tried from this many on.
        sample_fraction: share of each basis that is revealed to size the error correction and to stop early.
        qber_limit: abort above this error rate in either basis.
        reconciliation: method of the error correction, or AUTO: Alice chooses block by block.
        reconciliation_seconds: AUTO takes the method that discloses least of those that finish a block in this time, or
            in the time that the block took to detect if that is less: error correction must keep up.
        leak_model: what of the error correction's disclosures is charged to the key, under which assumption.
        verify_bits: tag length of the error verification, per frame.
        eps_sec: secrecy parameter of a block's key (both bases together).
        mute_ps: an event counts only if no detector of its station clicked for so long before it; at least the longest
            dead time of both stations' detectors. 0: every event counts, and the key is not called composable.
        bell_p_limit: with a Bell test, abort unless local realism is refuted with a p-value of at most this.
    """

    protocol: Protocol = Protocol.BBM92
    state: BellState = BellState.PHI_PLUS
    window_ps: int = 1000
    bin_ps: int = 125
    double_click_ps: int = 2000
    epoch_s: float = 0.25
    clock_uncertainty_s: float = 1.0
    max_drift_ppm: float = 10.0
    block_bits: int = 200_000
    least_block_bits: int = 5_000
    sample_fraction: float = 0.01
    qber_limit: float = 0.11
    reconciliation: Method = Method.AUTO
    reconciliation_seconds: float = 5.0
    leak_model: LeakModel = LeakModel.ERROR_PATTERN_PUBLIC
    verify_bits: int = 64
    eps_sec: float = 1e-10
    mute_ps: int = 50_000
    bell_p_limit: float = 1e-6

    def __post_init__(self) -> None:
        bounds: list[tuple[str, float, float, float]] = [
            ("window_ps", self.window_ps, 1, PS_PER_S),
            ("bin_ps", self.bin_ps, 1, self.window_ps),
            ("double_click_ps", self.double_click_ps, 0, PS_PER_S),
            ("epoch_s", self.epoch_s, 1e-3, 60),
            ("clock_uncertainty_s", self.clock_uncertainty_s, 1e-6, 60),
            ("max_drift_ppm", self.max_drift_ppm, 0, 1000),
            ("block_bits", self.block_bits, 1000, 1 << 28),
            ("least_block_bits", self.least_block_bits, 1000, self.block_bits),
            ("sample_fraction", self.sample_fraction, 1e-4, 0.5),
            ("qber_limit", self.qber_limit, 1e-3, 0.25),
            ("reconciliation_seconds", self.reconciliation_seconds, 1e-3, 3600),
            ("verify_bits", self.verify_bits, 32, 256),
            ("eps_sec", self.eps_sec, 1e-30, 1e-2),
            ("mute_ps", self.mute_ps, 0, PS_PER_S),
            ("bell_p_limit", self.bell_p_limit, 1e-300, 0.5),
        ]
        for name, value, low, high in bounds:
            if not low <= value <= high:
                raise ParameterError(f"{name} = {value} must be in {low} .. {high}")
        if self.verify_bits % 8:
            raise ParameterError(f"verify_bits = {self.verify_bits} must be a multiple of 8")
        if 0 < self.mute_ps < self.double_click_ps:
            raise ParameterError(
                f"mute_ps = {self.mute_ps} must be 0, or double_click_ps = {self.double_click_ps} or more",
                hint="the dead window begins with an event; while that goes on it cannot end",
            )
        inversions(self.protocol, self.state)

    @property
    def block_coincidences(self) -> int:
        """How many coincidences close a block: no basis has a say in when it ends (`qkd.sifting`)."""
        settings = settings_of(self.protocol)
        return -(-self.block_bits * settings.pairs // settings.key_pairs)

    def to_json(self) -> bytes:
        """Canonical JSON of all fields: what the first message carries."""
        return msgspec.json.encode(self, order="sorted")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReport:
    """What one block did, at one station; counts add over blocks.

    Attributes:
        block: number of the block in the life of the link; -1 for a sum.
        detections, double_clicks: this station's events and how many of them were multiple clicks.
        coincidences: events shared with the peer in any basis.
        sifted_z, sifted_x: same-basis events; sample_z, sample_x: those revealed for estimation.
        frames, failed_frames: frames that were verified, and those of them that did not pass.
        revealed_z, revealed_x: bits of the frames that did not pass, shown to all and no part of the key.
        errors_z, errors_x: differing bits found, sample and revealed frames included; dropped_z, dropped_x: left over
            by the framing, their errors unknown.
        leak_ec_bits, verify_bits: disclosed by error correction and verification of the frames that passed, as the
            leak model charges them; ec_limit_bits: what a perfect one-way code would have disclosed of these.
        rounds: messages that the error correction sent each way.
        phase_errors_z, phase_errors_x: upper bounds on the phase errors of the Z and the X string.
        secret_bits: what the finite-key bound gave; delivered_bits: what remained after the pad refill.
        auth_bits_used, auth_bits_refilled: one-time pad bits spent on tags, and bits put back.
        eps_sec, eps_cor, eps_auth: failure probabilities of this block's key.
        label: what is claimed, and on which assumptions; of a sum, every label that occurs.
        reconciliation: method of the error correction; of a sum, every one that occurs. reconciliation_reason: why, in
            one line; of a sum, in the last block. leak_model: under which assumption disclosures were charged.
        alarms: side-channel monitors of this station that had raised an alarm by the end of the block; of a sum, of
            any block.
        announced_bits: taken off the key for what the stations tell each other of their assumptions.
        claim: what is claimed, in one word of a fixed list; of a sum, every one that occurs.
        failed_assumptions: "station: assumption" for all that failed, equal at both ends; of a sum, in any block.
        muted: events of this station that came too soon after a click to count.
        assumptions: this station's verdicts with their numbers; of a sum, those of the last block.
        bell_wins, bell_trials: of the CHSH game, by pairs of settings (a0, b0), (a0, b1), (a1, b0), (a1, b1); empty
            where the protocol has no Bell test.
    """

    block: int = -1
    detections: int = 0
    double_clicks: int = 0
    coincidences: int = 0
    sifted_z: int = 0
    sifted_x: int = 0
    sample_z: int = 0
    sample_x: int = 0
    frames: int = 0
    failed_frames: int = 0
    revealed_z: int = 0
    revealed_x: int = 0
    errors_z: int = 0
    errors_x: int = 0
    dropped_z: int = 0
    dropped_x: int = 0
    leak_ec_bits: int = 0
    ec_limit_bits: float = 0.0
    verify_bits: int = 0
    rounds: int = 0
    phase_errors_z: int = 0
    phase_errors_x: int = 0
    secret_bits: int = 0
    delivered_bits: int = 0
    auth_bits_used: int = 0
    auth_bits_refilled: int = 0
    eps_sec: float = 0.0
    eps_cor: float = 0.0
    eps_auth: float = 0.0
    label: str = ""
    reconciliation: str = ""
    reconciliation_reason: str = ""
    leak_model: str = ""
    alarms: tuple[str, ...] = ()
    announced_bits: int = 0
    claim: str = ""
    failed_assumptions: tuple[str, ...] = ()
    muted: int = field(default=0, compare=False)
    assumptions: tuple[Verdict, ...] = field(default=(), compare=False)
    bell_wins: tuple[int, ...] = ()
    bell_trials: tuple[int, ...] = ()

    def __add__(self, other: BlockReport) -> BlockReport:
        mine, theirs = asdict(self), asdict(other)
        total: dict[str, Any] = {
            "block": -1,
            "reconciliation_reason": other.reconciliation_reason or self.reconciliation_reason,
            "alarms": tuple(sorted({*self.alarms, *other.alarms})),
            "failed_assumptions": tuple(dict.fromkeys((*self.failed_assumptions, *other.failed_assumptions))),
            "assumptions": other.assumptions or self.assumptions,
        }
        total |= {
            name: _listed(mine[name], theirs[name]) for name in ("label", "claim", "reconciliation", "leak_model")
        }
        for name in ("bell_wins", "bell_trials"):
            total[name] = tuple(map(sum, zip_longest(mine[name], theirs[name], fillvalue=0)))
        return BlockReport(**total, **{name: mine[name] + theirs[name] for name in mine if name not in total})

    @property
    def sifted_bits(self) -> int:
        """Same-basis events of both bases."""
        return self.sifted_z + self.sifted_x

    @property
    def qber_z(self) -> float:
        """Error fraction in the Z basis; 0 when nothing was sifted."""
        known = self.sifted_z - self.dropped_z
        return self.errors_z / known if known else 0.0

    @property
    def qber_x(self) -> float:
        """Error fraction in the X basis; 0 when nothing was sifted."""
        known = self.sifted_x - self.dropped_x
        return self.errors_x / known if known else 0.0

    @property
    def chsh(self) -> Estimate | None:
        """CHSH value S with its standard error; None without a Bell test."""
        if not self.bell_trials:
            return None
        found = [balance(wins, n - wins) for wins, n in zip(self.bell_wins, self.bell_trials, strict=True)]
        known = [correlator for correlator in found if correlator is not None]
        return Estimate(sum(e.value for e in known), math.sqrt(sum(e.error**2 for e in known)))

    @property
    def chsh_p_value(self) -> float | None:
        """Exact chance of so many wins under local realism, settings as often as counted; None without a Bell test."""
        if not self.bell_trials:
            return None
        choice = SettingChoice.counted(np.array(self.bell_trials).reshape(2, 2))
        return exact_p_value(sum(self.bell_wins), sum(self.bell_trials), choice.local_win).value

    def bell_figures(self) -> dict[str, float | None]:
        """The stable fields of a Bell test; None each without one."""
        s = self.chsh
        figures = {"chsh_s": s.value, "chsh_s_error": s.error} if s else {"chsh_s": None, "chsh_s_error": None}
        return {**figures, "chsh_p_value": self.chsh_p_value}

    def di_figures(self) -> dict[str, object]:
        """What S alone would be worth to devices that nobody trusts: figures of merit, no claim of this key.

        Empty without a Bell test.
        """
        s, known = self.chsh, self.sifted_bits - self.dropped_z - self.dropped_x
        if s is None or not known:
            return {}
        qber = min(0.5, (self.errors_z + self.errors_x) / known)
        plain, noisy = collective_rate(s.value, qber), best_rate(s.value, qber)
        label = f"device-independent figure of merit, not this key's claim: {plain.label}; fair sampling"
        return {"di_rate": plain.rate, "di_rate_noisy": noisy.rate, "di_label": label}

    @property
    def f(self) -> float:
        """Reconciliation efficiency: leak_ec_bits over the Shannon limit of the corrected bits (>= 1 in the mean)."""
        return self.leak_ec_bits / self.ec_limit_bits if self.ec_limit_bits else 0.0

    @property
    def eps_total(self) -> float:
        """Everything that may go wrong, added up."""
        return self.eps_sec + self.eps_cor + self.eps_auth


def _listed(one: str, other: str) -> str:
    """Every text that occurs in either list, in order."""
    return " | ".join(dict.fromkeys(text for text in (*one.split(" | "), *other.split(" | ")) if text))


def summarise(
    reports: list[BlockReport], *, protocol: str, simulated: bool, keys_match: bool, seconds: float
) -> dict[str, object]:
    """The stable fields of a session or demo, over all its blocks (see the design's table)."""
    total = sum(reports, BlockReport())
    return {
        "protocol": protocol,
        "simulated": simulated,
        "keys_match": keys_match,
        "sifted_bits": total.sifted_bits,
        "qber_z": total.qber_z,
        "qber_x": total.qber_x,
        "f": total.f,
        "leak_ec_bits": total.leak_ec_bits,
        "reconciliation": total.reconciliation,
        "reconciliation_reason": total.reconciliation_reason,
        "leak_model": total.leak_model,
        "frames": total.frames,
        "failed_frames": total.failed_frames,
        "secret_bits": total.secret_bits,
        "eps_total": total.eps_total,
        "auth_bits_used": total.auth_bits_used,
        "auth_bits_refilled": total.auth_bits_refilled,
        "seconds": round(seconds, 3),
        "label": total.label,
        "claim": total.claim,
        "failed_assumptions": list(total.failed_assumptions),
        **total.bell_figures(),
        **total.di_figures(),
    }
