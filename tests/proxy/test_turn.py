"""What is kept of a request, however it ends; what is drawn by chance; and that nothing is said twice."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import pytest

from gate.errors import GateError, RequestError, UpstreamError
from gate.log.entries import Entry
from gate.proxy.answering import answer
from gate.proxy.doors import CHAT, DOORS, Door
from gate.proxy.exchange import ClientGone
from gate.proxy.metrics import Metrics
from gate.proxy.service import Service
from gate.proxy.settings import AuditSettings, LogSettings, ServerSettings
from gate.proxy.turn import GONE, Turn
from gate.proxy.wire_errors import WireError
from gate.serving_settings import ServingSettings
from gate.traces import TraceRecord
from gate.types import Action, Generation, Outcome, Question
from tests.proxy.fake_gateway import DRAFT_COST, GENERATION, FakeGateway, outcome_of
from tests.proxy.reading import Noted
from tests.proxy.served import bearer, keys_of, service_of
from tests.proxy.wire import Wire

pytestmark = pytest.mark.anyio
ANSWERED = outcome_of(GENERATION)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def serving(gateway: FakeGateway, audit: AuditSettings | None = None, **more: Any) -> tuple[Service, Noted]:
    log = Noted()
    settings = ServerSettings(dashboard=False, audit=audit or AuditSettings(share=0))
    return service_of(gateway, log=log, settings=settings, **more), log


def kept(log: Noted) -> list[Entry]:
    return [log.entries.get_nowait() for _ in range(log.entries.qsize())]


def draws(*values: float) -> Any:
    left = iter(values)
    return lambda: next(left)


# --- what is kept ------------------------------------------------------------------------------------------------


async def test_an_entry_says_who_asked_what_came_of_it_and_how_long_it_took() -> None:
    service, log = serving(FakeGateway(), keys=keys_of(app={}))
    wire = Wire(headers=bearer("app"))
    await answer(service, CHAT, wire.exchange)
    (entry,) = kept(log)
    assert wire.headers["x-gate-decision-id"] == entry.record.id
    assert (entry.door, entry.key, entry.request_id, entry.mode, entry.status) == (
        "chat",
        "app",
        "req_1",
        "enforce",
        200,
    )
    assert (entry.streamed, entry.retracted, entry.audit, entry.full_evidence) == (False, False, None, False)
    assert wire.exchange.ended is not None
    assert entry.seconds == wire.exchange.ended - wire.exchange.began


async def test_without_keys_an_entry_names_none() -> None:
    service, log = serving(FakeGateway())
    await answer(service, CHAT, Wire().exchange)
    assert kept(log)[0].key == ""


async def test_of_several_questions_all_are_kept_when_one_fails() -> None:
    """The sound one had spent tokens, and its draft was paid for."""
    said: Any = iter([ANSWERED, UpstreamError("small", "is down")])
    service, log = serving(FakeGateway(lambda question: next(said)))
    wire = Wire(n=2)
    await answer(service, CHAT, wire.exchange)
    assert wire.status == 502
    entries = kept(log)
    assert sorted(entry.record.error or "" for entry in entries) == ["", "upstream 'small': is down"]
    assert {entry.status for entry in entries} == {502}


async def test_those_cut_off_by_the_failure_of_another_are_kept_with_what_they_spent() -> None:
    failing = FakeGateway(lambda question: UpstreamError("small", "is down"), seconds=0.01)
    slow = FakeGateway(judging=30)

    class Uneven(FakeGateway):
        async def aask(self, *arguments: Any, **named: Any) -> Any:
            self.asked.append(arguments)
            return await (failing if len(self.asked) == 1 else slow).aask(*arguments, **named)

    service, log = serving(Uneven())
    await answer(service, CHAT, Wire(n=2).exchange)
    spent = {entry.record.error: entry.record.cost for entry in kept(log)}
    assert spent["the caller went away"] == DRAFT_COST
    assert "upstream 'small': is down" in spent


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_a_server_that_stops_keeps_what_had_happened(stream: bool, mode: Any) -> None:
    gateway = FakeGateway(seconds=30, serving=ServingSettings(mode=mode))
    service, log = serving(gateway)
    traces: list[TraceRecord] = []
    service.trace_sink = traces.append
    wire = Wire(stream=stream)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(answer(service, CHAT, wire.exchange))
        while not gateway.asked:
            await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    (entry,) = kept(log)
    assert (entry.status, entry.record.error) == (GONE, "the caller went away")
    assert traces == [entry.record]
    assert not wire.sent


async def test_a_server_that_stops_while_it_judges_behind_a_response_keeps_its_status() -> None:
    gateway = FakeGateway(draft=GENERATION, judging=30, serving=ServingSettings(mode="observe"))
    service, log = serving(gateway)
    wire = Wire()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(answer(service, CHAT, wire.exchange))
        await wire.ended.wait()
        task.cancel()
    (entry,) = kept(log)
    assert (entry.status, entry.mode, entry.record.error) == (200, "observe", "the caller went away")
    assert entry.record.cost == DRAFT_COST


async def test_traces_go_to_the_sink_behind_the_log() -> None:
    order: list[str] = []
    service, log = serving(FakeGateway(), trace_sink=lambda record: order.append(f"sink {log.entries.qsize()}"))
    await answer(service, CHAT, Wire(n=2).exchange)
    assert order == ["sink 2", "sink 2"]


async def test_a_trace_that_cannot_be_written_is_told_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    full = [True]

    def sink(record: TraceRecord) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device", "/some/file")

    service, log = serving(FakeGateway(), trace_sink=sink)
    for full[0], warnings in ((True, 1), (True, 1), (False, 1), (True, 2)):
        wire = Wire(n=2)
        await answer(service, CHAT, wire.exchange)
        assert wire.status == 200
        said = [record.getMessage() for record in caplog.records if record.name == "gate.proxy"]
        assert said == ["traces cannot be written and are lost: No space left on device"] * warnings
    assert len(kept(log)) == 8


# --- what is drawn -----------------------------------------------------------------------------------------------


async def test_a_share_is_drawn_for_a_person_to_check_with_its_probability() -> None:
    audit = AuditSettings(share=0.25)
    service, log = serving(FakeGateway(), audit, draw=draws(0.24, 0.25, 0.0, 0.9))
    for _ in range(2):
        await answer(service, CHAT, Wire(n=2).exchange)
    assert [entry.audit for entry in kept(log)] == [0.25, None, 0.25, None]


@pytest.mark.parametrize(
    ("made", "drawn"),
    [
        (outcome_of(GENERATION), True),
        (outcome_of(None), False),
        (UpstreamError("small", "is down"), False),
    ],
    ids=["an answer", "nothing to check", "an error"],
)
async def test_only_what_there_is_a_draft_of_is_drawn(made: Outcome | GateError, drawn: bool) -> None:
    service, log = serving(FakeGateway(lambda question: made), AuditSettings(share=1))
    await answer(service, CHAT, Wire().exchange)
    assert (kept(log)[0].audit is not None) == drawn


async def test_the_draws_are_each_their_own() -> None:
    """One for the mode, then one for each question's evidence, and one for its audit: none decides another."""
    observing = ServingSettings(mode="observe", enforced_share=0.5)
    audit = AuditSettings(share=0.5, full_evidence=0.5)
    for mode, full, audited in ((m, f, a) for m in (0.4, 0.6) for f in (0.4, 0.6) for a in (0.4, 0.6)):
        service, log = serving(FakeGateway(serving=observing), audit, draw=draws(mode, full, audited))
        await answer(service, CHAT, Wire().exchange)
        (entry,) = kept(log)
        assert entry.mode == ("enforce" if mode < 0.5 else "observe")
        assert entry.full_evidence == (full < 0.5)
        assert entry.audit == (0.5 if audited < 0.5 else None)


