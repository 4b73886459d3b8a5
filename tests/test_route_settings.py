"""The keys of routes in a policy: what they take, what they refuse, and what leaves a fingerprint as it was."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gate.route_settings import AbstainSettings, ClarifySettings, RetrieveSettings


def test_one_retriever_or_several_and_one_is_written_as_it_was_read() -> None:
    one = RetrieveSettings.model_validate({"retriever": "world"})
    assert (one.retriever, one.model_dump()) == (
        ("world",),
        {"retriever": "world", "prompt": "with_passages", "k": 3},
    )
    assert RetrieveSettings.model_validate({"retriever": ["a", "b"]}).model_dump()["retriever"] == ("a", "b")


@pytest.mark.parametrize(
    "wrong",
    [
        {"retriever": []},
        {"retriever": "w", "k": 0},
        {"retriever": "w", "k": 5, "fetch": 4},
        {"retriever": "w", "first": "sometimes"},
        {"retriever": "w", "by": "luck"},
        {"k": 3},
    ],
    ids=str,
)
def test_a_search_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RetrieveSettings.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong", [{}, {"below": {}}, {"below": {"x": 0.3}, "text": ""}, {"below": {"a b": 0.3}}], ids=str
)
def test_asking_back_needs_a_signal_and_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ClarifySettings.model_validate(wrong)


def test_a_plain_refusal_stays_one() -> None:
    assert AbstainSettings.model_validate("No.").model_dump() == "No."
    assert AbstainSettings.model_validate({"text": "No.", "evidence": True}).model_dump()["evidence"] is True
    with pytest.raises(ValidationError, match="one of the two"):
        AbstainSettings.model_validate({"text": "No.", "texts": {"de": "Nein."}})
