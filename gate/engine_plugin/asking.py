"""What a request asks of the plugin, and where in its prompt an answer stands that it wants read. Needs numpy alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FIELD = "gate_states"
"""The one name of the wire: under ``kv_transfer_params``, in a request and in its reply."""


def asked_of(request: Any) -> Any:
    """What a request of vLLM has under `FIELD`; None when it asks for nothing."""
    parameters = request.kv_transfer_params
    return parameters.get(FIELD) if isinstance(parameters, dict) else None


@dataclass(frozen=True, slots=True)
class Opening:
    """Which rows one request wants read, or why none will be."""

    first: int = 0
    """Position of row 0, the token before the answer."""
    end: int | None = None
    """Position behind the last row, where the answer stands in the prompt; None where it is yet to be written."""
    following: tuple[int, ...] = ()
    """The token that follows each row but the last, where the answer stands in the prompt."""
    missing: str = ""

    @property
    def given(self) -> bool:
        return self.end is not None


def opening(asked: Any, prompt: Sequence[int], length: int, decode: Callable[[list[int]], str] | None) -> Opening:
    """What a request with ``asked`` under `FIELD` wants read. Whatever is wrong with it becomes the reason of none.

    ``prompt`` holds the prompt's tokens, ``length`` how many it has (it may have been given as embeddings).
    """
    if not isinstance(asked, Mapping) or set(asked) - {"given"}:
        return Opening(missing=f"{FIELD} must be an object with no other field than 'given', an answer's text")
    if length < 1:
        return Opening(missing="the prompt holds no token")
    if "given" not in asked:
        return Opening(first=length - 1)
    given = asked["given"]
    if not isinstance(given, str) or not given.strip():
        return Opening(missing="the given answer is no text")
    if decode is None or len(prompt) != length:
        return Opening(missing="this server has no tokenizer to find the given answer with")
    tokens = spelling(given, prompt, decode)
    if not 0 < tokens < length:
        return Opening(
            missing="the prompt does not end in the given answer: send it as the last message, to be continued"
        )
    return Opening(length - tokens - 1, length, tuple(prompt[length - tokens :]))


def spelling(text: str, prompt: Sequence[int], decode: Callable[[list[int]], str]) -> int:
    """The least number of last tokens of the prompt that spell the text; 0 when none do.

    White space does not count: templates strip it, and tokenizers add it. What is spelled grows with the tokens, so
    the place is found by halves and looked at from both sides: a token may hold a part of a character.
    """
    sought = _bare(text)

    def spelled(tokens: int) -> str:
        return _bare(decode(list(prompt[len(prompt) - tokens :])))

    low, high = 1, min(len(prompt), len(text.encode("utf-8", "replace")) + _ODD_TOKENS)
    while low < high:
        middle = (low + high) // 2
        if len(spelled(middle)) < len(sought):
            low = middle + 1
        else:
            high = middle
    near = range(max(1, low - _ODD_TOKENS), min(len(prompt), low + _ODD_TOKENS) + 1)
    return next((tokens for tokens in near if spelled(tokens) == sought), 0)


_ODD_TOKENS = 4
"""Tokens that spell nothing, or a part of a character, beside the place that lengths point to."""


def _bare(text: str) -> str:
    return "".join(text.split())
