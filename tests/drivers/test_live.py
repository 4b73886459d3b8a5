"""Watching drafts: what a watcher is told, with either driver, and that nobody else notices it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gate.drivers import AsyncDriver, Recording, ReplayDriver, ThreadedDriver, World, live
from gate.drivers.live import Watch
from gate.effects import STOPPED_EARLY, Embed, Flow, Generate, generate
from gate.errors import UpstreamError, UpstreamTimeout
from gate.live_ports import Grew
from gate.ports import Price
from gate.types import Generation, Generations, Message, TokenLogprob, Usage
from gate.upstreams import OpenAIChat, PocketUpstream, VllmChat
from tests.drivers.running import MESSAGES, both
from tests.scripted import Scripted, always
from tests.upstreams.faulty_server import (
    DONE,
    Behaviour,
    FaultyServer,
    chat,
    chunk,
    event,
    refuses,
    says,
    silent,
    status,
    streams,
    trickles,
    writes,
    written,
)

TOKENS = ("Lagos", " is", " in", " Nigeria")
DRAFT = Generate("small", MESSAGES, logprobs=0, live="small/closed_book")


@dataclass
class Watcher:
    """Notes what it is told, and where; stops a draft once its text holds a word."""

    stop_at: str | None = None
    told: list[Any] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    on_grew: Callable[[], None] = lambda: None

    def begun(self, round_key: str) -> None:
        self._note(("begun", round_key))

    def grew(self, text: str, tokens: tuple[TokenLogprob, ...]) -> bool:
        self._note(text)
        self.tokens += tokens
        self.on_grew()
        return self.stop_at is None or self.stop_at not in self.text

    def done(self, draft: Generation) -> None:
        self._note(draft)

    def _note(self, told: Any) -> None:
        self.told.append(told)
        self.threads.add(threading.get_ident())

    @property
    def text(self) -> str:
        return "".join(piece for piece in self.told if isinstance(piece, str))

    @property
    def pieces(self) -> list[str]:
        return [piece for piece in self.told if isinstance(piece, str)]


def watched(
    world: World,
    watcher: Watcher | None,
    flow: Flow[Any] | None = None,
    *,
    threaded: bool,
    seconds: float | None = None,
) -> tuple[Generations, Recording]:
    recording, flow = Recording(live=watcher), flow or generate(DRAFT)
    if threaded:
        driver = ThreadedDriver(world)
        try:
            return driver.run(flow, recording, seconds=seconds).value, recording
        finally:
            driver.close()

    async def main() -> Generations:
        driver = AsyncDriver(world)
        try:
            return (await driver.run(flow, recording, seconds=seconds)).value
        finally:
            await driver.aclose()

    return asyncio.run(main()), recording


def served(server: FaultyServer, kind: Any = OpenAIChat, **options: Any) -> World:
    made = kind.Options(base_url=server.url, model="m", **options)
    return World({"small": kind.from_options("small", made, Price(1.0, 2.0))})


def untimed(recording: Recording) -> list[Any]:
    return [replace(e, began=0.0, cost=replace(e.cost, seconds=0.0)) for e in recording.tape]


# --- a server that streams ---------------------------------------------------------------------------------------


@both
def test_a_watched_draft_is_the_draft_and_its_watcher_saw_it_grow(threaded: bool) -> None:
    watcher = Watcher()
    with FaultyServer(writes(*TOKENS)) as server:
        plain, unwatched = watched(served(server), None, threaded=threaded)
        assert "stream" not in server.asked[0], "without a watcher nothing is streamed"
        reply, recording = watched(served(server), watcher, threaded=threaded)
    assert server.asked[1]["stream"] is True
    assert reply == plain
    assert untimed(recording) == untimed(unwatched)
    draft = reply.choices[0]
    assert watcher.told == [("begun", "small/closed_book"), *TOKENS, draft]
    assert tuple(watcher.tokens) == draft.tokens
    assert watcher.threads == {threading.get_ident()}, "the callbacks run where the flow is driven"


@both
def test_only_drafts_are_watched(threaded: bool) -> None:
    watcher = Watcher()
    with FaultyServer(writes(*TOKENS)) as server:
        watched(served(server), watcher, generate(replace(DRAFT, live="")), threaded=threaded)
    assert watcher.told == []
    assert "stream" not in server.asked[0]


@both
def test_a_stopped_draft_is_what_there_is_and_its_connection_is_closed_at_once(threaded: bool) -> None:
    watcher = Watcher(stop_at="is")
    with FaultyServer(streams(*written(*TOKENS)[:4], hangs=True)) as server:
        reply, recording = watched(served(server), watcher, threaded=threaded)
        assert server.gone.wait(2)
    (draft,) = reply.choices
    assert (draft.text, draft.finish_reason, len(draft.tokens or ())) == ("Lagos is", STOPPED_EARLY, 2)
    assert watcher.told == [("begun", "small/closed_book"), "Lagos", " is", draft]
    assert reply.usage == Usage(13, 2), "nobody counted, so the prompt is reckoned: 15 bytes, and a few tokens around"
    (entry,) = recording.tape
    assert (entry.cost.calls, entry.cost.tokens) == (1, 15)
    assert entry.cost.money == pytest.approx((13 * 1.0 + 2 * 2.0) / 1e6)
    unseen = ReplayDriver(recording.tape).run(generate(replace(DRAFT, live="")), Recording())
    assert unseen.value == reply, "it is replayed as it was, whoever watches"


@both
def test_usage_that_came_with_every_chunk_is_known_of_a_stopped_draft(threaded: bool) -> None:
    told = event(
        {
            "choices": [{"index": 0, "delta": {"content": "Lagos"}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3},
        }
    )
    with FaultyServer(streams(told, hangs=True)) as server:
        reply, _ = watched(served(server, VllmChat), Watcher(stop_at="Lagos"), threaded=threaded)
    assert server.asked[0]["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert reply.usage == Usage(5, 3)


@both
@pytest.mark.parametrize(
    "behaviour", [chat("Nigeria"), says(b"".join(written("Nigeria")), "application/json")], ids=["plain", "called JSON"]
)
def test_what_a_server_calls_its_answer_does_not_matter(behaviour: Behaviour, threaded: bool) -> None:
    watcher = Watcher()
    with FaultyServer(behaviour) as server:
        reply, _ = watched(served(server), watcher, threaded=threaded)
    draft = reply.choices[0]
    assert (draft.text, len(draft.tokens or ())) == ("Nigeria", 1)
    assert watcher.told == [("begun", "small/closed_book"), "Nigeria", draft]
    assert tuple(watcher.tokens) == draft.tokens


@both
def test_one_connection_serves_one_stream_after_the_other(threaded: bool) -> None:
    with FaultyServer(writes(*TOKENS)) as server:
        ports = set()
        behave = server.first

        def noting(handler: Any, asked: dict[str, Any]) -> None:
            ports.add(handler.client_address[1])
            behave(handler, asked)

        server.first = noting

        def twice() -> Flow[Any]:
            yield from generate(DRAFT)
            return (yield from generate(DRAFT))

        watched(served(server), Watcher(), twice(), threaded=threaded)
    assert len(server.asked) == 2
    assert len(ports) == 1


@both
def test_a_server_that_says_no_more_after_the_end_is_not_waited_for(
    threaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_UNCOUNTED", 0.1)
    for parts in (written(*TOKENS)[:-2], written(*TOKENS)):
        with FaultyServer(streams(*parts, hangs=True)) as server:
            began = time.monotonic()
            reply, _ = watched(served(server), Watcher(), threaded=threaded, seconds=10)
            assert time.monotonic() - began < 5
        assert reply.choices[0].text == "".join(TOKENS)
        assert reply.usage.completion_tokens == 4


@both
def test_what_breaks_off_behind_a_whole_answer_is_no_harm(threaded: bool) -> None:
    with FaultyServer(streams(*written(*TOKENS)[:-2], ended=False, pause=0.3)) as server:
        reply, _ = watched(served(server), Watcher(), threaded=threaded)
    assert reply.choices[0].finish_reason == "stop"


# --- failures ----------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "behaviour",
    [
        status(503),
        streams(event({"error": {"message": "busy", "code": 503}})),
        streams(b": wait\n\n", chunk(""), ended=False),
        streams(b"data: {half"),
        streams(),
    ],
    ids=["status", "error", "cut", "half an event", "nothing"],
)
def test_what_fails_before_anything_grew_is_tried_again(behaviour: Behaviour, threaded: bool) -> None:
    watcher = Watcher()
    with FaultyServer.of(behaviour, writes(*TOKENS)) as server:
        reply, recording = watched(served(server), watcher, threaded=threaded)
    assert watcher.told == [("begun", "small/closed_book"), *TOKENS, reply.choices[0]]
    assert (len(server.asked), recording.tape[0].cost.calls) == (2, 2)


@both
@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (streams(chunk("Lagos"), ended=False), "broke the connection off before its answer was complete"),
        (streams(chunk("Lagos")), "broke the connection off before its answer was complete"),
        (streams(chunk("Lagos"), b"data: {half"), "broke the connection off before its answer was complete"),
        (streams(chunk("Lagos"), b"data: {half\n\n"), "answered with broken JSON"),
        (streams(chunk("Lagos"), event({"error": {"message": "busy", "code": 503}})), "refused with status 503"),
        (
            streams(chunk("Lagos"), event({"error": {"message": "'logprobs' is not supported", "code": 400}})),
            "status 400",
        ),
    ],
    ids=["cut", "ended", "cut within an event", "broken", "error", "refusal"],
)
def test_once_something_grew_an_error_is_final(behaviour: Behaviour, cause: str, threaded: bool) -> None:
    watcher = Watcher()
    with FaultyServer(behaviour) as server, pytest.raises(UpstreamError, match=cause):
        watched(served(server), watcher, threaded=threaded)
    assert len(server.asked) == 1
    assert watcher.told == [("begun", "small/closed_book"), "Lagos"], "and it is never done"


@both
@pytest.mark.parametrize("name", ["stream_options", "stream"])
def test_what_a_server_does_not_take_is_learned_and_left_out(name: str, threaded: bool) -> None:
    def refusing(handler: Any, asked: dict[str, Any]) -> None:
        (refuses(name) if name in asked else writes(*TOKENS))(handler, asked)

    def twice() -> Flow[Any]:
        yield from generate(DRAFT)
        return (yield from generate(DRAFT))

    watcher = Watcher()
    with FaultyServer(refusing) as server:
        reply, _ = watched(served(server), watcher, twice(), threaded=threaded)
    assert [name in asked for asked in server.asked] == [True, False, False]
    assert reply.choices[0].text == "".join(TOKENS)
    assert watcher.text == 2 * "".join(TOKENS)
    assert len(watcher.pieces) == (8 if name == "stream_options" else 2)
    assert reply.usage.completion_tokens == 4


@both
def test_a_body_without_end_is_refused(threaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_BODY", 2000)
    with FaultyServer(streams(*[chunk("")] * 40)) as server, pytest.raises(UpstreamError, match="sent more than"):
        watched(served(server), Watcher(), threaded=threaded)
    assert len(server.asked) == 1


@both
def test_the_deadline_ends_a_stream_that_hangs(threaded: bool) -> None:
    watcher = Watcher()
    with FaultyServer(streams(chunk("Lagos"), hangs=True)) as server:
        with pytest.raises(UpstreamTimeout, match="deadline"):
            watched(served(server), watcher, threaded=threaded, seconds=0.3)
        assert server.gone.wait(2)
    assert watcher.told == [("begun", "small/closed_book"), "Lagos"]


@pytest.mark.parametrize("behaviour", [streams(chunk("Lagos"), hangs=True), silent(), trickles])
def test_a_cancelled_caller_closes_the_connection_at_once(behaviour: Behaviour) -> None:
    async def main() -> None:
        driver = AsyncDriver(served(server))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(driver.run(generate(DRAFT), Recording(live=Watcher())))
            while not server.asked:
                await asyncio.sleep(0.01)
            task.cancel()
        assert task.cancelled()
        assert await asyncio.to_thread(server.gone.wait, 2)
        await driver.aclose()

    with FaultyServer(behaviour) as server:
        asyncio.run(main())


def test_closing_the_driver_breaks_off_a_stream_and_says_so() -> None:
    with FaultyServer(streams(chunk("Lagos"), hangs=True)) as server:
        driver = ThreadedDriver(served(server))
        closer = threading.Thread(target=driver.close)
        watcher = Watcher(on_grew=closer.start)
        with pytest.raises(UpstreamError, match="the gateway was closed"):
            driver.run(generate(DRAFT), Recording(live=watcher))
        closer.join(5)
        assert server.gone.wait(2)


@both
@pytest.mark.parametrize("local", [True, False])
def test_a_fault_of_the_watcher_is_its_own_and_ends_the_work(local: bool, threaded: bool) -> None:
    def fails() -> None:
        raise LookupError("mine")

    growing = Growing("small", *TOKENS)
    with FaultyServer(streams(*written(*TOKENS)[:3], hangs=True)) as server:
        with pytest.raises(LookupError, match="mine"):
            watched(World({"small": growing}) if local else served(server), Watcher(on_grew=fails), threaded=threaded)
        assert local or server.gone.wait(2)
    assert not local or growing.ended.wait(5)


# --- models in this process --------------------------------------------------------------------------------------


class Growing(Scripted):
    """Tells of its tokens one by one, on a thread that must not be the watcher's."""

    def __init__(self, name: str, *texts: str, pause: float = 0.0) -> None:
        super().__init__(name, always("".join(texts)))
        self.texts, self.pause, self.thread, self.ended = texts, pause, 0, threading.Event()

    def complete_live(self, effect: Generate, cancelled: Callable[[], bool], grew: Grew) -> Generations:
        self.asked.append(effect)
        self.thread, said = threading.get_ident(), ""
        try:
            for text in self.texts:
                until = time.monotonic() + self.pause
                while time.monotonic() < until:
                    if cancelled():
                        self.cancelled.set()
                        raise UpstreamError(self.name, "was cancelled")
                    time.sleep(0.005)
                said += text
                if not grew(text, (TokenLogprob(text, -0.1),)):
                    break
        finally:
            self.ended.set()
        return Generations((Generation(said),), Usage(5, len(said)))


