"""What every upstream must be, run over UPSTREAMS: registering is being tested."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gate.ports import Price, Profile, is_local
from gate.upstreams import UPSTREAMS
from tests.upstreams.fake_litellm import FakeLitellm, says

OPTIONS: dict[str, dict[str, Any]] = {
    "openai_chat": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
    "openai_completions": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
    "vllm": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
    "pocket": {"model": "small"},
    "caller": {"identity": "model-1, prompt 3"},
    "litellm": {"model": "openai/m"},
}


@pytest.fixture(autouse=True)
def _litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is installed or not."""
    monkeypatch.setitem(sys.modules, "litellm", FakeLitellm(says("hm")))


@pytest.fixture
def options(tmp_path: Path) -> dict[str, dict[str, Any]]:
    recorded = tmp_path / "rows.jsonl"
    recorded.write_text('{"question": "a", "answer": "b"}\n')
    return {**OPTIONS, "recorded": {"path": str(recorded)}}


each = pytest.mark.parametrize("kind", UPSTREAMS, ids=lambda kind: kind.kind)


def test_kinds_are_unique() -> None:
    assert len({kind.kind for kind in UPSTREAMS}) == len(UPSTREAMS)


@each
def test_it_is_built_from_its_own_options_and_fits_its_port(kind: Any, options: dict[str, dict[str, Any]]) -> None:
    made = kind.from_options("mine", kind.Options.model_validate(options[kind.kind]), Price(1.0, 2.0))
    again = kind.from_options("mine", kind.Options.model_validate(options[kind.kind]), Price(1.0, 2.0))
    assert made.name == "mine"
    assert made.price == Price(1.0, 2.0)
    assert isinstance(made.profile, Profile)
    assert made.fingerprint == again.fingerprint
    methods = ("complete",) if is_local(made) else ("encode", "decode")
    assert all(callable(getattr(made, method)) for method in methods)


@each
def test_unknown_options_are_refused(kind: Any, options: dict[str, dict[str, Any]]) -> None:
    assert issubclass(kind.Options, BaseModel)
    with pytest.raises(ValidationError, match="extra"):
        kind.Options.model_validate({**options[kind.kind], "no_such_option": 1})
