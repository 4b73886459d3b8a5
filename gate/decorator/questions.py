"""What Python code asks and brings along, as gate's own values: checked, and told by name where something is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, Literal

from gate.answer_shapes import Read, shape_of
from gate.errors import RequestError
from gate.given import Given
from gate.proxy.chat_requests import message_of, refuse_contradictions
from gate.proxy.json_wire import MAX_DEPTH
from gate.proxy.request_fields import SamplingFields, checked
from gate.proxy.request_fields import question_of as question_in
from gate.types import Budget, Generation, Message, Passage, Question, TokenLogprob
from gate.upstreams.openai_wire import log_probability

Asked = str | Question | Sequence[Any]
"""A question: its text, a conversation as on the OpenAI wire (dicts, or what its client returns), or gate's own."""
Gather = bool | Literal["evidence"]
"""See `gate.given.Given`."""
_NOT_OPTIONS = ("messages", "model", "n", "stream", "stream_options", "gate")
"""Fields of a request that are no options of a question: they are said elsewhere, or are for gate to set."""


# --- what is asked -----------------------------------------------------------------------------------------------


def question_of(asked: Asked, options: Mapping[str, Any] | None = None) -> Question:
    """The question, with ``options`` (``tools``, ``response_format``, ``temperature`` …) as on the OpenAI wire.

    What is taken over is a copy. Raises `RequestError`, whose ``param`` names the place, for a conversation or options
    that no server would take, and `TypeError` for what is no question.
    """
    if isinstance(asked, str):
        if not asked.strip():
            raise RequestError("the question is empty: there is nothing to answer", param="question")
        return Question((Message("user", asked),), _options(options))
    if isinstance(asked, Question):
        return replace(asked, options={**asked.options, **_options(options)}) if options else asked
    listed: Any = asked
    if not isinstance(listed, Sequence) or isinstance(listed, bytes | bytearray):
        kind = type(asked).__qualname__
        raise TypeError(f"question: a text, a list of messages or a gate.Question was expected, not a {kind}")
    if not listed:
        raise RequestError("messages: there is no user message, and so nothing to answer", param="messages")
    return question_in([_message(raw, place) for place, raw in enumerate(listed)], _options(options))


def budget_of(budget: Budget | None) -> Budget | None:
    """Raises `TypeError` for what is none."""
    if budget is None or isinstance(budget, Budget):
        return budget
    raise TypeError(f"budget: a gate.Budget was expected, not a {type(budget).__qualname__}")


def _message(raw: Any, place: int) -> Message:
    if isinstance(raw, Message):
        return raw
    wire = _json(raw, f"messages.{place}")
    if not isinstance(wire, dict):
        raise RequestError(f"messages.{place} must be an object with a role and content", param=f"messages.{place}")
    return message_of(wire, place)


def _options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if not options:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(f"options: a dict was expected, not a {type(options).__qualname__}")
    for name in _NOT_OPTIONS:
        if options.get(name) is not None:
            raise RequestError(f"options.{name}: is no option of a question, the policy sees to it", param=name)
    given = {str(name): _json(value, str(name)) for name, value in options.items() if value is not None}
    refuse_contradictions(checked(SamplingFields, given), given)
    return given