@both
def test_a_model_on_a_thread_tells_the_watcher_where_the_flow_is_driven(threaded: bool) -> None:
    watcher, growing = Watcher(), Growing("small", *TOKENS)
    reply, _ = watched(World({"small": growing}), watcher, threaded=threaded)
    assert watcher.told == [("begun", "small/closed_book"), *TOKENS, reply.choices[0]]
    assert watcher.threads == {threading.get_ident()} != {growing.thread}


@both
def test_a_model_on_a_thread_is_stopped_by_the_watchers_word(threaded: bool) -> None:
    watcher = Watcher(stop_at="is")
    reply, _ = watched(World({"small": Growing("small", *TOKENS)}), watcher, threaded=threaded)
    draft = Generation("Lagos is", STOPPED_EARLY)
    assert reply.choices == (draft,)
    assert watcher.told == [("begun", "small/closed_book"), "Lagos", " is", draft]


@both
def test_a_model_that_dawdles_is_called_off_by_the_deadline(threaded: bool) -> None:
    growing = Growing("small", "Lagos", " is", pause=0.1)
    watcher = Watcher(on_grew=lambda: setattr(growing, "pause", 30))
    with pytest.raises(UpstreamTimeout):
        watched(World({"small": growing}), watcher, threaded=threaded, seconds=0.4)
    assert watcher.pieces == ["Lagos"]
    assert growing.cancelled.wait(5)