# --- full evidence -----------------------------------------------------------------------------------------------

ALL = AuditSettings(share=0, full_evidence=1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_the_rest_of_the_evidence_is_gathered_behind_the_response(stream: bool, mode: Any) -> None:
    gateway = FakeGateway(completing=30, serving=ServingSettings(mode=mode))
    service, log = serving(gateway, ALL)
    wire = Wire(stream=stream)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(answer(service, CHAT, wire.exchange))
        await wire.ended.wait()
        while not gateway.completed:
            await asyncio.sleep(0)
        assert log.empty
        task.cancel()
    (entry,) = kept(log)
    assert (entry.full_evidence, entry.status) == (False, 200), "what could not be completed is kept as it was"
    assert entry.record is gateway.completed[0]


async def test_what_was_completed_is_kept_so_and_is_on_nobodys_account() -> None:
    metrics = Metrics()
    service, log = serving(FakeGateway(), ALL, metrics=metrics)
    await answer(service, CHAT, Wire().exchange)
    (entry,) = kept(log)
    assert entry.full_evidence
    assert [each.key for each in entry.record.tape] == ["k", "more"]
    assert entry.record.cost == ANSWERED.cost
    assert b"gate_overhead_seconds_count 0.0" in metrics.render(), "calls behind the response tell nothing of it"


async def test_evidence_that_cannot_be_had_leaves_the_plain_record(caplog: pytest.LogCaptureFixture) -> None:
    service, log = serving(FakeGateway(incomplete=UpstreamError("large", "is down", said="of a user")), ALL)
    with caplog.at_level(logging.WARNING):
        await answer(service, CHAT, Wire().exchange)
    (entry,) = kept(log)
    assert (entry.full_evidence, entry.record.action, entry.status) == (False, Action.ANSWER, 200)
    assert "could not be completed: upstream 'large': is down" in caplog.text
    assert "of a user" not in caplog.text


async def test_a_fault_in_it_leaves_the_plain_record_of_all() -> None:
    service, log = serving(FakeGateway(incomplete=ZeroDivisionError()), ALL)
    wire = Wire(n=2)
    with pytest.raises(ZeroDivisionError):
        await answer(service, CHAT, wire.exchange)
    assert wire.status == 200
    assert [(entry.full_evidence, entry.status) for entry in kept(log)] == [(False, 200)] * 2


@pytest.mark.parametrize("made", [UpstreamError("small", "is down"), RuntimeError()], ids=["an error", "a fault"])
async def test_nothing_is_gathered_for_what_failed(made: Exception) -> None:
    gateway = FakeGateway(lambda question: made)
    service, log = serving(gateway, ALL)
    if isinstance(made, GateError):
        await answer(service, CHAT, Wire().exchange)
    else:
        with pytest.raises(RuntimeError):
            await answer(service, CHAT, Wire().exchange)
    assert not gateway.completed
    assert len(kept(log)) == 1


async def test_nor_for_what_failed_behind_its_draft() -> None:
    observing = ServingSettings(mode="observe")
    gateway = FakeGateway(lambda question: UpstreamError("small", "late"), draft=GENERATION, serving=observing)
    service, log = serving(gateway, ALL)
    await answer(service, CHAT, Wire().exchange)
    assert not gateway.completed
    assert [(entry.status, entry.full_evidence) for entry in kept(log)] == [(200, False)]


# --- telling -----------------------------------------------------------------------------------------------------


def turn_of(wire: Wire, gateway: FakeGateway | None = None, **fields: Any) -> tuple[Turn, Noted]:
    service, log = serving(gateway or FakeGateway())
    asked = CHAT.parse(Wire(**fields)._body or b"")
    client = service.client(wire.exchange, "ask")
    return Turn(service, CHAT, wire.exchange, client, asked, service.policies.default), log


async def test_an_error_is_told_once_and_not_behind_the_end() -> None:
    wire = Wire()
    turn, _ = turn_of(wire)
    await turn.fail(WireError(503, "busy", "server_error", headers={"retry-after": "2"}))
    assert (wire.status, wire.headers["retry-after"], turn.status) == (503, "2", 503)
    await turn.fail(WireError(500, "fault", "server_error"))
    assert turn.status == 503


async def test_a_stream_that_ends_in_an_error_was_opened_before() -> None:
    wire = Wire(stream=True)
    turn, _ = turn_of(wire, stream=True)
    await turn.keep_alive()
    await turn.fail(WireError(502, "down", "upstream_error"))
    comment, opening, error, done = wire.events
    assert comment.name == "comment"
    assert opening.data["choices"][0]["delta"]["role"] == "assistant"
    assert error.data == {"error": {"message": "down", "type": "upstream_error", "param": None, "code": None}}
    assert done.data == "[DONE]"
    assert (turn.status, turn.retracted) == (502, False)


async def test_headers_that_left_before_the_verdict_are_marked_once() -> None:
    wire = Wire(stream=True)
    turn, _ = turn_of(wire, stream=True)
    await turn.show("Nigeria")
    await turn.tell(await turn.decide())
    assert wire.headers["x-gate-decision-id"] == turn.recordings[0].id
    assert "x-gate-action" not in wire.headers
    assert turn.retracted is False


@pytest.mark.parametrize(
    ("error", "goes_on", "refused", "status"),
    [
        (RequestError("no"), False, True, 400),
        (UpstreamError("small", "is down"), False, False, 502),
        (ClientGone(), False, False, GONE),
        (ExceptionGroup("", [UpstreamError("small", "is down")]), False, False, 502),
        (ZeroDivisionError(), True, False, 500),
        (asyncio.CancelledError(), True, False, GONE),
        (KeyboardInterrupt(), True, False, GONE),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_ends_a_turn_is_told_where_it_can_be_and_goes_on_where_it_must(
    error: BaseException, goes_on: bool, refused: bool, status: int
) -> None:
    wire = Wire()
    turn, _ = turn_of(wire)

    async def through() -> None:
        async with turn:
            raise error

    if goes_on:
        with pytest.raises(type(error)) as raised:
            await through()
        assert raised.value is error
    else:
        await through()
    assert (turn.refused, turn.status) == (refused, status)
    assert wire.status == (None if status == GONE else status)


async def test_what_a_request_took_is_added_up() -> None:
    service, _ = serving(FakeGateway())
    turn, _ = turn_of(Wire(n=2), n=2)
    async with turn:
        await turn.tell(await turn.decide())
    assert turn.tokens == 2 * ANSWERED.cost.tokens
    assert math.isclose(turn.money, 2 * ANSWERED.cost.money)
    assert service.limiter is not None


async def test_a_question_has_a_recording_of_its_own() -> None:
    seen: list[Question] = []

    def told(question: Question) -> Outcome:
        seen.append(question)
        return outcome_of(Generation(f"answer {len(seen)}"))

    wire = Wire(n=3, seed=5)
    turn, log = turn_of(wire, FakeGateway(told), n=3, seed=5)
    async with turn:
        await turn.tell(await turn.decide())
    assert [question.options["seed"] for question in seen] == [5, 6, 7]
    assert [entry.record.id for entry in kept(log)] == [recording.id for recording in turn.recordings]
    assert _contents(wire.json["choices"]) == ["answer 1", "answer 2", "answer 3"]


# --- kept before it is told --------------------------------------------------------------------------------------


class Slow(Noted):
    """A log that tells what became of a decision when it is told to."""

    away = False

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Future[bool]] = []
        self.amended: dict[str, int] = {}
        self.asked = asyncio.Event()

    def amend(self, decisions: Iterable[str], status: int) -> None:
        self.amended.update(dict.fromkeys(decisions, status))

    def keep(self, entry: Entry) -> Future[bool]:
        self.put(entry)
        self.told.append(Future())
        self.asked.set()
        return self.told[-1]


def durable(gateway: FakeGateway, seconds: float = 20) -> tuple[Service, Slow]:
    log = Slow()
    kept_in = LogSettings(url="sqlite:///x.db", durable=True, durable_seconds=seconds)
    settings = ServerSettings(dashboard=False, audit=AuditSettings(share=0), log=kept_in)
    return service_of(gateway, log=log, settings=settings), log


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_nobody_is_told_of_a_decision_before_it_is_in_a_durable_log(stream: bool) -> None:
    service, log = durable(FakeGateway())
    wire = Wire(stream=stream)
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(service, CHAT, wire.exchange))
        await log.asked.wait()
        assert not wire.sent
        log.told[0].set_result(True)
    (entry,) = kept(log)
    assert (wire.status, entry.status, entry.streamed) == (200, 200, stream)
    assert wire.headers["x-gate-decision-id"] == entry.record.id


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_a_stream_is_held_until_its_decision_is_in_a_durable_log_whatever_the_policy_says(
    door: Door, logged: bool
) -> None:
    written = ["Nigeria is ", 0.05]  # after so long a comment keeps the stream alive
    service, log = durable(
        FakeGateway(written=written, serving=ServingSettings(streaming="annotate", keep_alive=0.01), judging=0.05)
    )
    wire = Wire(door, stream=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(service, door, wire.exchange))
        await log.asked.wait()
        assert "x-gate-decision-id" not in wire.headers
        assert wire.content
        assert b"Nigeria" not in wire.content
        log.told[0].set_result(logged)
    (entry,) = kept(log)
    assert (b"Nigeria" in wire.content) is logged
    assert (entry.record.id.encode() in wire.content) is logged
    assert (b"log_unavailable" in wire.content or b"could not be logged" in wire.content) is not logged


@pytest.mark.parametrize("late", [False, True], ids=["refused by it", "not there in time"])
async def test_what_does_not_come_into_a_durable_log_is_no_answer(late: bool) -> None:
    service, log = durable(FakeGateway(), 0.01 if late else 20)
    wire = Wire(n=2)
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(service, CHAT, wire.exchange))
        await log.asked.wait()
        log.told[0].set_result(True)
        if not late:
            log.told[1].set_result(False)
    assert (wire.status, wire.json["error"]["code"]) == (503, "log_unavailable")
    assert wire.headers["retry-after"] == "1"
    assert "x-gate-decision-id" not in wire.headers
    entries = kept(log)
    assert len(entries) == 2, "each once"
    assert log.amended == dict.fromkeys([entry.record.id for entry in entries], 503)