def _json(value: Any, place: str, depth: int = MAX_DEPTH) -> Any:
    """A copy of the value, of nothing but what JSON holds; of a client's own object the fields that are set."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if depth <= 0:
        raise RequestError(f"{place} is nested too deep: at most {MAX_DEPTH} levels are taken", param=place)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {str(name): _json(item, f"{place}.{name}", depth - 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, f"{place}.{at}", depth - 1) for at, item in enumerate(value)]
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return _json(dump(mode="json", exclude_none=True), place, depth - 1)
    said = f"{value} is no number" if isinstance(value, float) else f"a {type(value).__qualname__} is none"
    raise RequestError(f"{place} must be of what JSON holds: {said}", param=place)


# --- what is brought along ---------------------------------------------------------------------------------------


def given_of(
    answer: object,
    samples: object = (),
    logprobs: object = None,
    passages: object = (),
    written_by: str = "",
    gather: Gather = False,
) -> Given:
    """An answer of any shape in `gate.answer_shapes`, and what there is beside it, ready to be judged.

    ``logprobs`` go before those that came with the answer. Raises `TypeError` or `ValueError`, which name the argument.
    """
    read = _read(answer, "answer")
    tokens = tokens_of(logprobs)
    draft = read.generation if tokens is None else replace(read.generation, tokens=tokens)
    if not isinstance(written_by, str):
        raise TypeError(f"written_by: the name of an upstream was expected, not a {type(written_by).__qualname__}")
    if gather not in (True, False, "evidence"):
        raise ValueError(f"gather is {gather!r}: give True, False or 'evidence'")
    return Given(
        draft=draft,
        samples=(*read.others, *samples_of(samples)),
        passages=passages_of(passages),
        gather=gather,
        upstream=written_by,
        model=read.model,
    )


def _read(answer: object, place: str) -> Read:
    try:
        return shape_of(answer).read(answer)
    except TypeError as error:
        raise TypeError(f"{place}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def samples_of(samples: object) -> tuple[Generation, ...]:
    """More answers to the same question: a list of them, of any shape, or one response that holds several."""
    if samples is None or (isinstance(samples, tuple | list) and not samples):
        return ()
    if isinstance(samples, str | bytes):
        raise TypeError("samples: a list of answers was expected, not one text")
    if isinstance(samples, Mapping) or hasattr(samples, "model_dump"):
        listed: Iterable[object] = (samples,)
    elif isinstance(samples, Iterable):
        listed = samples
    else:
        raise TypeError(f"samples: a list of answers was expected, not a {type(samples).__qualname__}")
    each = [_read(sample, f"samples[{place}]") for place, sample in enumerate(listed)]
    return tuple(generation for read in each for generation in (read.generation, *read.others))


def passages_of(passages: object) -> tuple[Passage, ...]:
    """What the answer was written from; of plain texts the numbers are the ids."""
    if not passages and isinstance(passages, tuple | list):
        return ()
    if isinstance(passages, str | bytes) or not isinstance(passages, Iterable):
        raise TypeError(f"passages: a list of texts was expected, not a {type(passages).__qualname__}")
    made = []
    for place, passage in enumerate(passages):
        if not isinstance(passage, Passage | str):
            kind = type(passage).__qualname__
            raise TypeError(f"passages[{place}]: a text or a gate.types.Passage was expected, not a {kind}")
        made.append(passage if isinstance(passage, Passage) else Passage(str(place + 1), passage))
    return tuple(made)


def tokens_of(logprobs: object) -> tuple[TokenLogprob, ...] | None:
    """The log-probabilities of an answer's tokens, natural logarithms. None where there are none.

    They come as `TokenLogprob`, as an object or dict of OpenAI's (of chat, or of completions), or as plain numbers:
    then which tokens they are of stays unknown.
    """
    if logprobs is None:
        return None
    listed: Any = logprobs
    if _field(logprobs, "token_logprobs") is not None:
        listed = _of_completions(logprobs)
    elif isinstance(logprobs, Mapping) or hasattr(logprobs, "content"):
        listed = _field(logprobs, "content")
        if listed is None:
            return None
    if isinstance(listed, str | bytes | Mapping) or not isinstance(listed, Iterable):
        raise TypeError(f"logprobs: a list of numbers was expected, not a {type(logprobs).__qualname__}")
    return tuple(_token(each, f"logprobs[{place}]") for place, each in enumerate(listed)) or None


def _of_completions(logprobs: Any) -> list[dict[str, Any]]:
    """Those of the older endpoint, as chat has them."""
    values, texts, tops = (_field(logprobs, name) for name in ("token_logprobs", "tokens", "top_logprobs"))
    texts, tops = texts or [""] * len(values), tops or [None] * len(values)
    if not len(values) == len(texts) == len(tops):
        counted = f"{len(values)} token_logprobs, {len(texts)} tokens and {len(tops)} top_logprobs"
        raise ValueError(f"logprobs: {counted} do not go together")
    rivals = [[{"token": text, "logprob": each} for text, each in (top or {}).items()] for top in tops]
    return [
        {"token": text, "logprob": value, "top_logprobs": top}
        for text, value, top in zip(texts, values, rivals, strict=True)
    ]


def _token(each: Any, place: str) -> TokenLogprob:
    if isinstance(each, TokenLogprob):
        _number(each.logprob, place)
        return each
    if isinstance(each, Real):
        return TokenLogprob("", _number(each, place))
    value, token, top = (_field(each, name) for name in ("logprob", "token", "top_logprobs"))
    if value is None:
        raise TypeError(f"{place}: a number was expected, not a {type(each).__qualname__}")
    rivals = [
        (str(_field(one, "token") or ""), _number(_field(one, "logprob"), f"{place}.top_logprobs[{at}]"))
        for at, one in enumerate(top or ())
    ]
    return TokenLogprob(token if isinstance(token, str) else "", _number(value, place), tuple(rivals))


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{place}: a number was expected, not a {type(value).__qualname__}")
    known = log_probability(float(value))
    if known is None:
        raise ValueError(f"{place} is {float(value):g}: a log-probability is a number of at most 0")
    return known


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
