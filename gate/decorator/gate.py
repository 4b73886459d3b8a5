"""`Gate`: a policy to ask, and to judge answers by, from Python code."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from gate.answer_shapes import shape_of
from gate.assemble import load_gateway
from gate.decorator.decided import Abstained, Decided
from gate.decorator.keeping import Keeper, Noted
from gate.decorator.many import CONCURRENCY, Errors, Progress, Told, bounded, each, on_a_thread, shown
from gate.decorator.questions import Asked, Gather, budget_of, given_of, question_of
from gate.decorator.writers import signed, writer_of
from gate.errors import ConfigError
from gate.gateway import Gateway
from gate.given import Given
from gate.log.rows import Keep
from gate.policy import find
from gate.traces import TraceRecord
from gate.types import Budget, Outcome, Passage, Question

__all__ = ["Asked", "Gate", "decided", "given_of", "question_of", "returned", "shared_gate"]

T = TypeVar("T")
Judged = Mapping[str, Any] | tuple[Asked, Any]
"""What `Gate.judge` takes: a question and its answer, or a dict of its arguments by name."""
Verdict = tuple[Outcome, TraceRecord]


class Gate:
    """One policy, in this process. Safe to share between threads, tasks, event loops and forked processes.

    ::

        with Gate("policy.yaml") as gate:
            decided = gate.judge("Where is Nanjing?", "China", samples=["China", "China", "Taiwan"])
            print(decided.value if decided.answered else decided.reason)

    Once closed it can be used again. It is pickled by what it was loaded from, and shared by all who unpickle it in one
    process; one over a gateway that was made in code cannot be.
    """

    def __init__(
        self, policy: str | Path | Gateway = "balanced", *, log: str | None = None, keep: Keep = "scalars"
    ) -> None:
        """``policy``: a shipped one by name, a file by path, or a gateway.

        ``log``: the address of a decision log (``sqlite:///decisions.db``, ``postgresql://…``), in which all that is
        decided is kept for 90 days; ``keep`` says how much of it: ``scalars``, ``hashed`` or ``text``, as with ``gate
        serve``.
        Raises `ConfigError` where the policy or the log cannot be opened.
        """
        self._source = None if isinstance(policy, Gateway) else _source(policy)
        self.gateway = policy if isinstance(policy, Gateway) else load_gateway(str(policy))
        self._log, self._keep = log, keep
        self._keeper = None if log is None else Keeper(log, keep)

    # --- one question --------------------------------------------------------------------------------------------

    def ask(
        self, question: Asked, *, options: Mapping[str, Any] | None = None, budget: Budget | None = None
    ) -> Decided[str]:
        """Ask the policy's own models.

        ``question``: a text, a conversation as on the OpenAI wire, or a `Question`. ``options``: ``tools``,
        ``response_format``, ``temperature`` … as on the wire. ``budget`` may tighten the policy's, never loosen it.
        Raises `RequestError` for a question that no server would take, and `UpstreamError` without a first draft.
        """
        asked = question_of(question, options)
        with Noted(self._keeper) as note:
            return decided(*note(*self.gateway.ask(asked, budget=budget_of(budget))))

    async def aask(
        self, question: Asked, *, options: Mapping[str, Any] | None = None, budget: Budget | None = None
    ) -> Decided[str]:
        """`ask` on the running event loop. Cancelling it calls off what is under way."""
        asked = question_of(question, options)
        with Noted(self._keeper) as note:
            return decided(*note(*await self.gateway.aask(asked, budget=budget_of(budget))))

    def judge(
        self,
        question: Asked,
        answer: T,
        *,
        samples: object = (),
        logprobs: object = None,
        passages: Sequence[Passage | str] = (),
        written_by: str = "",
        gather: Gather = False,
        options: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> Decided[T]:
        """Judge an answer one already has, of any shape in `gate.answer_shapes`. Let through, it comes back as it is.

        ``samples``: more answers to the same question, drawn at a temperature. ``logprobs``: of the answer's tokens,
        natural logarithms: OpenAI's object, or plain numbers. ``passages``: what it was written from. ``written_by``:
        the upstream of the policy's ladder that wrote it; only then, or where that upstream is of kind ``caller``, the
        policy's certificate can hold. ``gather``: whether the policy's own models and routes may be asked for more, and
        for another answer; ``"evidence"``: for more, but not for another answer. Else what was given is all that is
        judged.

        Raises `TypeError` or `ValueError`, which name the argument, for what cannot be read, `RequestError` for the
        question, and `UnknownName` where the ladder holds no such upstream.
        """
        asked, given = question_of(question, options), given_of(answer, samples, logprobs, passages, written_by, gather)
        return returned(answer, given, *self.judge_given(asked, given, budget=budget))

    async def ajudge(
        self,
        question: Asked,
        answer: T,
        *,
        samples: object = (),
        logprobs: object = None,
        passages: Sequence[Passage | str] = (),
        written_by: str = "",
        gather: Gather = False,
        options: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> Decided[T]:
        """`judge` on the running event loop."""
        asked, given = question_of(question, options), given_of(answer, samples, logprobs, passages, written_by, gather)
        return returned(answer, given, *await self.ajudge_given(asked, given, budget=budget))

    def judge_given(self, question: Question, given: Given, *, budget: Budget | None = None) -> Verdict:
        """`gate.gateway.Gateway.judge`, kept in the log."""
        with Noted(self._keeper) as note:
            return note(*self.gateway.judge(question, given, budget=budget_of(budget)))

    async def ajudge_given(self, question: Question, given: Given, *, budget: Budget | None = None) -> Verdict:
        """`judge_given` on the running event loop."""
        with Noted(self._keeper) as note:
            return note(*await self.gateway.ajudge(question, given, budget=budget_of(budget)))

    # --- many ----------------------------------------------------------------------------------------------------

    def ask_all(
        self,
        questions: Iterable[Asked],
        *,
        concurrency: int = CONCURRENCY,
        progress: Progress = None,
        errors: Errors = "return",
        options: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> list[Decided[str] | Exception]:
        """`ask` all of them, up to ``concurrency`` at a time. The results come in the order of the questions.

        Where one fails, the exception stands in its place; with ``errors="raise"`` the first is raised, and the rest is
        called off. So it is when the caller is interrupted. ``progress``: True for a bar on stderr, or a function of
        how many are done and of how many. ``budget`` is of each question.
        """
        return self._all(self._asking(options, budget), questions, "asking", concurrency, progress, errors)

    async def aask_all(
        self,
        questions: Iterable[Asked],
        *,
        concurrency: int = CONCURRENCY,
        progress: Progress = None,
        errors: Errors = "return",
        options: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> list[Decided[str] | Exception]:
        """`ask_all` on the running event loop."""
        return await _aall(self._asking(options, budget), questions, "asking", concurrency, progress, errors)

    def judge_all(
        self,
        answers: Iterable[Judged],
        *,
        concurrency: int = CONCURRENCY,
        progress: Progress = None,
        errors: Errors = "return",
        **each_with: Any,
    ) -> list[Decided[Any] | Exception]:
        """`judge` all of them, as `ask_all` asks: pairs of a question and its answer, or dicts of `judge`'s arguments
        by name. What else is given by name goes for each that does not say it itself."""
        return self._all(self._judging(each_with), answers, "judging", concurrency, progress, errors)

    async def ajudge_all(
        self,
        answers: Iterable[Judged],
        *,
        concurrency: int = CONCURRENCY,
        progress: Progress = None,
        errors: Errors = "return",
        **each_with: Any,
    ) -> list[Decided[Any] | Exception]:
        """`judge_all` on the running event loop."""
        return await _aall(self._judging(each_with), answers, "judging", concurrency, progress, errors)

    def _asking(self, options: Mapping[str, Any] | None, budget: Budget | None) -> Callable[[Asked], Any]:
        return lambda question: self.aask(question, options=options, budget=budget)

    def _judging(self, each_with: Mapping[str, Any]) -> Callable[[Judged], Coroutine[Any, Any, Decided[Any]]]:
        async def judging(judged: Judged) -> Decided[Any]:
            if isinstance(judged, Mapping):
                return await self.ajudge(**{**each_with, **judged})
            pair: Any = judged
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise TypeError("a question and its answer, or a dict of the arguments of judge, was expected")
            question, answer = pair
            return await self.ajudge(question, answer, **each_with)

        return judging

    def _all(
        self,
        work: Callable[[Any], Coroutine[Any, Any, T]],
        items: Iterable[Any],
        what: str,
        concurrency: int,
        progress: Progress,
        errors: Errors,
    ) -> list[T | Exception]:
        bounded(concurrency, errors)
        listed = _listed(items)

        async def main(told: Told) -> list[T | Exception]:
            try:
                return await each(work, listed, concurrency=concurrency, errors=errors, told=told)
            finally:
                await self.gateway.aclose_loop()

        with shown(progress, what, len(listed)) as told:
            return on_a_thread(main, told)

    def noted(self) -> Noted:
        """Keeps in the log what it is told of one question, where there is a log."""
        return Noted(self._keeper)

    # --- the decision log ----------------------------------------------------------------------------------------

    def label(
        self,
        decision: str | Decided[Any] | Abstained,
        right: bool | None,
        *,
        by: str = "",
        note: str = "",
        answer: str = "",
    ) -> bool:
        """Keep in the log whether an answer was right (None: that cannot be told). False where no such decision is.

        ``answer``: what would have been right; it and the ``note`` are kept where the log keeps text. Blocks: on an
        event loop call it with `asyncio.to_thread`. Raises `ConfigError` without a log.
        """
        if self._keeper is None:
            raise ConfigError("there is no decision log to keep a label in: make the gate with log='sqlite:///…'")
        if right is not None and not isinstance(right, bool):
            raise TypeError(f"right: True, False or None was expected, not a {type(right).__qualname__}")
        from gate.log.kept import Label

        named = decision if isinstance(decision, str) else decision.id
        return self._keeper.label(Label(named, right, by, note=note, answer=answer))

    # --- closing -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close what `ask` opened, and write what the log still has to: at most 5 seconds are waited for it."""
        self.gateway.close()
        if self._keeper is not None:
            self._keeper.close()

    async def aclose(self) -> None:
        """`close`, and what `aask` opened on this loop."""
        await self.gateway.aclose()
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._source is None:
            raise TypeError("a Gate over a gateway cannot be pickled: make it from a policy's name or file")
        return _shared, (self._source, self._log, self._keep)


async def _aall(
    work: Callable[[Any], Coroutine[Any, Any, T]],
    items: Iterable[Any],
    what: str,
    concurrency: int,
    progress: Progress,
    errors: Errors,
) -> list[T | Exception]:
    bounded(concurrency, errors)
    listed = _listed(items)
    with shown(progress, what, len(listed)) as told:
        return await each(work, listed, concurrency=concurrency, errors=errors, told=told)


def _listed(items: Iterable[Any]) -> list[Any]:
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise TypeError(f"a list was expected, not a {type(items).__qualname__}")
    return list(items)


def decided(outcome: Outcome, trace: TraceRecord) -> Decided[str]:
    """What was asked of the policy's own models."""
    return Decided(outcome.text if outcome.answered else Abstained(outcome, trace), outcome, trace)


def returned(answer: T, given: Given, outcome: Outcome, trace: TraceRecord) -> Decided[T]:
    """The object that was brought along, where it was let through; another answer in its likeness; or `Abstained`."""
    if not outcome.answered:
        return Decided(Abstained(outcome, trace), outcome, trace)
    if outcome.generation is given.draft:
        return Decided(answer, outcome, trace)
    written: Any = shape_of(answer).written(outcome, answer)
    return Decided(signed(written, writer_of(outcome, trace)), outcome, trace)


# --- shared by all who name the same policy ----------------------------------------------------------------------

_gates: dict[tuple[str, str | None, str], Gate] = {}
_loading = threading.Lock()


def shared_gate(policy: str | Path | Gate | Gateway) -> Gate:
    """The gate of a policy: one in this process for all who name the same one; a `Gate` as it is.

    Raises `ConfigError` where the policy cannot be loaded, each time anew.
    """
    if isinstance(policy, Gate):
        return policy
    return Gate(policy) if isinstance(policy, Gateway) else _shared(_source(policy))


def _shared(source: str, log: str | None = None, keep: Keep = "scalars") -> Gate:
    key = source, log, keep
    made = _gates.get(key)
    if made is None:
        with _loading:
            made = _gates.get(key)
            if made is None:
                made = _gates[key] = Gate(source, log=log, keep=keep)
    return made


def _source(policy: str | Path) -> str:
    """A shipped policy's name, or where a file is, whatever folder one is in later."""
    path = find(str(policy))
    return str(policy) if Path(policy).suffix == "" and path != Path(policy) else str(path.resolve())


def _forked() -> None:
    """Who was loading a policy then is not in this process to let go."""
    global _loading
    _loading = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
