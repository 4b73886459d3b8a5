"""What an upstream is asked in a round: the caller's own generation fields under the policy's caps, and passages."""

from __future__ import annotations

from collections.abc import Callable

from gate.effects import STOPPED_EARLY, Generate
from gate.errors import EvidenceUnavailable
from gate.evidence.fencing import quoted
from gate.ports import Round
from gate.prompts import Prompt
from gate.types import Generation, Message, Passage

_OURS = frozenset({"model", "messages", "n", "stream", "stream_options", "logprobs", "top_logprobs", "gate"})
"""Fields gate sets itself."""
_NAMED = frozenset({"temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed"})
_SHAPING = frozenset(
    {"dynatemp_range", "epsilon_cutoff", "eta_cutoff", "frequency_penalty", "length_penalty", "logit_bias", "min_p"}
    | {"mirostat", "mirostat_eta", "mirostat_tau", "presence_penalty", "repeat_penalty", "repetition_penalty"}
    | {"tfs_z", "top_a", "top_k", "top_n_sigma", "typical", "typical_p", "use_beam_search", "xtc_probability"}
)
"""What servers call fields that change how likely which token is."""
_SET = _OURS | _NAMED
_SET_OR_SHAPING = _SET | _SHAPING


def request(
    round_: Round,
    *,
    n: int,
    temperature: float | None,
    seed: int | None,
    alternatives: int,
    of: int | None = None,
    drafting: bool = False,
    live: str = "",
) -> Generate:
    """The request for ``n`` answers in this round.

    ``temperature`` and ``seed`` are the evidence source's own. ``alternatives`` is how many per token it would like;
    it is cut to what the upstream's profile offers. Where ``n`` is a part of more, ``of`` is the whole: all answers
    share the tokens that are left. ``drafting``: it is the caller's answer, and what the caller said of sampling
    holds; it does not for evidence, which could be narrowed until all of it agrees. ``live`` is the round of a draft
    that may be watched.
    """
    options = round_.question.options
    kept_back = _SET if drafting else _SET_OR_SHAPING
    stop = options.get("stop") or ()
    return Generate(
        upstream=round_.upstream,
        messages=round_.messages,
        n=n,
        temperature=temperature,
        top_p=options.get("top_p") if drafting else None,
        max_tokens=options.get("max_completion_tokens") or options.get("max_tokens"),
        cap=None if round_.tokens_left is None else max(1, round_.tokens_left // (of or n)),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=seed if round_.profile.seed else None,
        seed_is_callers=seed is not None and seed == options.get("seed"),
        logprobs=min(alternatives, round_.profile.top_logprobs) if round_.profile.logprobs else None,
        extra={key: options[key] for key in options if key not in kept_back},
        live=live,
    )


def refused(generation: Generation) -> bool:
    """Whether the model itself declined, or gave nothing at all."""
    return generation.refusal is not None or not (generation.text.strip() or generation.tool_calls)


def cut_short(generation: Generation) -> bool:
    """Whether an answer ended because it might be no longer, or was stopped, and not because all was said."""
    return generation.finish_reason in {"length", STOPPED_EARLY}


def stopped_early(generation: Generation) -> bool:
    """Whether gate itself stopped it while it was written. What there is of it is never an answer."""
    return generation.finish_reason == STOPPED_EARLY


def quoting(prompt: Prompt, messages: tuple[Message, ...], passages: tuple[Passage, ...]) -> tuple[Message, ...]:
    """The conversation with its last user message put into a prompt of ``passages`` and ``question``."""
    fenced = quoted(passages, prompt)
    return put_otherwise(messages, lambda question: prompt.render(passages=fenced, question=question))


def put_otherwise(messages: tuple[Message, ...], put: Callable[[str], str]) -> tuple[Message, ...]:
    """The conversation with the text of its last user message made another; everything else stays, images too.

    Raises `EvidenceUnavailable` where no message is a user's.
    """
    last = max((place for place, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        raise EvidenceUnavailable("the conversation holds no message of a user")
    return (*messages[:last], saying(messages[last], put(messages[last].content)), *messages[last + 1 :])


def saying(message: Message, text: str) -> Message:
    """The message saying ``text`` instead; its other fields and parts stay."""
    if message.wire is None:
        return Message(message.role, text)
    parts = message.wire.get("content")
    if not isinstance(parts, list):
        return Message(message.role, text, {**message.wire, "content": text})
    others = [part for part in parts if part.get("type") != "text"]
    return Message(message.role, text, {**message.wire, "content": [{"type": "text", "text": text}, *others]})
