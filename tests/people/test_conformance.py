"""What every way to reach a person must be, run over PEOPLE: registering is being tested."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gate.people import PEOPLE
from gate.ports import is_local

OPTIONS: dict[str, dict[str, Any]] = {"webhook": {"url": "http://127.0.0.1:1/desk", "secret_env": "A_SECRET"}}

each = pytest.mark.parametrize("kind", PEOPLE, ids=lambda kind: kind.kind)


def test_kinds_are_unique() -> None:
    assert len({kind.kind for kind in PEOPLE}) == len(PEOPLE)


@each
def test_it_is_built_from_its_own_options_and_fits_its_port(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    made = kind.from_options("desk", kind.Options.model_validate(OPTIONS[kind.kind]))
    assert made.name == "desk"
    assert made.fingerprint
    assert "s3cret" not in repr(made) + made.fingerprint
    methods = ("complete",) if is_local(made) else ("encode", "decode")
    assert all(callable(getattr(made, method)) for method in methods)


@each
def test_unknown_options_are_refused(kind: Any) -> None:
    assert issubclass(kind.Options, BaseModel)
    with pytest.raises(ValidationError, match="extra"):
        kind.Options.model_validate({**OPTIONS[kind.kind], "no_such_option": 1})
