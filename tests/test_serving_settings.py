"""What a policy says about serving it, and what goes not together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gate.serving_settings import PrefixSettings, ServingSettings


def test_by_itself_a_policy_is_enforced_and_nothing_goes_out_unjudged() -> None:
    plain = ServingSettings()
    assert (plain.mode, plain.enforced_share, plain.streaming) == ("enforce", 0.0, "hold")
    assert (plain.abstention, plain.refusal_in, plain.keep_alive) == ("completion", "refusal", 10.0)
    assert plain.prefix is None


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"streaming": "prefix"}, "needs 'prefix' with a 'calibrator'"),
        ({"streaming": "prefix", "prefix": {}}, "needs 'prefix' with a 'calibrator'"),
        ({"enforced_share": 0.5}, "'enforced_share' goes with 'mode: observe'"),
        ({"mode": "observe", "enforced_share": 1.1}, "less than or equal to 1"),
        ({"keep_alive": 0}, "greater than"),
        ({"streaming": "at_once"}, "'hold', 'prefix' or 'annotate'"),
        ({"abstention": "422"}, "'completion' or 'error'"),
        ({"prefix": {"every": 0}}, "greater than or equal to 1"),
        ({"prefix": {"release_at": 2}}, "less than or equal to 1"),
        ({"stream": "hold"}, "Extra inputs are not permitted"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(said: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ServingSettings.model_validate(said)


def test_what_goes_together_is_taken() -> None:
    made = ServingSettings.model_validate({"streaming": "prefix", "prefix": {"calibrator": "x.prefix.json"}})
    assert made.prefix == PrefixSettings(calibrator="x.prefix.json")
    assert (made.prefix.positions, made.prefix.release_at, made.prefix.stop_below) == ("sentence", 0.9, 0.05)
    assert ServingSettings(mode="observe", enforced_share=1.0).enforced_share == 1.0


def test_it_is_a_value() -> None:
    with pytest.raises(ValidationError):
        ServingSettings().mode = "observe"
