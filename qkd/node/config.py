"""A station's configuration: one TOML file, every key checked, unknown keys refused.

Relative paths count from the folder of the file. `example` is the commented file that `qkd config show` prints.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from distribution.monitors.limits import Limits
from qkd.assumptions.limits import AssumptionLimits
from qkd.entropy import NoiseClaim
from qkd.errors import ParameterError
from qkd.exchange.steps import Role
from qkd.kms.clockmark import DEFAULT_TOLERANCE_S
from qkd.kms.ledger import DEFAULT_BUDGET
from qkd.kms.pads import DEFAULT_RESERVE
from qkd.session import SessionParameters


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; written "host:port"."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From "host:port"; raises ParameterError."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 <= int(port) < 65536:
            raise ParameterError(f"{text!r} is not an address of the form host:port")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedConfig:
    """Where the tags come from: a driver and its options, or one of two short forms.

    Attributes:
        address: short for driver "network" with this address.
        file: short for driver "replay" with this file, as fast as it is asked for.
        driver, options: any driver that is installed (`qkd doctor` lists them), and what it is to do.
    """

    address: str = ""
    file: str = ""
    driver: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> tuple[str, dict[str, Any]]:
        """Driver and options, the short forms written out."""
        if self.file:
            return "replay", {"file": self.file, "pace": 0.0}
        if self.address:
            return "network", {"address": self.address}
        return self.driver, self.options


@dataclass(frozen=True, slots=True, kw_only=True)
class LineConfig:
    """The classical line: Alice listens, Bob calls the address."""

    address: str
    patience_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Own certificate and key, and the authority that both ends trust; PEM files."""

    certificate: str
    key: str
    authority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """The key store, the key that encrypts it at rest, and the pre-shared secret of the first authentication.

    Attributes:
        path, master_key: files.
        pre_shared: the file of the secret; empty where [bootstrap] says how the link begins.
        eps_budget: what may go wrong, in probability, in the life of the link; when blocks and tags have cost as much,
            the link stops. A matter of this store: the ends may differ, and the smaller budget stops both.
        pad_reserve: pads of each sender that stay locked until `qkd pads release`.
        clock_tolerance_s: by how much this machine's clock may fall back.
    """

    path: str
    master_key: str
    pre_shared: str = ""
    eps_budget: float = DEFAULT_BUDGET
    pad_reserve: int = DEFAULT_RESERVE
    clock_tolerance_s: float = DEFAULT_TOLERANCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapConfig:
    """A beginning without a pre-shared file: own signing key and the peer's public key; made by `qkd pki identity`."""

    signing_key: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomnessConfig:
    """Optional hardware entropy, combined with the operating system's (`qkd.entropy`).

    Attributes:
        device: the noise device; empty: none.
        sample_bits, min_entropy: its maker's claim, see `NoiseClaim`.
    """

    device: str = ""
    sample_bits: int = 8
    min_entropy: float = 1.0

    @property
    def claim(self) -> NoiseClaim:
        """The claim; raises ParameterError when it is impossible."""
        return NoiseClaim(sample_bits=self.sample_bits, min_entropy=self.min_entropy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """The key API of this station (ETSI GS QKD 014) and where the peer's is."""

    listen: str
    peer: str
    kme_id: str
    peer_kme_id: str
    local_saes: tuple[str, ...] = ()
    remote_saes: tuple[str, ...] = ()
    key_bits: int = 256
    max_key_bits: int = 4096
    max_keys_per_request: int = 128
    allow_self_pair: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One station; see `example`."""

    role: Role
    feed: FeedConfig
    line: LineConfig
    tls: TlsConfig
    store: StoreConfig
    api: ApiConfig
    session: SessionParameters = field(default_factory=SessionParameters)
    monitors: Limits = field(default_factory=Limits)
    assumptions: AssumptionLimits = field(default_factory=AssumptionLimits)
    bootstrap: BootstrapConfig | None = None
    randomness: RandomnessConfig = field(default_factory=RandomnessConfig)
    folder: Path = Path()

    def path(self, name: str) -> Path:
        """A path of the file, seen from the file's folder."""
        return self.folder / name


def load(path: Path) -> NodeConfig:
    """Read and check a station's configuration.

    Raises:
        ParameterError: no such file, not TOML, unknown or missing keys, values out of range.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise ParameterError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path} is not a text file") from error
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"{path} is not TOML: {error}") from error
    config = _convert(tree, path)
    _check(config, path)
    return config


def _convert(tree: dict[str, Any], path: Path) -> NodeConfig:
    _refuse_unknown(tree, NodeConfig, path, "")
    if "folder" in tree:
        raise ParameterError(f"{path}: unknown key folder")
    try:
        return msgspec.convert({**tree, "folder": str(path.parent)}, NodeConfig, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ParameterError(f"{path}: {error}".replace("$.", "")) from error


def _path(kind: type, value: Any) -> Any:
    return kind(value)


_SECTIONS: dict[str, type] = {
    "feed": FeedConfig,
    "line": LineConfig,
    "tls": TlsConfig,
    "store": StoreConfig,
    "api": ApiConfig,
    "session": SessionParameters,
    "monitors": Limits,
    "assumptions": AssumptionLimits,
    "bootstrap": BootstrapConfig,
    "randomness": RandomnessConfig,
}


def _refuse_unknown(tree: dict[str, Any], kind: type, path: Path, prefix: str) -> None:
    known = set(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    for name, value in tree.items():
        if name not in known:
            raise ParameterError(
                f"{path}: unknown key {prefix}{name}", hint=f"known here: {', '.join(sorted(known - {'folder'}))}"
            )
        if not prefix and name in _SECTIONS and isinstance(value, dict):
            _refuse_unknown(value, _SECTIONS[name], path, f"{name}.")


def _check(config: NodeConfig, path: Path) -> None:
    feed = config.feed
    if [bool(feed.address), bool(feed.file), bool(feed.driver)].count(True) != 1:
        raise ParameterError(f"{path}: feed needs one of an address, a file or a driver")
    if feed.options and not feed.driver:
        raise ParameterError(f"{path}: feed.options belong to a driver", hint='name it: driver = "..." in [feed]')
    if feed.address:
        Address.parse(feed.address)
    if bool(config.store.pre_shared) == (config.bootstrap is not None):
        raise ParameterError(
            f"{path}: exactly one of store.pre_shared and a section [bootstrap] must say how the link begins",
            hint="a file that both stations hold (qkd pki psk), or signing keys (qkd pki identity)",
        )
    try:
        _ = config.randomness.claim
    except ParameterError as error:
        raise ParameterError(f"{path}: randomness.{error}") from error
    Address.parse(config.line.address)
    Address.parse(config.api.listen)
    _check_store(config, path)
    if config.line.patience_s <= 0:
        raise ParameterError(f"{path}: line.patience_s = {config.line.patience_s} must be positive")


def _check_store(config: NodeConfig, path: Path) -> None:
    store = config.store
    if not 0 < store.eps_budget <= 1:
        raise ParameterError(f"{path}: store.eps_budget = {store.eps_budget} must be above 0 and at most 1")
    for name, value in (("pad_reserve", store.pad_reserve), ("clock_tolerance_s", store.clock_tolerance_s)):
        if not value >= 0:
            raise ParameterError(f"{path}: store.{name} = {value} must not be negative")
    if config.session.eps_sec > store.eps_budget:
        raise ParameterError(
            f"{path}: store.eps_budget = {store.eps_budget} does not cover one block of eps_sec ="
            f" {config.session.eps_sec}"
        )


def resolved(config: NodeConfig) -> str:
    """The configuration with every default filled in, as TOML."""
    tree: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    tree.pop("folder")
    tree["feed"] = {name: value for name, value in tree["feed"].items() if value}
    if tree["bootstrap"] is None:
        tree.pop("bootstrap")
    lines = [f"role = {_toml(tree.pop('role'))}"]
    for section, fields in tree.items():
        lines += _table(section, fields)
    return "\n".join(lines) + "\n"


def _table(name: str, fields: dict[str, Any]) -> list[str]:
    """A TOML table: its own values first, as TOML wants it, then the tables in it."""
    own = [f"{key} = {_toml(value)}" for key, value in fields.items() if not isinstance(value, dict)]
    lines = ["", f"[{name}]", *own]
    for key, value in fields.items():
        if isinstance(value, dict):
            lines += _table(f"{name}.{key}", value)
    return lines


def _toml(value: Any) -> str:
    # Strings, numbers, booleans and flat lists are written alike in JSON and in TOML.
    return msgspec.json.encode(value).decode()


EXAMPLE = """# One QKD station. Paths count from this file's folder.
role = "alice"                    # the other end is "bob"

[feed]
address = "127.0.0.1:5001"        # a tagger's network feed; or: file = "recording.ts"; or any other driver:
# driver = "readevents"           # `qkd doctor` lists those that are installed
# [feed.options]
# command = ["readevents7", "-a", "1"]

[line]
address = "127.0.0.1:7000"        # Alice listens here, Bob calls it
patience_s = 30.0                 # how long the peer may be silent

[tls]                             # made by `qkd pki`
certificate = "alice.crt"
key = "alice.key"
authority = "ca.crt"

[store]
path = "alice.db"
master_key = "alice.master"       # 32 bytes, mode 0600; made on first start
pre_shared = "pre-shared"         # `qkd pki psk --out pre-shared`; the same file at both ends; destroy it once used
eps_budget = 1e-6                 # the link stops when all that may have gone wrong adds up to this
pad_reserve = 32                  # one-time pads that stay locked until `qkd pads release`

# [bootstrap]                     # instead of store.pre_shared, at both ends: the link begins with ML-KEM and ML-DSA
# signing_key = "alice.id"        # `qkd pki identity --out alice.id`
# peer = "bob.id.pub"             # made at the other end in the same way, carried here over a path you trust

[api]                             # ETSI GS QKD 014
listen = "127.0.0.1:8001"
peer = "https://127.0.0.1:8002"
kme_id = "alice"
peer_kme_id = "bob"
local_saes = ["sae-a"]
remote_saes = ["sae-b"]

[session]                         # must be equal at both ends
protocol = "bbm92"                # or e91, e91-3x2: with a Bell test, for analysers at their angles (docs/e91.md)
window_ps = 1000                  # coincidence window, full width
block_bits = 200000               # sifted bits per block
qber_limit = 0.11
eps_sec = 1e-14                   # secrecy of each run: the budget above is good for 1e8 of them
mute_ps = 50000                   # at least the longest dead time of both stations' detectors
reconciliation = "auto"           # or one of cascade/fast|tight|serial|large, ldpc/one-way|blind
reconciliation_seconds = 5.0      # auto: the method that discloses least of those that finish a block in this time,
                                  # or in the time that it took to detect

[monitors]                        # side-channel monitors of this station; the two ends may differ
station_dead_ps = 0               # a tagger with one dead time for all its inputs: that time
pulse_period_ps = 0               # a pulsed source: its period

[assumptions]                     # what this station's claim rests on; the two ends may differ
efficiency_ratio = 1.1            # of two detectors of a basis, larger over smaller: more, and the claim goes
dead_ps = 0                       # dead time of the slowest detector, if known; mute_ps must be as long
on_failed = "label"               # make the key and say so, or "abort": no key from such a block

[randomness]                      # optional hardware entropy, XORed onto the operating system's
device = ""                       # for example "/dev/hwrng"
sample_bits = 8                   # its raw samples: bytes, or 1: bits
min_entropy = 1.0                 # bits of min-entropy a sample, as its maker claims: sets the health tests
"""
