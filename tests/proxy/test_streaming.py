"""What a client sees while its question is answered, by the raw events of each door."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gate.assemble import load_gateway
from gate.errors import UpstreamError
from gate.log.entries import Entry
from gate.proxy.doors import CHAT, DOORS, MESSAGES, RESPONSES, Door
from gate.proxy.metrics import Metrics
from gate.serving_settings import PrefixSettings, ServingSettings
from gate.types import Action, Certificate, Generation
from tests.proxy.asking import ended
from tests.proxy.fake_gateway import CALLING, GENERATION, FakeGateway, outcome_of
from tests.proxy.live_server import live
from tests.proxy.reading import Noted, Seen, ask, asking, seen, sent_and_open, streaming
from tests.proxy.served import app_of
from tests.test_prefix_watch import RECENT, draft
from tests.upstreams.faulty_server import DONE, FaultyServer, chat, chunk, silent

EACH_DOOR = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
SLOWLY: dict[str, Any] = {"keep_alive": 0.02}
ANNOTATE = ServingSettings(streaming="annotate")
CERTIFIED = Certificate(0.05, 0.05, 100, 60, 1, 0.04, "all", "2026-01-01", {})
OTHERWISE = Generation("Kenya is where Nairobi is.")
STANDS = {"chat": "stop", "responses": "completed", "messages": "end_turn"}
WITHDRAWN = {"chat": "content_filter", "responses": "completed", "messages": "refusal"}


def verdict(entry: Entry, **other: Any) -> dict[str, Any]:
    """The whole ``gate`` object of a stream whose headers could not tell the verdict."""
    known = {"action": "answer", "reason": "confident", "confidence": {"p": 0.9123}, "certificate": "none"}
    return {**known, "id": entry.record.id, **other}


def watched(gateway: Any, door: Door = CHAT, **fields: Any) -> tuple[httpx.Response, Seen, Entry]:
    """The response, what a client makes of it, and what is logged."""
    log = Noted()
    with live(app_of(gateway, log=log)) as url, streaming(url, door, **fields) as (response, events):
        told, entry = seen(door, events), log.next()
    assert log.empty
    assert entry.streamed
    return response, told, entry


# --- hold --------------------------------------------------------------------------------------------------------


@EACH_DOOR
def test_nothing_is_sent_before_the_verdict(door: Door) -> None:
    verdict_is_there, log = threading.Event(), Noted()
    gateway = FakeGateway(judging=verdict_is_there)
    with (
        live(app_of(gateway, log=log)) as url,
        sent_and_open(url, asking(door, stream=True), door.path) as sock,
    ):
        assert gateway.started.wait(5)
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        verdict_is_there.set()
        sock.settimeout(10)
        assert sock.recv(12) == b"HTTP/1.1 200"
        assert log.next().status == 200


@EACH_DOOR
def test_a_quick_verdict_is_in_the_headers_and_nowhere_else(door: Door) -> None:
    response, told, _ = watched(FakeGateway(), door)
    assert response.headers["x-gate-action"] == "answer"
    assert (told.text, told.finish, told.gate) == (GENERATION.text, STANDS[door.name], None)
    assert told.kept_alive == 0


@EACH_DOOR
@pytest.mark.parametrize("answered", [True, False], ids=["answered", "refused"])
def test_a_slow_verdict_is_waited_for_with_comments_and_told_at_the_end(door: Door, answered: bool) -> None:
    made = outcome_of(GENERATION if answered else None)
    slow = FakeGateway(lambda question: made, serving=ServingSettings(**SLOWLY), seconds=0.1, certificate=CERTIFIED)
    response, told, entry = watched(slow, door)
    assert response.status_code == 200
    assert told.kept_alive >= 2
    assert "x-gate-action" not in response.headers
    assert response.headers["x-gate-certificate"] == "certified"
    assert response.headers["x-gate-decision-id"] == entry.record.id
    assert told.gate == verdict(entry, action="answer" if answered else "abstain", certificate="certified")
    said = told.text if answered or door is MESSAGES else told.instead
    assert said == made.text
    assert entry.status == 200


@EACH_DOOR
def test_an_error_behind_comments_is_an_event_and_the_end(door: Door) -> None:
    slow = FakeGateway(
        lambda question: UpstreamError("small", "is down"), serving=ServingSettings(**SLOWLY), seconds=0.06
    )
    response, told, entry = watched(slow, door)
    assert (response.status_code, told.kept_alive > 0) == (200, True)
    assert told.error["message"] == "upstream 'small': is down"
    assert (told.text, told.instead) == ("", "")
    assert (told.gate or {}).get("retracted") is None
    assert (entry.status, entry.retracted) == (502, False)


def test_an_explained_verdict_behind_comments_is_the_whole_decision_once() -> None:
    slow = FakeGateway(serving=ServingSettings(**SLOWLY), seconds=0.06)
    with live(app_of(slow)) as url, streaming(url, gate={"explain": True}) as (_, events):
        objects = [event.data["gate"] for event in events if event.data != "[DONE]" and "gate" in (event.data or "")]
    (explained,) = objects
    assert explained["confidence"]["contributions"] == {"vote_share": 1.5}
    assert explained["certificate"] == "none"
    assert "usage" in explained


# --- several answers, and abstentions as errors ------------------------------------------------------------------


def test_several_answers_are_held_whatever_the_policy_and_each_has_its_verdict() -> None:
    said = iter([outcome_of(None), outcome_of(GENERATION)])
    serving = ServingSettings(streaming="annotate", **SLOWLY)
    gateway = FakeGateway(lambda question: next(said), draft=GENERATION, serving=serving, judging=0.06)
    log = Noted()
    with live(app_of(gateway, log=log)) as url, streaming(url, n=2) as (response, events):
        told = seen(CHAT, events)
        ids = [log.next().record.id for _ in range(2)]
    assert response.headers["x-gate-decision-id"].split(", ") == ids
    assert (told.text, told.instead) == (GENERATION.text, "I do not know.")
    assert [(one["action"], one["id"]) for one in told.gate["choices"]] == [("abstain", ids[0]), ("answer", ids[1])]
    assert told.gate["certificate"] == "none"
    assert "retracted" not in told.gate


@EACH_DOOR
@pytest.mark.parametrize("by_policy", [True, False])
def test_an_abstention_is_an_error_where_that_is_wanted(door: Door, by_policy: bool) -> None:
    fields = {} if by_policy else {"gate": {"abstention": "error"}}
    serving = ServingSettings(abstention="error" if by_policy else "completion")
    log = Noted()
    gateway = FakeGateway(lambda question: outcome_of(None), serving=serving)
    with live(app_of(gateway, log=log)) as url:
        for stream in (False, True):
            reply = ask(url, door, stream=stream, **fields)
            assert reply.status_code == 422
            assert reply.json()["error"]["message"] == "I do not know."
            assert reply.json()["gate"] == {"action": "abstain", "reason": "confident"}
            assert reply.headers["x-gate-action"] == "abstain"
            entry = log.next()
            assert (entry.status, entry.record.action) == (422, Action.ABSTAIN)


@EACH_DOOR
def test_an_abstention_that_is_an_error_is_the_last_event_of_a_stream_that_had_begun(door: Door) -> None:
    gateway = FakeGateway(
        lambda question: outcome_of(None), serving=ServingSettings(abstention="error", **SLOWLY), seconds=0.06
    )
    _, told, entry = watched(gateway, door)
    assert told.error["message"] == "I do not know."
    assert told.gate == verdict(entry, action="abstain")
    assert entry.status == 422


@pytest.mark.parametrize(
    ("where", "content", "refusal"),
    [
        ("refusal", None, "I do not know."),
        ("content", "I do not know.", None),
        ("both", "I do not know.", "I do not know."),
    ],
)
def test_a_refusal_stands_where_the_policy_says(where: Any, content: str | None, refusal: str | None) -> None:
    gateway = FakeGateway(lambda question: outcome_of(None), serving=ServingSettings(refusal_in=where))
    with live(app_of(gateway)) as url:
        message = ask(url).json()["choices"][0]["message"]
        with streaming(url) as (_, events):
            told = seen(CHAT, events)
    assert (message["content"], message["refusal"]) == (content, refusal)
    assert (told.text or None, told.instead or None) == (content, refusal)


# --- annotate ----------------------------------------------------------------------------------------------------


@EACH_DOOR
def test_text_goes_out_at_once_and_the_verdict_comes_last(door: Door) -> None:
    """The answer goes on only once a client has read its beginning."""
    go_on, text = threading.Event(), ""
    gateway = FakeGateway(serving=ANNOTATE, written=("Nigeria ", "is where ", go_on, "Lagos is."))
    with live(app_of(gateway)) as url, streaming(url, door) as (response, events):
        assert "x-gate-action" not in response.headers
        for event in events:
            text += seen(door, [event]).text
            if text == "Nigeria is where ":
                assert not go_on.is_set()
                go_on.set()
    assert text == GENERATION.text


@EACH_DOOR
def test_an_answer_that_stands_goes_on_and_has_its_verdict(door: Door) -> None:
    gateway = FakeGateway(serving=ANNOTATE, written=("Nigeria ", "is where "), certificate=CERTIFIED)
    response, told, entry = watched(gateway, door)
    assert (told.text, told.instead, told.finish) == (GENERATION.text, "", STANDS[door.name])
    assert told.gate == verdict(entry, certificate="certified")
    assert response.headers["x-gate-decision-id"] == entry.record.id
    assert not entry.retracted


INSTEAD = {
    "refused": outcome_of(None),
    "another model's answer": outcome_of(OTHERWISE),
    "asked back": ended(Action.CLARIFY, "ambiguous"),
    "given unsure": ended(Action.ABSTAIN, "uncertain", hedged=True),
    "a call": outcome_of(CALLING),
}


@EACH_DOOR
@pytest.mark.parametrize("how", INSTEAD)
@pytest.mark.parametrize("refusal_in", ["refusal", "content"])
def test_what_was_sent_and_may_not_stand_is_withdrawn(door: Door, how: str, refusal_in: Any) -> None:
    made, metrics, log = INSTEAD[how], Metrics(), Noted()
    serving = ServingSettings(streaming="annotate", refusal_in=refusal_in)
    gateway = FakeGateway(lambda question: made, serving=serving, draft=GENERATION, written=("Nigeria ", "is."))
    app = app_of(gateway, log=log, metrics=metrics)
    with live(app) as url, streaming(url, door) as (_, events):
        told, entry = seen(door, events), log.next()
    assert told.text == "Nigeria is."
    assert told.instead == made.text
    assert told.finish == WITHDRAWN[door.name]
    expected = verdict(entry, action=made.action.value, reason=made.decision.reason, retracted=True)
    assert told.gate == expected | ({"hedged": True} if made.hedged else {})
    assert [call.get("name") or call["function"]["name"] for call in told.calls] == (
        ["look_up"] if made.generation is CALLING else []
    )
    assert (entry.retracted, entry.status) == (True, 200)
    assert b"gate_retractions_total 1.0" in metrics.render()


def test_the_finished_message_of_responses_holds_what_stands_alone() -> None:
    gateway = FakeGateway(lambda question: outcome_of(None), serving=ANNOTATE, draft=GENERATION)
    with live(app_of(gateway)) as url, streaming(url, RESPONSES) as (_, events):
        *_, last = events
    (message,) = last.data["response"]["output"]
    assert [(part["type"], part.get("text", part.get("refusal"))) for part in message["content"]] == [
        ("output_text", ""), ("refusal", "I do not know."),
    ]  # fmt: skip


@EACH_DOOR
def test_an_upstream_error_withdraws_what_was_sent(door: Door) -> None:
    gateway = FakeGateway(
        lambda question: UpstreamError("small", "broke off"), serving=ANNOTATE, written=("Nigeria ", 0.02)
    )
    _, told, entry = watched(gateway, door)
    assert told.text == "Nigeria "
    assert told.error["message"] == "upstream 'small': broke off"
    assert told.gate == {"retracted": True}
    assert (entry.status, entry.retracted) == (502, True)


@EACH_DOOR
def test_an_abstention_that_is_an_error_withdraws_what_was_sent(door: Door) -> None:
    serving = ServingSettings(streaming="annotate", abstention="error")
    gateway = FakeGateway(lambda question: outcome_of(None), serving=serving, draft=GENERATION)
    _, told, entry = watched(gateway, door)
    assert (told.text, told.error["message"]) == (GENERATION.text, "I do not know.")
    assert told.gate == verdict(entry, action="abstain", retracted=True)
    assert (entry.status, entry.retracted) == (422, True)


def test_a_draft_that_shows_no_text_leaves_all_to_the_verdict() -> None:
    response, told, _ = watched(FakeGateway(lambda question: outcome_of(CALLING), serving=ANNOTATE))
    assert response.headers["x-gate-action"] == "answer"
    assert [call["function"]["name"] for call in told.calls] == ["look_up"]
    assert (told.finish, told.gate) == ("tool_calls", None)


class Telling(FakeGateway):
    """Says when it has decided."""

    async def aask(self, *arguments: Any, **named: Any) -> Any:
        made = await super().aask(*arguments, **named)
        DECIDED.set()
        return made


DECIDED = threading.Event()


def test_a_client_that_leaves_between_verdict_and_end_has_its_decision_logged() -> None:
    """It reads nothing of what is larger than all buffers on the way."""
    log, text = Noted(), "word " * 2_000_000
    gateway = Telling(
        lambda question: outcome_of(Generation(f"{text}end")), serving=ANNOTATE, written=(text, 0.02, "end")
    )
    with live(app_of(gateway, log=log)) as url:
        with sent_and_open(url, asking(stream=True)) as sock:
            assert sock.recv(12) == b"HTTP/1.1 200"
            assert DECIDED.wait(5)
        entry = log.next()
    assert (entry.status, entry.record.action, entry.retracted) == (499, Action.ANSWER, False)
    assert log.empty


# --- what a client may ask for -----------------------------------------------------------------------------------

FINE = {
    "hold": {"hold"},
    "prefix": {"hold", "prefix"},
    "annotate": {"hold", "prefix", "annotate"},
}


@pytest.mark.parametrize("policy", FINE)
@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_text_may_be_asked_for_later_than_the_policy_gives_it_but_not_earlier(policy: Any, mode: Any) -> None:
    prefix = PrefixSettings(calibrator="x.prefix.json")
    serving = ServingSettings(streaming=policy, prefix=prefix, mode=mode)
    gateway, log = FakeGateway(serving=serving), Noted()
    with live(app_of(gateway, log=log)) as url:
        for wanted in ("hold", "prefix", "annotate"):
            reply = ask(url, stream=True, gate={"streaming": wanted})
            assert reply.status_code == (200 if wanted in FINE[policy] else 400)
            if reply.status_code == 400:
                assert reply.json()["error"]["param"] == "gate.streaming"
            elif mode == "enforce" and wanted == "hold":
                assert "x-gate-action" in reply.headers
    assert len(gateway.asked) == len(FINE[policy])


# --- prefix: a real policy over an upstream that writes as it is told to -----------------------------------------

SURE, DOOMED = -0.1, -5.0
SAFE = ("Lagos lies on the coast.", SURE)
POLICY = """\
name: growing
promise: {max_error: 0.1}
upstreams:
  small: {kind: openai_chat, base_url: "SMALL", model: m-1}
  large: {kind: openai_chat, base_url: "LARGE", model: m-2}
