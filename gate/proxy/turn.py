"""One request that was let in, until all about it is done: its questions, its response, and what is kept of it.

A turn is entered with ``async with`` before its questions are asked. When it is left, whatever went wrong has been
told, in the door's own shape, as the response or as the end of the one that had begun; and what was decided, or had
happened until it failed, its client left or the server stopped, is kept. Where the log is durable, it is kept first:
then nothing of an answer, and no decision's name, leaves before, and every stream is held whatever its policy says.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import anyio

from gate.drivers import Recording
from gate.errors import GateError, RequestError, first_of, trace_of
from gate.gateway import Gateway
from gate.log.entries import Entry, Mode
from gate.proxy.decision_headers import headers
from gate.proxy.doors import Door, Events
from gate.proxy.exchange import ClientGone, Exchange
from gate.proxy.json_wire import dumps
from gate.proxy.keys import Client
from gate.proxy.limits import Admitted
from gate.proxy.observing import FirstDraft
from gate.proxy.request_fields import ChatRequest, Streaming
from gate.proxy.service import Service
from gate.proxy.spoken import RefusalIn, withdrawn
from gate.proxy.verdicts import Decided, abstained, abstention_error
from gate.proxy.wire_errors import FAULT, WireError, wire_error
from gate.traces import TraceRecord
from gate.types import Cost, Generation, Outcome

log = logging.getLogger("gate.proxy")
GONE = 499
"""The status of a response that nobody reads."""
_LOOSENESS: Mapping[Streaming, int] = {"hold": 0, "prefix": 1, "annotate": 2}


class Turn:
    """One request, and the policy that it is for."""

    __slots__ = (
        "_confirmed",
        "_logged",
        "_sent",
        "_unkept",
        "_writer",
        "admitted",
        "asked",
        "client",
        "door",
        "exchange",
        "gateway",
        "mode",
        "money",
        "recordings",
        "refused",
        "retracted",
        "service",
        "status",
        "streaming",
        "tokens",
        "unlogged",
    )

    def __init__(
        self, service: Service, door: Door, exchange: Exchange, client: Client, asked: ChatRequest, gateway: Gateway
    ) -> None:
        """Raises `RequestError` where text is asked for earlier than the policy gives it out."""
        self.service, self.door, self.exchange = service, door, exchange
        self.client, self.asked, self.gateway = client, asked, gateway
        serving = gateway.policy.serving
        wanted = _streaming(serving.streaming, asked)
        observes = serving.mode == "observe" and service.draw() >= serving.enforced_share
        self.mode: Mode = "observe" if observes else "enforce"
        self.streaming: Streaming = "hold" if self._waits else wanted
        self.recordings = [Recording(keyed=service.replayed) for _ in range(asked.n)]
        """One for each question."""
        self.admitted: Admitted | None = None
        """What it was charged in advance."""
        self.status = GONE
        """Of the response, once it is told."""
        self.retracted = False
        self.refused = False
        """Whether it was the request itself that could not be served."""
        self.unlogged = False
        """Whether it was decided, and nobody told: it was not in the log in time. It costs the client nothing."""
        self.tokens, self.money = 0, 0.0
        """What was spent on what is kept; US dollars."""
        self._writer: Events | None = None
        self._sent: list[str] = []
        """What went out before the verdict."""
        self._unkept: list[tuple[TraceRecord, bool]] = []
        """With each, whether it holds all the evidence there is."""
        self._logged = 0
        """How many of them are on their way into the log already."""
        self._confirmed = False
        """Whether what was decided is in the log, as far as that is waited for."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> bool:
        """A fault goes on once it was answered, so that it is logged; so does what ends the server."""
        if self.exchange.superseded:
            self._withdraw()
        if error is None:
            try:
                await self._complete()
            finally:
                await self._keep()
            return False
        first = first_of(error)
        self.refused = isinstance(first, RequestError)
        self.exchange.decided = False
        try:
            if isinstance(first, Exception) and not isinstance(first, ClientGone):
                told = wire_error(first) if isinstance(first, GateError) else FAULT
                record = trace_of(first)
                if record is not None and await self._in_log(told.status):
                    self._confirmed = True
                    if not self.exchange.started:
                        self.mark([(None, record)])
                await self.fail(told)
        finally:
            await self._keep()
        return isinstance(first, GateError | ClientGone)

    # --- deciding ------------------------------------------------------------------------------------------------

    async def decide(self) -> list[Decided]:
        """The outcome of every question of the request. Raises the first error of any."""
        questions = self.asked.questions
        if len(questions) == 1:
            return [await self._ask(0)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(place)) for place in range(len(questions))]
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        return [task.result() for task in tasks]

    async def _ask(self, place: int) -> Decided:
        question, recording, brought = self.asked.questions[place], self.recordings[place], self.asked.brought
        budget, observing = self.asked.budget, self.mode == "observe"
        with _Noting(self._unkept):
            if brought is None:
                asking = self.gateway.aask(question, budget=budget, recording=recording, observing=observing)
            else:
                given = brought.answers[place]
                asking = self.gateway.ajudge(question, given, budget=budget, recording=recording, observing=observing)
            decided = await asking
        self._unkept.append((decided[1], False))
        return decided

    # --- telling -------------------------------------------------------------------------------------------------

    def mark(self, decided: Sequence[tuple[Outcome | None, TraceRecord]] = ()) -> None:
        """Put the decision into the headers of the response; before there is one, who will make it."""
        policy = f"{self.gateway.name}@{self.gateway.policy_fingerprint[:12]}"
        made = headers(policy, self._certificate(decided), decided)
        if not decided and not self._waits:
            made["x-gate-decision-id"] = ", ".join(recording.id for recording in self.recordings)
        if self.mode == "observe":
            made["x-gate-mode"] = "observe"
        self.exchange.mark(made)

    def _certificate(self, decided: Sequence[tuple[Outcome | None, TraceRecord]]) -> str:
        """None stands behind what goes out where a policy only observes."""
        if self.mode == "observe":
            return "none"
        return self.service.certificate(self.gateway, *(record for _, record in decided))

    async def begin(self) -> None:
        """Begin a stream before the verdict."""
        if not self.exchange.started:
            self.mark()
            await self.exchange.start_events()

    async def keep_alive(self) -> None:
        await self.begin()
        await self.exchange.events([self.door.keep_alive])

    async def show(self, text: str) -> None:
        """Send so much more of an answer that has no verdict yet."""
        await self.begin()
        opening, writer = self._written()
        self._sent.append(text)
        await self.exchange.events([opening, writer.text(text)])

    async def tell(self, decided: Sequence[Decided]) -> None:
        """What was decided: the whole response, or the end of the one that has begun."""
        early = self.exchange.started
        self.exchange.decided = True
        certificate = self._certificate(decided) if early else None
        error = None
        if self._is_error(decided):
            error = abstention_error(decided, explain=self.asked.explain, certificate=certificate)
        if self._writer is not None:
            self.retracted = withdrawn("".join(self._sent), decided[0][0])
        await self._log_first(decided, 200 if error is None else error.status)
        self._confirmed = True
        if not early:
            self.mark(decided)
        if error is not None:
            await self.fail(error)
            return
        # where a policy observes a refusal is the model's own, and stands where models put theirs
        refusal_in: RefusalIn = "refusal" if self.mode == "observe" else self.gateway.policy.serving.refusal_in
        if not self.asked.stream:
            reply = dumps(self.door.reply(self.asked, decided, refusal_in))
            self.status = 200
            await self.exchange.reply(200, reply)
            self._settle(decided)
            return
        if self._writer is None:
            writer = self.door.writer(self.asked, self.recordings[0].id)
            parts = writer.whole(decided, refusal_in, certificate)
        else:
            parts = self._writer.end(decided, refusal_in, certificate or "none")
        if not early:
            await self.exchange.start_events()
        self.status = 200
        await self.exchange.end_events(parts)
        self._settle(decided)

    def _settle(self, decided: Sequence[Decided]) -> None:
        """Charge the client for what went out. What is done behind the answer is not on its account, and takes none of
        its places."""
        if self.exchange.superseded:
            return
        cost = sum((record.cost for _, record in decided), Cost())
        self.service.settle(self.admitted, cost.tokens, cost.money)

    def _is_error(self, decided: Sequence[Decided]) -> bool:
        """Whether it is an abstention, and of those that are errors."""
        wanted = self.asked.abstention or self.gateway.policy.serving.abstention
        return wanted == "error" and abstained(decided)

    async def fail(self, error: WireError) -> None:
        """Tell of an error, as the response or as the end of the one that has begun."""
        if self.exchange.ended is not None:
            return
        self.status = error.status
        if not self.exchange.started:
            self.exchange.mark(error.headers)
            await self.exchange.reply(error.status, dumps(self.door.error(error)))
            return
        if self._sent:
            self.retracted = True
            error = dataclasses.replace(error, gate={**(error.gate or {}), "retracted": True})
        opening, writer = self._written()
        await self.exchange.end_events([opening, writer.fail(error)])

    def _written(self) -> tuple[bytes, Events]:
        """Who writes the stream, and what opens it where it is not open yet."""
        if self._writer is not None:
            return b"", self._writer
        nameless = self._waits and not self._confirmed
        self._writer = self.door.writer(self.asked, self.exchange.request_id if nameless else self.recordings[0].id)
        return self._writer.begin(), self._writer

    # --- keeping -------------------------------------------------------------------------------------------------

    async def _complete(self) -> None:
        """Gather all the evidence there is for a share of the questions. What that costs is on nobody's account."""
        share = self.service.settings.audit.full_evidence
        for place, (record, _) in enumerate(self._unkept if share else ()):
            if record.outcome is None or self.service.draw() >= share:
                continue
            try:
                self._unkept[place] = await self.gateway.acomplete(record), True
            except GateError as error:
                log.warning("the evidence of a decision could not be completed: %s", error)

    @property
    def _waits(self) -> bool:
        """Whether nobody is told of a decision before it is in the log."""
        return self.service.durable and self.mode == "enforce"

    async def _in_log(self, status: int) -> bool:
        """Whether anyone may be told of what was decided: where the log is durable, once it is in there. So a decision
        may be in the log that nobody was told of, and none that somebody was told of is missing."""
        if not self._waits:
            return True
        self.status = status
        waiting = [asyncio.wrap_future(told) for told in self._log() if told is not None]
        try:
            async with asyncio.timeout(self.service.settings.log.durable_seconds):
                return all(await asyncio.gather(*waiting))
        except TimeoutError:
            return False

    async def _log_first(self, decided: Sequence[Decided], status: int) -> None:
        """`_in_log`, or `RequestError`. What nobody is told of costs nothing, and has the status in the log that it
        came to, should it come in there after all."""
        self.unlogged, came_to = True, GONE
        try:
            if not await self._in_log(status):
                came_to = 503
                said = "the decision could not be logged, and this server answers nothing unlogged; try again"
                raise RequestError(said, status=503, code="log_unavailable", retry_after=1)
            self.unlogged = False
        finally:
            if self.unlogged:
                self.service.unsent([record.id for _, record in decided], came_to)

    def _withdraw(self) -> None:
        """What was decided went to nobody: the same request was answered elsewhere meanwhile, and that was sent."""
        self.status = GONE
        if self._logged:
            self.service.unsent([record.id for record, _ in self._unkept[: self._logged]], GONE)

    def _log(self) -> list[Future[bool] | None]:
        """Have logged what is not yet."""
        seconds = (self.exchange.ended or time.monotonic()) - self.exchange.began
        told = [self._put(record, full, seconds) for record, full in self._unkept[self._logged :]]
        self._logged = len(self._unkept)
        return told

    async def _keep(self) -> None:
        self._log()
        unkept, self._unkept, self._logged = self._unkept, [], 0
        sink = self.service.trace_sink
        if sink is None:
            return
        for record, _ in unkept:
            try:
                await anyio.to_thread.run_sync(sink, record)
            except OSError as error:
                if not self.service.trace_failing:  # else it would be a line a request until there is room again
                    log.warning("traces cannot be written and are lost: %s", error.strerror or type(error).__name__)
                self.service.trace_failing = True
            else:
                self.service.trace_failing = False

    def _first_draft(self, record: TraceRecord) -> Generation | None:
        """That of a question which is only observed: it went out, whatever was decided."""
        reading = next((each.live for each in self.recordings if each.id == record.id), None)
        return reading.draft if self.mode == "observe" and isinstance(reading, FirstDraft) else None

    def _put(self, record: TraceRecord, full: bool, seconds: float) -> Future[bool] | None:
        self.tokens += record.cost.tokens
        self.money += record.cost.money
        audit = self.service.settings.audit.share
        outcome, sent = record.outcome, self._first_draft(record)
        draft = sent is not None or (outcome is not None and (outcome.generation or outcome.withheld) is not None)
        drawn = audit > 0 and draft and self.service.draw() < audit
        entry = Entry(
            record,
            self.door.name,
            "" if self.service.keys is None else self.client.name,
            self.exchange.request_id,
            self.mode,
            self.asked.stream,
            self.status,
            self.retracted,
            audit if drawn else None,
            full,
            seconds,
            sent,
        )
        return self.service.keep(entry, self.gateway.policy, self.exchange)


class _Noting:
    """Notes what had happened to a question when anything ends it but an outcome."""

    __slots__ = ("_unkept",)

    def __init__(self, unkept: list[tuple[TraceRecord, bool]]) -> None:
        self._unkept = unkept

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        record = trace_of(error) if error is not None else None
        if record is not None:
            self._unkept.append((record, False))


def _streaming(policy: Streaming, asked: ChatRequest) -> Streaming:
    wanted = asked.streaming or policy
    if _LOOSENESS[wanted] > _LOOSENESS[policy]:
        said = f"the policy streams by {policy!r}: {wanted!r} would let out text that is not judged yet"
        raise RequestError(said, param="gate.streaming")
    return "hold" if asked.n > 1 else wanted