async def test_what_a_server_that_stops_tells_nobody_of_is_logged_as_that() -> None:
    service, log = durable(FakeGateway())
    wire = Wire()
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(answer(service, CHAT, wire.exchange))
        await log.asked.wait()
        answering.cancel()
    (entry,) = kept(log)
    assert (wire.sent, log.amended) == ([], {entry.record.id: 499})


async def test_a_failure_with_a_decision_is_kept_first_too() -> None:
    service, log = durable(FakeGateway(lambda question: UpstreamError("small", "is down")))
    wire = Wire()
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(service, CHAT, wire.exchange))
        await log.asked.wait()
        assert not wire.sent
        log.told[0].set_result(True)
    (entry,) = kept(log)
    assert (wire.status, entry.status, wire.headers["x-gate-decision-id"]) == (502, 502, entry.record.id)


async def test_what_is_only_observed_waits_for_no_log() -> None:
    service, log = durable(FakeGateway(draft=GENERATION, serving=ServingSettings(mode="observe")))
    wire = Wire()
    await answer(service, CHAT, wire.exchange)
    assert wire.status == 200
    assert len(kept(log)) == 1


async def test_a_server_decides_nothing_while_its_durable_log_is_away() -> None:
    service, log = durable(FakeGateway())
    log.away = True
    wire = Wire()
    await answer(service, CHAT, wire.exchange)
    assert (wire.status, wire.json["error"]["code"]) == (503, "log_unavailable")
    assert log.empty


def _contents(choices: Iterable[Any]) -> list[str]:
    return [choice["message"]["content"] for choice in choices]
