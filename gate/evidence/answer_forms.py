"""Answer forms: the form one answer is compared with another in."""

from __future__ import annotations

import json
import re
import string
import unicodedata
from functools import lru_cache

from gate.evidence.asking import refused
from gate.evidence.citations import said
from gate.types import Generation, ToolCall

_NUMBER_OR_MARK = re.compile(r"(?<!\w)-?\.?\d+(?:[-.,:/]\d+)*|[^\w\s]|_")
_SHORT = 1000
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def answer_text(generation: Generation) -> str:
    """The answer in the form it is compared in: normalised text, or the tool calls with their arguments sorted.

    What it cites is no part of it.
    """
    if generation.tool_calls:
        return json.dumps([[call.name, arguments_of(call)] for call in generation.tool_calls], sort_keys=True)
    return "" if refused(generation) else normalize(said(generation))


def written(generation: Generation) -> str:
    """The answer as it was written, without the space around it; tool calls and refusals as in `answer_text`."""
    return answer_text(generation) if generation.tool_calls or refused(generation) else said(generation).strip()


def arguments_of(call: ToolCall) -> object:
    """What a tool is called with, as JSON holds it; as it stands where it is none, for a model may write anything."""
    try:
        return json.loads(call.arguments)
    except (ValueError, RecursionError):
        return call.arguments


def normalize(text: str) -> str:
    """Fold case, width, punctuation of any script, articles and spacing (the SQuAD convention, with two exceptions).

    Marks inside and before a number stay, for 3.5 is not 35 nor -5. What would leave nothing is left in: "A" is an
    answer too. Normalising twice is normalising once.
    """
    return _remembered(text) if len(text) <= _SHORT else _normalized(text)


def _normalized(text: str) -> str:
    folded = _folded(text)
    for _ in range(8):  # taking a mark out can bring together what composes; once more is all it ever took
        again, folded = folded, _folded(folded)
        if again == folded:
            break
    return folded


_remembered = lru_cache(maxsize=2048)(_normalized)
"""Many signals of one decision look at the same few answers. Kept in memory alone, two million characters at most."""


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("\u2212", "-")
    plain = " ".join(_NUMBER_OR_MARK.sub(_without_mark, folded).split())
    return " ".join(_ARTICLES.sub(" ", plain).split()) or plain or folded.strip()


def _without_mark(found: re.Match[str]) -> str:
    whole = found[0]
    if len(whole) > 1 or whole.isalnum():
        return whole
    return "" if whole in string.punctuation or unicodedata.category(whole).startswith("P") else whole
