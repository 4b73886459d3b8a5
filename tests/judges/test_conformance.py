"""What every judge of entailment must be, run over JUDGES: registering is being tested."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gate.drivers import World
from gate.effects import Entail, Reply, entail
from gate.errors import UpstreamError
from gate.judges import JUDGES
from gate.ports import Price, is_local
from tests.drivers.running import run
from tests.judges.tiny_cross_encoder import build

PAIRS = (("lagos", "yes"), ("lagos", "no"), ("", ""), ("a\ud83d", "東京 " * 3000))

each = pytest.mark.parametrize("kind", JUDGES, ids=lambda kind: kind.kind)


@pytest.fixture
def options(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {"onnx_cross_encoder": {"path": str(build(tmp_path / "nli"))}}


def built(kind: Any, options: dict[str, dict[str, Any]]) -> Any:
    return kind.from_options("mine", kind.Options.model_validate(options[kind.kind]), Price(1.0))


def test_kinds_are_unique() -> None:
    assert len({kind.kind for kind in JUDGES}) == len(JUDGES)


@each
def test_it_is_built_from_its_own_options_and_fits_its_port(kind: Any, options: dict[str, dict[str, Any]]) -> None:
    made = built(kind, options)
    assert made.name == "mine"
    assert made.price == Price(1.0)
    assert made.fingerprint == built(kind, options).fingerprint
    methods = ("complete",) if is_local(made) else ("encode", "decode")
    assert all(callable(getattr(made, method)) for method in methods)


@each
def test_unknown_options_are_refused(kind: Any, options: dict[str, dict[str, Any]]) -> None:
    assert issubclass(kind.Options, BaseModel)
    with pytest.raises(ValidationError, match="extra"):
        kind.Options.model_validate({**options[kind.kind], "no_such_option": 1})


@each
def test_it_gives_each_pair_a_verdict_in_order_that_sums_to_1(kind: Any, options: dict[str, dict[str, Any]]) -> None:
    world = World({}, judges={"mine": built(kind, options)})
    asked = (PAIRS, PAIRS[::-1], PAIRS, ())
    first, turned, again, none = (run(world, entail(Entail("mine", p)), threaded=True)[0] for p in asked)
    assert isinstance(first, Reply)
    assert isinstance(turned, Reply)
    assert isinstance(none, Reply)
    assert isinstance(again, Reply)
    for verdict in first.value.verdicts:
        shares = asdict(verdict).values()
        assert sum(shares) == pytest.approx(1.0)
        assert all(0 <= share <= 1 for share in shares)
    assert first.value.verdicts[0].entailment > first.value.verdicts[1].entailment
    assert first.value.verdicts[0].contradiction < first.value.verdicts[1].contradiction
    assert again.value == first.value
    assert turned.value.verdicts == first.value.verdicts[::-1]
    assert none.value.verdicts == ()
    assert json.loads(json.dumps(asdict(first.value)))["verdicts"]  # no numpy in them


@each
def test_it_stops_once_nobody_waits(kind: Any, options: dict[str, dict[str, Any]]) -> None:
    made = built(kind, options)
    if is_local(made):
        with pytest.raises(UpstreamError, match="'mine': was cancelled"):
            made.complete(Entail("mine", PAIRS), lambda: True)
