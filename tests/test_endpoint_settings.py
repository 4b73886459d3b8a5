"""What is said of whoever is asked: keys of the kind are kept for it, the others are checked here."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gate.endpoint_settings import (
    BreakerSettings,
    EndpointSettings,
    HedgeSettings,
    PersonSettings,
    RetrieverSettings,
    UpstreamSettings,
)


@pytest.mark.parametrize("settings", [EndpointSettings, UpstreamSettings, RetrieverSettings, PersonSettings])
def test_keys_of_the_kind_are_kept_for_it_to_check(settings: type[EndpointSettings]) -> None:
    made = settings.model_validate({"kind": "mine", "url": "http://127.0.0.1:1", "depth": 3})
    assert (made.kind, made.timeout) == ("mine", 30)
    assert made.model_extra == {"url": "http://127.0.0.1:1", "depth": 3}


@pytest.mark.parametrize(
    "wrong",
    [{}, {"kind": "x", "timeout": 0}, {"kind": "x", "timeout": 3601}, {"kind": "x", "timeout": "soon"}],
    ids=str,
)
def test_without_a_kind_or_with_a_time_nobody_waits_it_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EndpointSettings.model_validate(wrong)


@pytest.mark.parametrize("price", [{"prompt": -1}, {"completion": "much"}, {"prompts": 1}], ids=str)
def test_a_price_that_is_none_is_refused(price: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UpstreamSettings.model_validate({"kind": "x", "price": price})


def test_only_models_have_a_price() -> None:
    assert UpstreamSettings.model_validate({"kind": "x", "price": {"prompt": 2}}).price.prompt == 2
    assert "price" in (PersonSettings.model_validate({"kind": "x", "price": 2}).model_extra or {})


# --- faults ------------------------------------------------------------------------------------------------------


def fallible(**said: Any) -> UpstreamSettings:
    return UpstreamSettings.model_validate({"kind": "x", **said})


def test_a_breaker_is_there_unless_it_is_off_and_a_hedge_is_not_unless_it_is_said() -> None:
    assert fallible().breaker == BreakerSettings()
    assert fallible(breaker={"failures": 2}).breaker == BreakerSettings(failures=2)
    assert [fallible(breaker=off).breaker for off in ("off", False, None)] == [None] * 3
    assert fallible().hedge is fallible(hedge="off").hedge is None
    assert fallible(hedge={}).hedge == HedgeSettings(after="p95", share=0.05)
    assert fallible(hedge={"after": 2}).hedge == HedgeSettings(after=2.0)
    assert "breaker" in (PersonSettings.model_validate({"kind": "x", "breaker": {}}).model_extra or {})


def test_what_is_not_said_is_not_dumped_and_what_is_reads_the_same() -> None:
    assert not {"breaker", "hedge"} & fallible().model_dump().keys()
    for said in ({"breaker": "off"}, {"breaker": {"seconds": 3}}, {"hedge": {"after": "p95", "share": 0.1}}):
        made = fallible(**said)
        assert UpstreamSettings.model_validate(made.model_dump(mode="json")) == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"breaker": "on"},
        {"breaker": {"failures": 0}},
        {"breaker": {"share": 1.1}},
        {"breaker": {"tries": 3}},
        {"breaker": {"seconds": 200}},
        {"breaker": {"seconds": 20, "most_seconds": 10}},
        {"hedge": True},
        {"hedge": {"after": 0}},
        {"hedge": {"after": True}},
        {"hedge": {"after": "p99"}},
        {"hedge": {"share": 0.6}},
        {"hedge": {"share": 0}},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        fallible(**wrong)