@both
def test_an_upstream_that_cannot_tell_is_told_of_when_it_is_whole(threaded: bool) -> None:
    watcher = Watcher()
    reply, _ = watched(World({"small": Scripted("small", always("Nigeria"))}), watcher, threaded=threaded)
    draft = reply.choices[0]
    assert watcher.told == [("begun", "small/closed_book"), "Nigeria", draft]
    assert tuple(watcher.tokens) == draft.tokens


@both
def test_a_whole_draft_that_its_watcher_stops_is_stopped_all_the_same(threaded: bool) -> None:
    watcher = Watcher(stop_at="N")
    world = World({"small": Scripted("small", always("Nigeria"))})
    reply, recording = watched(world, watcher, threaded=threaded)
    assert (reply.choices[0].text, reply.choices[0].finish_reason) == ("Nigeria", STOPPED_EARLY)
    assert recording.tape[0].generations == reply


@both
def test_a_server_switched_off_streaming_is_told_of_when_it_is_whole(threaded: bool) -> None:
    watcher = Watcher()
    with FaultyServer(writes(*TOKENS)) as server:
        watched(served(server, capabilities={"stream": False}), watcher, threaded=threaded)
    assert "stream" not in server.asked[0]
    assert watcher.pieces == ["".join(TOKENS)]