ladder: LADDER
tiers: [[draft, samples, meanings]]
evidence: {samples: {n: 3}, meanings: {judge: lexical}}
signals: [vote_share]
calibrator: vote_share
rule: {kind: threshold, answer_at: 0.8}
abstain: I do not know.
serving:
  streaming: prefix
  prefix: {calibrator: growing.prefix.json, release_at: 0.8, stop_below: 0.2}
"""


def tokens_of(*sentences: tuple[str, float]) -> list[bytes]:
    """Each sentence as the events of a stream, a token a word, the first of which says how sure the model is."""
    return [
        chunk(token.token, logprobs={"content": [{"token": token.token, "logprob": token.logprob, "top_logprobs": []}]})
        for token in draft(*sentences).tokens or ()
    ]


@dataclass
class Writer:
    """Streams a draft part by part; to whoever wants it at once, for a sample, it says ``samples``."""

    parts: Sequence[bytes | threading.Event]
    samples: str = "something else each time"
    ended: bool = True
    hangs: bool = False

    def __call__(self, handler: Any, asked: dict[str, Any]) -> None:
        if not asked.get("stream"):
            chat(self.samples)(handler, asked)
            return
        handler.stream(self._told(), content_type="text/event-stream", pause=0.0, ended=self.ended and not self.hangs)
        if self.hangs:
            silent()(handler, asked)

    def _told(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, threading.Event):
                assert part.wait(10)
            else:
                yield part


def whole(*sentences: tuple[str, float]) -> list[bytes]:
    return [*tokens_of(*sentences), chunk(finish="stop"), DONE]


@contextmanager
def growing(
    folder: Path, small: Writer, large: Writer | None = None, **more: Any
) -> Iterator[tuple[str, FaultyServer, Noted]]:
    """A server of the policy, its weaker upstream, and the log."""
    log = Noted()
    with FaultyServer(small) as weak, FaultyServer(large or small) as strong:
        ladder = "[small, large]" if large else "[small]"
        text = POLICY.replace("SMALL", weak.url).replace("LARGE", strong.url).replace("LADDER", ladder)
        (folder / "growing.yaml").write_text(text)
        weights = RECENT.rounds["small/closed_book"]
        rounds = {"small/closed_book": weights, "large/closed_book": weights}
        (folder / "growing.prefix.json").write_text(RECENT.model_copy(update={"rounds": rounds}).dump())
        with live(app_of(load_gateway(str(folder / "growing.yaml")), log=log, **more)) as url:
            yield url, weak, log


@EACH_DOOR
def test_sentences_go_out_once_they_are_safe_and_the_last_waits_for_the_verdict(door: Door, tmp_path: Path) -> None:
    """The draft goes on only once its first sentence was read, and ends only once its second was."""
    one, two, said = threading.Event(), threading.Event(), (SAFE, ("It is large.", SURE), ("It is old.", SURE))
    first, second = (len(tokens_of(*said[:count])) + 1 for count in (1, 2))
    parts, text = whole(*said), draft(*said).text
    gates: list[bytes | threading.Event] = [*parts[:first], one, *parts[first:second], two, *parts[second:]]
    shown = ""
    with growing(tmp_path, Writer(gates, samples=text)) as (url, _, log), streaming(url, door) as (response, events):
        assert "x-gate-action" not in response.headers
        for event in events:
            told = seen(door, [event])
            shown += told.text
            if shown == SAFE[0]:
                one.set()
            elif shown == f"{SAFE[0]} It is large.":
                assert one.is_set()
                two.set()
        entry = log.next()
    assert shown == text
    assert (entry.record.action, entry.status, entry.retracted) == (Action.ANSWER, 200, False)


def test_a_doomed_draft_is_broken_off_and_refused(tmp_path: Path) -> None:
    parts = tokens_of(("Lagos is in Ghana.", DOOMED), ("So", SURE))
    with growing(tmp_path, Writer(parts, hangs=True)) as (url, upstream, log), streaming(url) as (response, events):
        told, entry = seen(CHAT, events), log.next()
        assert upstream.gone.wait(5), "its connection was closed although it would have gone on"
    assert (told.text, told.instead) == ("", "I do not know.")
    assert response.headers["x-gate-reason"] == "cut_short"
    assert not entry.retracted
    assert len(upstream.asked) == 1, "nothing more is asked about it"


def test_a_doomed_draft_gives_way_to_the_stronger_model(tmp_path: Path) -> None:
    better = (("Lagos is in Nigeria.", SURE), ("It is large.", SURE))
    large = Writer(whole(*better), samples=draft(*better).text)
    doomed = Writer(tokens_of(("Lagos is in Ghana.", DOOMED), ("So", SURE)), hangs=True)
    with growing(tmp_path, doomed, large) as (url, upstream, log), streaming(url) as (_, events):
        told, entry = seen(CHAT, events), log.next()
        assert upstream.gone.wait(5)
    assert (told.text, told.instead) == (draft(*better).text, "")
    assert entry.record.outcome is not None
    assert (entry.record.outcome.upstream, entry.retracted) == ("large", False)


def test_what_was_released_of_an_answer_that_is_refused_is_withdrawn(tmp_path: Path) -> None:
    said = (SAFE, ("It is large.", SURE), ("It is old.", SURE))
    with growing(tmp_path, Writer(whole(*said))) as (url, _, log), streaming(url) as (_, events):
        told, entry = seen(CHAT, events), log.next()
    assert told.text == "Lagos lies on the coast. It is large."
    assert (told.instead, told.finish) == ("I do not know.", "content_filter")
    assert told.gate["retracted"]
    assert told.gate["action"] == "abstain"
    assert told.gate["id"] == entry.record.id
    assert entry.retracted


def test_behind_a_released_sentence_no_other_draft_is_shown_before_its_verdict(tmp_path: Path) -> None:
    """The stronger model is asked, because samples of the weaker one differ: its answer comes in the place of that."""
    small, better = (SAFE, ("It is so.", SURE), ("So", SURE)), (("Lagos is old.", SURE), ("It is large.", SURE))
    large = Writer(whole(*better, ("So", SURE)), samples=draft(*better, ("So", SURE)).text)
    with growing(tmp_path, Writer(whole(*small)), large) as (url, _, log), streaming(url) as (_, events):
        told, entry = seen(CHAT, events), log.next()
    assert told.text == "Lagos lies on the coast. It is so."
    assert told.instead == draft(*better, ("So", SURE)).text
    assert (told.gate["action"], told.gate["retracted"], entry.retracted) == ("answer", True, True)


def test_a_draft_that_breaks_off_behind_a_released_sentence_withdraws_it(tmp_path: Path) -> None:
    """Nothing is asked again once something was shown: asking cannot take it back."""
    cut = Writer(tokens_of(SAFE, ("It is", SURE)), ended=False)
    with growing(tmp_path, cut) as (url, upstream, log), streaming(url) as (_, events):
        told, entry = seen(CHAT, events), log.next()
    assert told.text == "Lagos lies on the coast."
    assert told.error["type"] == "upstream_error"
    assert told.gate == {"retracted": True}
    assert (entry.status, entry.retracted) == (502, True)
    assert len(upstream.asked) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]},
        {"response_format": {"type": "json_object"}},
        {"gate": {"streaming": "hold"}},
    ],
    ids=["tools", "JSON", "a client that wants none"],
)
def test_where_parts_are_of_no_use_nothing_is_released(fields: dict[str, Any], tmp_path: Path) -> None:
    said = (SAFE, ("It is large.", SURE), ("It is old.", SURE))
    with growing(tmp_path, Writer(whole(*said))) as (url, _, log), streaming(url, **fields) as (response, events):
        told, entry = seen(CHAT, events), log.next()
    assert response.headers["x-gate-action"] == entry.record.action
    assert told.text in ("", "something else each time"), "which it says where it is not asked to stream"
    assert not entry.retracted
