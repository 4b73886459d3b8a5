"""What gate itself says to whoever asked, in fifteen languages: `wordings.json` beside this file holds the texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import cast

from gate.route_settings import FALL_BACK
from gate.routes.language import language_of

_GROUPS = {
    "model_declined": "declined",
    "budget_spent": "budget",
    "cut_short": "cut_short",
    "out_of_distribution": "unfamiliar",
    "certificate_void": "unchecked",
    "calibrator_failed": "unchecked",
    "no_passages": "nothing_found",
    "retriever_failed": "unavailable",
    "upstream_failed": "unavailable",
    "upstream_timeout": "unavailable",
}
"""Which text tells of a decision's reason; of every other ``uncertain`` does."""


@cache
def wordings() -> Mapping[str, Mapping[str, str]]:
    """The texts, by language (ISO 639-1) and then by what they say."""
    read = (files("gate.routes") / "wordings.json").read_text(encoding="utf-8")
    return cast("Mapping[str, Mapping[str, str]]", json.loads(read))


def spoken(text: str, fall_back: str = FALL_BACK) -> str:
    """The language of a text, or ``fall_back`` where it cannot be told."""
    return language_of(text) or fall_back


def worded(what: str, language: str, **values: str) -> str:
    """One of the texts, with its places filled in; in English where there is none in this language."""
    held = wordings()
    text = held.get(language, held[FALL_BACK])[what]
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def refusal(reason: str, language: str) -> str:
    """What is not known and why, for a decision's reason."""
    return worded(_GROUPS.get(reason, "uncertain"), language)