@both
def test_the_pocket_model_says_the_same_token_by_token(threaded: bool) -> None:
    where = (Message("user", "Where is Qxzbrunk?"),)
    asked = Generate("small", where, temperature=3.0, seed=0, max_tokens=12, logprobs=2, live="small/closed_book")
    world, watcher = World({"small": PocketUpstream("small")}), Watcher()
    plain, _ = watched(world, None, generate(asked), threaded=threaded)
    reply, _ = watched(world, watcher, generate(asked), threaded=threaded)
    assert reply == plain
    assert (watcher.text, tuple(watcher.tokens)) == (plain.choices[0].text, plain.choices[0].tokens)
    assert len(watcher.pieces) > 2
    stopping = Watcher(stop_at=watcher.pieces[0])
    stopped, _ = watched(world, stopping, generate(asked), threaded=threaded)
    assert (stopped.choices[0].text, stopped.choices[0].finish_reason) == (watcher.pieces[0], STOPPED_EARLY)
    assert stopped.usage.completion_tokens < plain.usage.completion_tokens


# --- the watch itself --------------------------------------------------------------------------------------------


def test_a_watch_is_kept_over_drafts_alone() -> None:
    watcher = Watcher()
    assert Watch.begun(Embed("hashed", ()), watcher) is None
    assert Watch.begun(replace(DRAFT, live=""), watcher) is None
    assert watcher.told == []
    watch = Watch.begun(DRAFT, watcher)
    assert watch is not None
    assert watch.streams(DRAFT)
    assert not watch.streams(replace(DRAFT, live="")), "what was learned not to be streamed is not"
    assert not watch.streams(replace(DRAFT, n=2))
    assert watch.grew("", ())
    assert not watch.grown


@both
def test_a_draft_of_nothing_but_a_call_grows_not_at_all(threaded: bool) -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    parts = [event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}), chunk(finish="tool_calls"), DONE]
    watcher = Watcher()
    with FaultyServer(streams(*parts)) as server:
        reply, _ = watched(served(server), watcher, threaded=threaded)
    assert json.loads(reply.choices[0].tool_calls[0].arguments) == {}
    assert watcher.told == [("begun", "small/closed_book"), reply.choices[0]]
