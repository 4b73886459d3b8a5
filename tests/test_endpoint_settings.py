"""What is said of whoever is asked: keys of the kind are kept for it, the others are checked here."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gate.endpoint_settings import EndpointSettings, PersonSettings, RetrieverSettings, UpstreamSettings


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
