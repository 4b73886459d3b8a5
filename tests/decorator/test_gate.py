"""`Gate`: asking and judging from Python code, many at once, kept in a log, shared by threads, loops and processes."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gate as public
from gate.assemble import assemble, load_gateway
from gate.decorator import gate as decorator
from gate.decorator.decided import Abstained, Decided
from gate.decorator.gate import Gate, shared_gate
from gate.decorator.keeping import DOOR
from gate.errors import ConfigError, RequestError, UnknownName, UpstreamError
from gate.given import FOREIGN
from gate.log.kept import Sought
from gate.log.opening import open_log
from gate.policy import read
from gate.types import Action, Budget, Generation, Outcome, Passage, Question, TokenLogprob
from tests.decorator.policies import POLICY, by_draft, by_votes
from tests.upstreams.faulty_server import FaultyServer, chat, silent, status

SURE, UNSURE = [-0.01, -0.02], [-4.0, -6.0]
SERVED = """\
name: mine
promise: {{max_error: 0.1}}
upstreams: {{mine: {{kind: openai_chat, base_url: "{url}", model: m}}}}
ladder: [mine]
"""
forking = multiprocessing.get_context("fork")
spawning = multiprocessing.get_context("spawn")


@pytest.fixture
def mine(tmp_path: Path) -> Gate:
    return Gate(by_draft(tmp_path))


def served(folder: Path, server: FaultyServer) -> Path:
    """A policy over a real server, which lets every whole answer of it through."""
    return by_draft(folder, upstream=SERVED.format(url=server.url))


def value(decided: Decided[Any] | Exception) -> Any:
    assert isinstance(decided, Decided), decided
    return decided.value


# --- judging -----------------------------------------------------------------------------------------------------


def test_it_is_public() -> None:
    assert public.Gate is Gate


def test_an_answer_that_is_let_through_comes_back_as_it_is(mine: Gate) -> None:
    answer = "".join(("Nige", "ria"))
    decided = mine.judge("Where is Lagos?", answer, logprobs=SURE)
    assert decided.value is answer
    assert (decided.answered, decided.reason, decided.p) == (True, "confident", pytest.approx(0.8754, abs=1e-4))


def test_one_that_is_not_is_abstained_from(mine: Gate) -> None:
    decided = mine.judge("Where is Lagos?", "Ghana", logprobs=UNSURE)
    assert isinstance(decided.value, Abstained)
    assert not decided.value
    assert (decided.action, decided.reason) == (Action.ABSTAIN, "uncertain")
    assert decided.outcome.withheld is not None
    assert decided.outcome.withheld.text == "Ghana"
    assert decided.value.id == decided.id == decided.trace.id


def test_on_a_loop_it_comes_to_the_same(mine: Gate) -> None:
    async def main() -> list[Decided[str]]:
        async with mine:
            return [await mine.ajudge("Where is Lagos?", "Nigeria", logprobs=each) for each in (SURE, UNSURE)]

    sure, unsure = asyncio.run(main())
    assert (sure.value, sure.p) == ("Nigeria", mine.judge("Where is Lagos?", "Nigeria", logprobs=SURE).p)
    assert not unsure.answered


def test_log_probabilities_are_worth_the_same_in_every_form(mine: Gate) -> None:
    content = [{"token": text, "logprob": each} for text, each in zip(("Nige", "ria"), SURE, strict=True)]
    own = [TokenLogprob("Nige", SURE[0]), TokenLogprob("ria", SURE[1])]
    forms: list[object] = [SURE, content, {"content": content}, own]
    assert len({mine.judge("Where is Lagos?", "Nigeria", logprobs=form).p for form in forms}) == 1


@pytest.mark.parametrize(("agreeing", "answered"), [(10, True), (5, False), (0, False)])
def test_samples_vote(agreeing: int, answered: bool, tmp_path: Path) -> None:
    mine = Gate(by_votes(tmp_path))
    samples = ["Nigeria"] * agreeing + [f"other {n}" for n in range(10 - agreeing)]
    decided = mine.judge("Where is Lagos?", "Nigeria", samples=samples)
    assert decided.answered is answered
    assert decided.cost.calls == 0
    assert mine.gateway.replay(decided.trace) == decided.outcome


def test_a_certificate_holds_for_the_identity_it_was_made_for(tmp_path: Path) -> None:
    path = by_draft(tmp_path)
    running = dict(load_gateway(str(path)).running)
    assert running["upstream:mine"] == "caller:model-1"
    held = {"alpha": 0.1, "delta": 0.05, "n": 100, "answered": 60, "errors": 1, "bound": 0.08, "segment": "all"}
    held |= {"date": "2026-01-01"}
    certificate = f"certificate: {json.dumps({**held, 'fingerprints': running})}\n"
    judged = Gate(by_draft(tmp_path, certificate)).judge("Where is Lagos?", "Nigeria", logprobs=SURE)
    assert (judged.certified, judged.outcome.void) == (True, ())
    other = by_draft(tmp_path, certificate, upstream=POLICY.replace("model-1", "model-2"))
    judged = Gate(other).judge("Where is Lagos?", "Nigeria", logprobs=SURE)
    assert (judged.answered, judged.certified) == (True, False)


def test_only_who_says_which_upstream_wrote_it_has_the_promise_of_a_policy_of_models() -> None:
    mine = Gate("balanced")
    foreign = mine.judge("Where is Nanjing?", "China")
    known = mine.judge("Where is Nanjing?", "China", written_by="large", gather=True)
    assert (foreign.certified, foreign.outcome.void) == (False, (FOREIGN,))
    assert (known.certified, known.decision.stage.upstream) == (True, "large")
    with pytest.raises(UnknownName, match="unknown upstream in the ladder 'larg'; did you mean 'large'"):
        mine.judge("Where is Nanjing?", "China", written_by="larg")


def test_where_it_may_gather_the_policys_own_models_answer_in_the_end() -> None:
    with Gate("balanced") as mine:
        decided = mine.judge("Where is Nanjing?", "Peru", logprobs=UNSURE, gather=True)
        assert decided.cost.calls > 0
        assert decided.value == "China"
        assert mine.gateway.replay(decided.trace) == decided.outcome


def test_what_it_was_written_from_may_be_given() -> None:
    mine = Gate("rag")
    shelf = ["Nanjing is a city in China.", Passage("p-2", "Lagos is a city in Nigeria.")]
    decided = mine.judge("Where is Nanjing?", "China", passages=shelf)
    assert decided.decision.stage.passages
    assert decided.trace.brought is not None
    assert [passage.id for passage in decided.trace.brought.passages] == ["1", "p-2"]


def test_what_cannot_be_read_is_refused_by_name(mine: Gate) -> None:
    with pytest.raises(TypeError, match="answer: cannot read an answer off a object"):
        mine.judge("Where is Lagos?", object())
    with pytest.raises(ValueError, match=r"logprobs\[0\] is nan"):
        mine.judge("Where is Lagos?", "Nigeria", logprobs=[float("nan")])
    with pytest.raises(RequestError, match="the question is empty"):
        mine.judge(" ", "Nigeria")


def test_a_conversation_and_its_options_are_judged_as_they_were_asked(mine: Gate) -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is Lagos?"}]
    decided = mine.judge(asked, "Nigeria", logprobs=SURE, options={"max_tokens": 5})
    question = decided.trace.question
    assert question is not None
    assert (len(question.messages), question.options) == (2, {"max_tokens": 5})


# --- asking ------------------------------------------------------------------------------------------------------


def test_what_is_asked_reaches_the_server_as_on_the_wire(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    parts = [{"type": "text", "text": "Where is it?"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]
    with FaultyServer(chat("Nigeria")) as server, Gate(served(tmp_path, server)) as mine:
        options = {"tools": [tool], "response_format": {"type": "text"}, "temperature": 0.5}
        decided = mine.ask([{"role": "user", "content": parts}], options=options)
        assert decided.value == "Nigeria"
        sent = server.asked[0]
    assert sent["messages"] == [{"role": "user", "content": parts}]
    assert (sent["tools"], sent["response_format"], sent["temperature"]) == ([tool], {"type": "text"}, 0.5)


def test_asking_comes_to_the_same_on_a_loop_and_where_a_policy_abstains() -> None:
    async def main(mine: Gate) -> Decided[str]:
        async with mine:
            return await mine.aask(Question.from_text("Where is Nanjing?"))

    mine = Gate("balanced")
    assert mine.ask("Where is Nanjing?").value == asyncio.run(main(mine)).value == "China"
    unsure = mine.ask("Where is Atlantis?", budget=Budget(calls=1))
    assert isinstance(unsure.value, Abstained)
    mine.close()


def test_a_server_that_is_down_is_an_error_of_its_own(tmp_path: Path) -> None:
    with FaultyServer(status(403)) as server, Gate(served(tmp_path, server)) as mine:
        with pytest.raises(UpstreamError, match="'mine': refused with status 403") as caught:
            mine.ask("Where is Lagos?")
        assert caught.value.trace is not None


def test_whoever_brings_answers_cannot_be_asked(mine: Gate) -> None:
    with pytest.raises(UpstreamError, match=r"'mine': is whoever calls gate.*gate\.guard or Gate\.judge"):
        mine.ask("Where is Lagos?")


# --- many --------------------------------------------------------------------------------------------------------


def test_many_are_asked_in_order_with_failures_in_their_places(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with FaultyServer(chat("Nigeria")) as server, Gate(served(tmp_path, server)) as mine:
        asked = ["Where is Lagos?", "", "Where is Ibadan?"]
        done = mine.ask_all(asked, concurrency=2, progress=lambda *now: told.append(now))
        assert [value(done[0]), value(done[2])] == ["Nigeria", "Nigeria"]
        assert isinstance(done[1], RequestError)
        assert told == [(1, 3), (2, 3), (3, 3)]
        with pytest.raises(RequestError, match="the question is empty"):
            mine.ask_all(asked, errors="raise")


def test_many_are_judged_as_pairs_or_by_name(mine: Gate) -> None:
    cases: list[Any] = [
        ("Where is Lagos?", "Nigeria"),
        {"question": "Where is Accra?", "answer": "Ghana", "logprobs": UNSURE},
        {"question": "Where is Accra?"},
        ("Where is Bamako?", "Mali", "x"),
        ["Where is Bamako?", "Mali"],
    ]
    expected = ["Nigeria", Abstained, TypeError, TypeError, "Mali"]

    def like(done: list[Decided[Any] | Exception]) -> list[object]:
        told = [each if isinstance(each, Exception) else each.value for each in done]
        return [each if isinstance(each, str) else type(each) for each in told]

    assert like(mine.judge_all(cases, logprobs=SURE)) == expected
    assert like(asyncio.run(mine.ajudge_all(cases, logprobs=SURE, concurrency=1))) == expected


def test_many_on_a_running_loop(tmp_path: Path) -> None:
    with FaultyServer(chat("Nigeria")) as server:
        mine = Gate(served(tmp_path, server))

        async def main() -> list[Any]:
            async with mine:
                return [value(each) for each in await mine.aask_all(["a", "b", "c"], concurrency=2)]

        assert asyncio.run(main()) == ["Nigeria"] * 3


def test_cancelling_many_ends_them_all(tmp_path: Path) -> None:
    with FaultyServer(silent()) as server:
        mine = Gate(served(tmp_path, server))

        async def main() -> bool:
            async with mine, asyncio.TaskGroup() as group:
                task = group.create_task(mine.aask_all(["a", "b", "c"], concurrency=2))
                while len(server.asked) < 2:
                    await asyncio.sleep(0.005)
                task.cancel()
            return task.cancelled()

        assert asyncio.run(main())
        assert server.gone.wait(2)
        assert len(server.asked) == 2


@pytest.mark.parametrize("wrong", ["Where is Lagos?", 7, {"question": "x"}])
def test_what_is_no_list_of_questions_is_refused(mine: Gate, wrong: Any) -> None:
    with pytest.raises(TypeError, match="a list was expected"):
        mine.ask_all(wrong)
    with pytest.raises(TypeError, match="a list was expected"):
        asyncio.run(mine.ajudge_all(wrong))
    with pytest.raises(ValueError, match="concurrency is 0"):
        mine.ask_all(["a"], concurrency=0)
    assert mine.ask_all([]) == []


# --- the decision log --------------------------------------------------------------------------------------------


def test_what_is_decided_is_kept_and_can_be_labelled(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'decisions.db'}"
    with Gate(by_draft(tmp_path), log=url, keep="text") as mine:
        sure = mine.judge("Where is Lagos?", "Nigeria", logprobs=SURE)
        unsure = asyncio.run(mine.ajudge("Where is Accra?", "Mali", logprobs=UNSURE))
        with pytest.raises(UpstreamError):
            mine.ask("Where is Bamako?")
        assert mine.label(sure, True, by="ann")
        assert mine.label(unsure.id, False, answer="Ghana")
        assert not mine.label("nobody", True)
        with pytest.raises(TypeError, match="right: True, False or None was expected, not a str"):
            mine.label(sure, "yes")  # type: ignore[arg-type]
    log = open_log(url, keep="text")
    found = {each.question: each for each in log.reader.recent(Sought())}
    log.close()
    assert {each.door for each in found.values()} == {DOOR}
    lagos, accra, bamako = (found[f"Where is {city}?"] for city in ("Lagos", "Accra", "Bamako"))
    assert (lagos.action, lagos.answer, lagos.status, lagos.p) == ("answer", "Nigeria", 200, sure.p)
    assert (accra.action, accra.answer) == ("abstain", "Mali")
    assert (bamako.action, bamako.status) == ("", 502)
    assert lagos.label is not None
    assert accra.label is not None
    assert (lagos.label.correct, lagos.label.by) == (True, "ann")
    assert (accra.label.correct, accra.label.answer) == (False, "Ghana")


def test_without_a_log_nothing_can_be_labelled(mine: Gate) -> None:
    with pytest.raises(ConfigError, match="there is no decision log to keep a label in"):
        mine.label("one", True)


def test_a_log_that_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be kept in 'mysql'"):
        Gate(by_draft(tmp_path), log="mysql://elsewhere/db")


# --- closing, sharing --------------------------------------------------------------------------------------------


def test_closed_it_can_be_used_again(tmp_path: Path) -> None:
    with FaultyServer(chat("Nigeria")) as server:
        mine = Gate(served(tmp_path, server), log=f"sqlite:///{tmp_path / 'decisions.db'}")
        for _ in range(2):
            with mine:
                assert mine.ask("Where is Lagos?").answered
            mine.close()

        async def main() -> None:
            for _ in range(2):
                async with mine:
                    assert (await mine.aask("Where is Lagos?")).answered

        asyncio.run(main())


def test_many_threads_and_loops_share_a_gate_and_nobody_gets_anothers_answer(tmp_path: Path) -> None:
    def echo(handler: Any, asked: dict[str, Any]) -> None:
        chat(asked["messages"][-1]["content"])(handler, asked)

    said: dict[str, Any] = {}
    with FaultyServer(echo) as server, Gate(served(tmp_path, server)) as mine:

        def work(number: int) -> None:
            for place in range(5):
                name = f"{number}-{place}"
                said[name] = mine.ask(name).value
                said[f"judged {name}"] = mine.judge("x", f"judged {name}", logprobs=SURE).value

        async def asking(number: int) -> None:
            async with asyncio.TaskGroup() as group:
                for name in (f"loop {number}-{place}" for place in range(10)):
                    group.create_task(one(name))

        async def one(name: str) -> None:
            said[name] = (await mine.aask(name)).value

        async def loop(number: int) -> None:
            await asking(number)
            await mine.gateway.aclose_loop()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        threads += [threading.Thread(target=lambda n=n: asyncio.run(loop(n))) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(said) == 6 * 5 * 2 + 2 * 10
    assert all(name == answer for name, answer in said.items())


def test_a_gate_of_a_policy_is_one_for_all_who_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = by_draft(tmp_path)
    mine = shared_gate(path)
    monkeypatch.chdir(tmp_path)
    assert shared_gate(str(path)) is shared_gate("by_draft.yaml") is shared_gate("./by_draft.yaml") is mine
    assert shared_gate(mine) is mine
    assert shared_gate("balanced") is shared_gate("balanced") is not mine
    assert shared_gate(gateway := load_gateway("balanced")).gateway is gateway
    with pytest.raises(UnknownName, match="unknown policy 'balancde'"):
        shared_gate("balancde")
    with pytest.raises(ConfigError, match=r"no_such\.yaml"):
        shared_gate("no_such.yaml")


def test_many_threads_that_name_a_policy_at_once_load_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, loaded, found = by_votes(tmp_path), list[str](), list[Gate]()
    together = threading.Barrier(8)

    def load(source: str) -> Any:
        loaded.append(source)
        return load_gateway(source)

    def work() -> None:
        together.wait()
        found.append(shared_gate(path))

    monkeypatch.setattr("gate.decorator.gate.load_gateway", load)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(loaded), len(set(map(id, found))), len(found)) == (1, 1, 8)


# --- processes ---------------------------------------------------------------------------------------------------


def judged_by(mine: Gate) -> str:
    return str(mine.judge("Where is Lagos?", "Nigeria", logprobs=SURE).value)


def asked_of(mine: Gate) -> str:
    return str(mine.ask("Where is Lagos?").value)


def in_a_child(context: Any, function: Callable[[Gate], str], mine: Gate) -> str:
    """What it comes to in another process, within so many seconds."""
    with context.Pool(1) as pool:
        return str(pool.apply_async(function, (mine,)).get(30))


def test_a_gate_that_was_used_before_a_fork_works_in_the_child(tmp_path: Path) -> None:
    with FaultyServer(chat("Nigeria")) as server, Gate(served(tmp_path, server)) as mine:
        assert asked_of(mine) == "Nigeria", "now there is a loop behind, whose thread no child has"
        with mine.gateway._here().lock:  # as a thread of the parent would hold it
            read_end, write_end = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    os.write(write_end, (asked_of(mine) + "," + asyncio.run(asked_on_a_loop(mine))).encode())
                finally:
                    os._exit(0)
            os.close(write_end)
            with os.fdopen(read_end) as said:
                assert said.read() == "Nigeria,Nigeria"
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert asked_of(mine) == "Nigeria"


async def asked_on_a_loop(mine: Gate) -> str:
    async with mine:
        return str((await mine.aask("Where is Lagos?")).value)


def _shares(path: Path, says: Any) -> None:
    says.put(shared_gate(path) is shared_gate(path))


def test_a_process_that_was_forked_while_a_policy_was_loaded_loads_it_too(tmp_path: Path) -> None:
    path, says = by_draft(tmp_path), forking.SimpleQueue()
    with decorator._loading:
        child = forking.Process(target=_shares, args=(path, says))
        child.start()
        child.join(10)
    ended = child.exitcode
    child.kill()
    assert (ended, says.get() if ended == 0 else None) == (0, True)


def test_a_gate_goes_to_a_fresh_process_by_its_policy(mine: Gate) -> None:
    assert in_a_child(spawning, judged_by, mine) == "Nigeria"


def test_pickled_it_is_loaded_again_once_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'decisions.db'}"
    mine = Gate(by_draft(tmp_path).name, log=url, keep="hashed")
    packed = pickle.dumps(mine)
    monkeypatch.chdir("/")
    again = pickle.loads(packed)
    assert again is pickle.loads(packed)
    assert judged_by(again) == "Nigeria"
    assert again.gateway.policy_fingerprint == mine.gateway.policy_fingerprint
    assert again.label(again.judge("Where is Lagos?", "Nigeria", logprobs=SURE), True)
    again.close()
    mine.close()


def test_one_over_a_gateway_made_in_code_is_not_pickled(tmp_path: Path) -> None:
    path = by_draft(tmp_path)
    with pytest.raises(TypeError, match="a Gate over a gateway cannot be pickled"):
        pickle.dumps(Gate(assemble(read(path))))


def test_a_generation_of_ones_own_making_is_what_the_outcome_holds(mine: Gate) -> None:
    decided = mine.judge("Where is Lagos?", "Nigeria", logprobs=SURE)
    assert isinstance(decided.outcome, Outcome)
    assert isinstance(decided.outcome.generation, Generation)
    assert decided.text == "Nigeria"


def test_a_budget_that_is_none_is_refused_by_name() -> None:
    judging = Gate("balanced")
    said = r"budget: a gate\.Budget was expected, not a int"
    wrong: Any = 5
    with pytest.raises(TypeError, match=said):
        judging.judge("Where is Nanjing?", "China", budget=wrong)
    with pytest.raises(TypeError, match=said):
        judging.ask("Where is Nanjing?", budget=wrong)
    with pytest.raises(TypeError, match=said):
        asyncio.run(judging.ajudge("Where is Nanjing?", "China", budget=wrong))
