"""Real processes for tests: a link in a folder, started, killed and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.children import free_ports
from qkd.kms.client import Etsi014Client
from qkd.kms.pki import Authority, PeerKind
from qkd.kms.secretfile import create_secret_file

SAE = {"alice": "sae-a", "bob": "sae-b"}


@dataclass
class LiveLink:
    """Source and two stations as processes; `events` collects what each said."""

    folder: Path
    session: str = "block_bits = 20000"
    ports: dict[str, int] = field(init=False)
    children: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"alice": [], "bob": [], "source": []})

    def __post_init__(self) -> None:
        names = ["alice_feed", "bob_feed", "line", "alice", "bob"]
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        authority = Authority.create(self.folder)
        for role in ("alice", "bob"):
            authority.issue(PeerKind.KME, role)
            authority.issue(PeerKind.SAE, SAE[role])
        create_secret_file(self.folder / "pre-shared", 1 << 18)
        for role, peer in (("alice", "bob"), ("bob", "alice")):
            self.configure(role, peer)

    def configure(self, role: str, peer: str) -> None:
        (self.folder / f"{role}.toml").write_text(
            f'role = "{role}"\n'
            f'[feed]\naddress = "127.0.0.1:{self.ports[f"{role}_feed"]}"\n'
            f'[line]\naddress = "127.0.0.1:{self.ports["line"]}"\npatience_s = 20\n'
            f'[tls]\ncertificate = "{role}.crt"\nkey = "{role}.key"\nauthority = "ca.crt"\n'
            f'[store]\npath = "{role}.db"\nmaster_key = "{role}.master"\npre_shared = "pre-shared"\n'
            f'[api]\nlisten = "127.0.0.1:{self.ports[role]}"\npeer = "https://127.0.0.1:{self.ports[peer]}"\n'
            f'kme_id = "{role}"\npeer_kme_id = "{peer}"\nlocal_saes = ["{SAE[role]}"]\nremote_saes = ["{SAE[peer]}"]\n'
            f"[session]\n{self.session}\n"
        )

    def start_source(self, *options: str) -> None:
        ports = ["--alice-port", str(self.ports["alice_feed"]), "--bob-port", str(self.ports["bob_feed"])]
        self.start("source", "source", "metro", "--seed", "7", *ports, *options)
        self.wait_for("source", lambda event: event.get("schema") == "qkd.ready.v1", 60)

    def start_node(self, role: str) -> None:
        self.start(role, "node", f"{role}.toml")

    def start(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        child = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        self.children[name] = child
        threading.Thread(target=self._listen, args=(name, child), daemon=True).start()

    def _listen(self, name: str, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            self.events[name].append(json.loads(line))

    def kill(self, name: str) -> None:
        self.children[name].send_signal(signal.SIGKILL)
        self.children[name].wait()

    def stop(self) -> None:
        for child in self.children.values():
            child.terminate()
        for child in self.children.values():
            child.wait(timeout=15)

    def wait_for(self, name: str, wanted: Any, seconds: float, since: int = 0) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for event in self.events[name][since:]:
                if wanted(event):
                    return event
            if self.children[name].poll() is not None:
                raise AssertionError(f"{name} stopped: {self.said(name)}")
            time.sleep(0.05)
        raise AssertionError(f"{name} did not say it in {seconds} s; last: {self.events[name][-3:]}, {self.said(name)}")

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-2000:]

    def blocks(self, role: str) -> list[dict[str, Any]]:
        return [event for event in self.events[role] if event.get("event") == "block"]

    def client(self, role: str) -> Etsi014Client:
        sae = SAE[role]
        files = (self.folder / f"{sae}.crt", self.folder / f"{sae}.key", self.folder / "ca.crt")
        return Etsi014Client(f"https://127.0.0.1:{self.ports[role]}", *files, kme_id=role)
