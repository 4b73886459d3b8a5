"""``gate serve`` as its users run it: a process of its own, with settings, policies and keys in files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.commands import gate

ROOT = Path(__file__).parents[2]
UPSTREAM_KEY = "sk-wK3vQ9xTz5RbNc81LmPj"
"""What opens the scripted upstream: gate has it from its environment."""
_SCRIPTED = ROOT / "examples" / "openai_compatible" / "policy.yaml"


@dataclass(frozen=True)
class Serving:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path
    keys: Mapping[str, str] = field(repr=False)
    """The key of each client, by its name."""

    @property
    def said(self) -> str:
        """All that it has logged or printed."""
        return "".join((self.folder / name).read_text() for name in ("stdout", "stderr"))

    @property
    def resident(self) -> int:
        """Bytes of memory it holds."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def bearer(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[name]}"}


def scripted_policy(folder: Path, upstream: str, name: str, **serving: Any) -> Path:
    """The policy file of the examples, over the upstream at this address, under another name."""
    data = yaml.safe_load(_SCRIPTED.read_text())
    data |= {"name": name, "serving": serving}
    data["upstreams"]["main"] |= {"base_url": upstream, "api_key_env": "GATE_TEST_UPSTREAM_KEY"}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def made_keys(folder: Path, keys: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """A key for each name, of what is said of it to ``gate keys new``, in the file ``keys.yaml``."""
    made: dict[str, str] = {}
    for name, said in keys.items():
        ran = gate("keys", "new", "--file", folder / "keys.yaml", "--name", name, *said)
        assert ran.code == 0, ran.err
        made[name] = ran.out.strip()
    return made


@contextmanager
def serving(
    folder: Path,
    policies: Sequence[str | Path],
    *,
    keys: Mapping[str, Sequence[str]] | None = None,
    known: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    **settings: Any,
) -> Iterator[Serving]:
    """``keys``: what is said of each client to ``gate keys new``, by its name; None keeps no keys. ``known``: keys
    whose file stands in the folder already. ``settings``: of the server's file."""
    config = {"policies": [str(policy) for policy in policies], "port": 0, **settings}
    made = {**(known or {}), **made_keys(folder, keys or {})}
    if made:
        config["keys"] = "keys.yaml"
    (folder / "server.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "gate", "serve", "--config", str(folder / "server.yaml"), *arguments]
    environment = {**os.environ, "GATE_TEST_UPSTREAM_KEY": UPSTREAM_KEY}
    with (
        (folder / "stdout").open("wb") as stdout,
        (folder / "stderr").open("wb") as stderr,
        subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=stderr, env=environment) as process,
    ):
        try:
            yield Serving(_address(process, folder / "stderr"), process, folder, made)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _address(process: subprocess.Popen[bytes], stderr: Path) -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if found := re.search(r"http://127\.0\.0\.1:\d+", stderr.read_text()):
            return found[0]
        assert process.poll() is None, stderr.read_text()
        time.sleep(0.02)
    raise AssertionError(f"it does not say where it listens: {stderr.read_text()}")
