"""``import gate`` is fast and quiet, and what the package promises to export is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gate

_WATCHED = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(("socket.", "subprocess.")) else None)
import gate
print(",".join(seen))
print(",".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""
_HEAVY = {
    "aiohttp",
    "httpx",
    "litellm",
    "numpy",
    "onnxruntime",
    "pydantic",
    "scipy",
    "sqlalchemy",
    "starlette",
    "torch",
    "typer",
}


def _run(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split("\n")


def test_importing_opens_no_socket_starts_no_process_and_loads_nothing_heavy() -> None:
    events, modules, _ = _run(_WATCHED)
    assert events == ""
    assert not _HEAVY & set(modules.split(","))


def test_every_public_name_is_there_and_listed() -> None:
    for name in gate.__all__:
        assert getattr(gate, name) is not None
    assert set(gate.__all__) <= set(dir(gate))
    assert list(gate.__all__) == sorted(gate.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        gate.no_such_thing  # type: ignore[attr-defined]  # noqa: B018


def test_python_dash_m_is_the_command() -> None:
    shown = subprocess.run([sys.executable, "-m", "gate", "--version"], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == gate.__version__
