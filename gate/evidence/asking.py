"""What an upstream is asked in a round: the caller's own generation fields, under the policy's caps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gate.effects import Generate
from gate.ports import Round
from gate.types import Generation

_OURS = frozenset({"model", "messages", "n", "stream", "stream_options", "logprobs", "top_logprobs", "gate"})
"""Fields gate sets itself."""
_NAMED = frozenset({"temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed"})


def request(round_: Round, *, n: int, temperature: float | None, seed: int | None, alternatives: int) -> Generate:
    """The request for ``n`` answers in this round.

    ``temperature`` and ``seed`` are the evidence source's own. ``alternatives`` is how many per token it would like;
    it is cut to what the upstream's profile offers.
    """
    options = round_.question.options
    stop = options.get("stop") or ()
    return Generate(
        upstream=round_.upstream,
        messages=round_.messages,
        n=n,
        temperature=temperature,
        top_p=options.get("top_p"),
        max_tokens=_max_tokens(round_, options, n),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=seed if round_.profile.seed else None,
        logprobs=min(alternatives, round_.profile.top_logprobs) if round_.profile.logprobs else None,
        extra={key: value for key, value in options.items() if key not in _OURS and key not in _NAMED},
    )


def _max_tokens(round_: Round, options: Mapping[str, Any], n: int) -> int | None:
    asked: int | None = options.get("max_completion_tokens", options.get("max_tokens"))
    if round_.tokens_left is None:
        return asked
    share = max(1, round_.tokens_left // n)
    return share if asked is None else min(asked, share)


def refused(generation: Generation) -> bool:
    """Whether the model itself declined, or gave nothing at all."""
    return generation.refusal is not None or not (generation.text.strip() or generation.tool_calls)
