"""Collecting: nothing asked twice, no cap exceeded, and it goes on where it was."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gate.assemble import load_gateway
from gate.drivers import Recording, ReplayDriver
from gate.effects import Generate, effect_key
from gate.errors import ConfigError, UpstreamError, UpstreamTimeout
from gate.full_evidence import full_evidence
from gate.gateway import Gateway
from gate.pocket.world import facts
from gate.policy import PolicyFile
from gate.traces import TapeEntry
from gate.tuning.collect import ROW_OF_FAILURES, Cap, CollectReport, collect
from gate.tuning.collection import Collected, Collection
from gate.tuning.observing import seen_of
from gate.types import Cost, Generation, Generations, Usage
from tests.tuning.collected import POLICY, Knowing, collection_in, examples, gateway_of, policy_in

CALLS = 8
"""Of one question's full evidence: two upstreams, with and without passages, a draft and a request for samples each."""


@dataclass
class Odd(Knowing):
    """Does something odd before it answers: raises, waits, or gives another reply."""

    odd: Callable[[Odd, Generate], Generations | None] = lambda self, effect: None
    fewer: bool = False
    """Gives one answer, however many are asked for."""

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        made = self.odd(self, effect)
        if made is not None:
            self.calls.append(effect)
            return made
        said = super().complete(effect, cancelled)
        return replace(said, choices=said.choices[:1]) if self.fewer else said


def small_policy(folder: Path, text: str = POLICY) -> PolicyFile:
    return policy_in(folder, text, towns=60)


def gateway(folder: Path, odd: Callable[[Odd, Generate], Generations | None] | None = None, **fields: Any) -> Gateway:
    made = gateway_of(small_policy(folder))
    upstreams = {
        name: Odd(name, known.skill, known.price, known.profile, odd=odd or (lambda self, effect: None), **fields)
        for name, known in made.world.upstreams.items()
    }
    made.world.upstreams = upstreams
    return made


def asked(gateway: Gateway) -> Counter[str]:
    return Counter(effect_key(effect) for upstream in gateway.world.upstreams.values() for effect in upstream.calls)


def run(gateway: Gateway, path: Path, n: int = 0, **how: Any) -> CollectReport:
    with Collection.create(path / "c.db") as collection:
        collection.add(examples(n, first=1))
        return asyncio.run(collect(gateway, collection, **how))


def rows(path: Path) -> list[Collected]:
    with Collection.open(path / "c.db") as collection:
        return list(collection.collected())


def replayed(gateway: Gateway, row: Collected) -> dict[str, str]:
    """The drafts, by replay of the tape: raises `ReplayGap` where it does not hold all there is."""
    driver = ReplayDriver(row.tape, gateway.plan.prices)
    plan = replace(gateway.plan, budget=replace(gateway.plan.budget, calls=None, tokens=None, seconds=None))
    seen = driver.run(full_evidence(plan, row.example.asked), Recording())
    return {each.stage.round_key: each.draft for each in seen}


def down(self: Odd, effect: Generate) -> None:
    raise UpstreamError(self.name, "is down")


# --- all of it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 7])
def test_every_question_comes_to_full_evidence(tmp_path: Path, concurrency: int) -> None:
    made, steps = gateway(tmp_path), []
    done = run(made, tmp_path, 9, concurrency=concurrency, progress=lambda: steps.append(1))
    assert (done.questions, done.finished, done.failed, done.stopped, len(steps)) == (9, 9, 0, None, 9)
    assert done.spent.calls == asked(made).total() == 9 * CALLS
    for row in rows(tmp_path):
        assert replayed(made, row) == row.answers
        assert len(row.answers) == 4
    assert max(asked(made).values()) == 1


def test_it_is_what_the_quick_way_of_other_tests_makes(tmp_path: Path) -> None:
    run(gateway(tmp_path), tmp_path, 5)
    with collection_in(tmp_path, 6) as quick:
        other = {row.example.id: row for row in quick.collected()}
    for row in rows(tmp_path):
        assert row.answers == other[row.example.id].answers
        assert Counter(e.key for e in row.tape) == Counter(e.key for e in other[row.example.id].tape)


def test_a_collection_with_nothing_to_do_is_done(tmp_path: Path) -> None:
    assert run(gateway(tmp_path), tmp_path) == CollectReport(0, 0, 0, None, Cost())
    run(gateway(tmp_path), tmp_path, 3)
    again = gateway(tmp_path)
    assert run(again, tmp_path, 3).finished == 3
    assert not asked(again)


def test_the_budget_of_the_policy_cuts_nothing(tmp_path: Path) -> None:
    small_policy(tmp_path)
    made = gateway_of(small_policy(tmp_path, POLICY + "budget: {calls: 1, tokens: 20}\n"))
    assert run(made, tmp_path, 3).spent.calls == 3 * CALLS


# --- broken off and gone on with ---------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 5, 13, 30])
def test_what_came_before_it_was_cancelled_is_not_asked_for_again(tmp_path: Path, after: int) -> None:
    whole = gateway(tmp_path)
    (tmp_path / "whole").mkdir()
    run(whole, tmp_path / "whole", 6)

    made = gateway(tmp_path)

    async def cancelled() -> None:
        with Collection.create(tmp_path / "c.db") as collection:
            collection.add(examples(6, first=1))
            async with asyncio.TaskGroup() as group:
                task = group.create_task(collect(made, collection, concurrency=3))
                while asked(made).total() < after:
                    await asyncio.sleep(0.0005)
                task.cancel()
            assert task.cancelled()

    asyncio.run(cancelled())
    with Collection.open(tmp_path / "c.db") as collection:
        spent = collection.spent()
    resumed = gateway(tmp_path)
    done = run(resumed, tmp_path, 6)
    # a request under way when it was cancelled was made, but nobody waited for the reply
    lost = asked(made).total() - spent.calls
    assert 0 <= lost <= 3
    assert asked(made).total() + asked(resumed).total() == asked(whole).total() + lost
    assert done.finished == 6
    assert done.spent.calls == asked(whole).total()
    assert [row.answers for row in rows(tmp_path)] == [row.answers for row in rows(tmp_path / "whole")]
    for row in rows(tmp_path):
        assert replayed(made, row) == row.answers


def test_equal_requests_without_a_seed_are_each_asked_once(tmp_path: Path) -> None:
    """An upstream of one answer a request is sent the same request for every sample."""
    text = POLICY.replace("{n: 4, seed: 1}", "{n: 4}").replace('/v1"', '/v1", capabilities: {n: 1}')
    made = gateway_of(small_policy(tmp_path, text))
    done = run(made, tmp_path, 4, cap=Cap(calls=47))
    assert done.finished == 2
    again = gateway_of(small_policy(tmp_path, text))
    assert run(again, tmp_path, 4).finished == 4
    both = asked(made) + asked(again)
    assert set(both.values()) == {1, 4}
    assert both.total() == 4 * (4 + 16)
    for row in rows(tmp_path):
        assert replayed(again, row) == row.answers


# --- caps --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Cost:
    """What twenty questions cost."""
    folder = tmp_path_factory.mktemp("whole")
    return run(gateway(folder), folder, 20).spent


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("share", [0.13, 0.6])
@pytest.mark.parametrize("kind", ["calls", "tokens", "money"])
def test_no_cap_is_exceeded_and_what_fits_is_finished(
    tmp_path: Path, whole: Cost, kind: str, share: float, concurrency: int
) -> None:
    most = getattr(whole, kind) * share
    cap = Cap(**{kind: most if kind == "money" else int(most)})
    made = gateway(tmp_path)
    done = run(made, tmp_path, 20, cap=cap, concurrency=concurrency)
    assert getattr(done.spent, kind) <= most + 1e-12
    assert done.stopped
    # one and a half questions' worth may be lost: to the one that was cut into, and to some being dearer than others
    assert done.finished >= 20 * share - 1.7
    assert done.failed == 0
    for row in rows(tmp_path):
        assert replayed(made, row) == row.answers
    rest = gateway(tmp_path)
    again = run(rest, tmp_path, 20)
    assert (again.finished, again.stopped) == (20, None)
    assert max((asked(made) + asked(rest)).values()) == 1
    assert again.spent.calls == whole.calls


def test_a_cap_counts_what_was_spent_before(tmp_path: Path) -> None:
    run(gateway(tmp_path), tmp_path, 3)
    made = gateway(tmp_path)
    done = run(made, tmp_path, 10, cap=Cap(calls=5 * CALLS))
    assert (done.finished, done.spent.calls) == (5, 5 * CALLS)
    assert run(made, tmp_path, 10, cap=Cap(calls=2)).stopped
    assert asked(made).total() == 2 * CALLS


def test_an_upstream_that_gives_fewer_answers_than_asked_does_not_break_the_cap_on_calls(tmp_path: Path) -> None:
    each = 4 * (1 + 1 + 3)
    made = gateway(tmp_path, fewer=True)
    done = run(made, tmp_path, 9, cap=Cap(calls=5 * each + 7))
    assert done.spent.calls == asked(made).total() <= 5 * each + 7
    assert done.finished == 5
    rest = gateway(tmp_path, fewer=True)
    assert run(rest, tmp_path, 9).finished == 9
    assert (asked(made) + asked(rest)).total() == 9 * each


def test_what_is_left_of_a_question_fits_where_a_whole_one_would_not(tmp_path: Path) -> None:
    made = gateway(tmp_path, odd=lambda self, effect: down(self, effect) if self.name == "large" else None)
    run(made, tmp_path, 1)
    assert asked(made).total() == 4
    spent = run(gateway(tmp_path), tmp_path, 1, cap=Cap(calls=4 + 2 + 4))
    assert (spent.finished, spent.stopped) == (1, None)


def long_winded(self: Odd, effect: Generate) -> Generations | None:
    """Goes on until it is stopped, or has said a hundred words."""
    length = min(100, effect.limit or 100)
    ends = "length" if length == effect.limit else "stop"
    return Generations(tuple(Generation("x " * length, ends) for _ in range(effect.n)), Usage(30, length * effect.n))


@pytest.mark.parametrize("tokens", [950, 1500, 3500, 4321])
def test_an_answer_that_the_cap_cut_short_is_none(tmp_path: Path, tokens: int) -> None:
    made = gateway(tmp_path, odd=long_winded)
    done = run(made, tmp_path, 4, cap=Cap(tokens=tokens), concurrency=2)
    assert done.spent.tokens <= tokens
    assert done.finished == tokens // (4 * (60 + 500))
    for row in rows(tmp_path):
        assert {len(answer) for answer in row.answers.values()} == {200}
    rest = gateway(tmp_path, odd=long_winded)
    assert run(rest, tmp_path, 4).finished == 4
    for row in rows(tmp_path):
        assert {
            len(choice.text) for entry in row.tape if entry.generations for choice in entry.generations.choices
        } == {200}
        assert replayed(rest, row) == row.answers


def test_an_answer_that_the_upstream_itself_cut_is_one(tmp_path: Path) -> None:
    def cut(self: Odd, effect: Generate) -> Generations:
        return Generations(tuple(Generation("x", "length") for _ in range(effect.n)), Usage(30, effect.n))

    made = gateway(tmp_path, odd=cut)
    assert run(made, tmp_path, 2, cap=Cap(tokens=10**6)).finished == 2
    for row in rows(tmp_path):
        assert replayed(made, row) == row.answers


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_question_whose_draft_fails_stays_to_be_done(tmp_path: Path) -> None:
    def once(self: Odd, effect: Generate) -> None:
        if "Town3 " in effect.messages[-1].content:
            raise UpstreamError(self.name, "is odd")

    made = gateway(tmp_path, odd=once)
    done = run(made, tmp_path, 6)
    assert (done.finished, done.failed, done.stopped) == (5, 1, None)
    with Collection.open(tmp_path / "c.db") as collection:
        (place,) = collection.todo()
        assert collection.example(place).id == "q3"
        assert collection.failure(place) == "upstream 'small': is odd"
    assert run(gateway(tmp_path, odd=once), tmp_path, 6).finished == 5  # however often
    assert run(gateway(tmp_path), tmp_path, 6).finished == 6


def test_ten_failures_in_a_row_end_it(tmp_path: Path) -> None:
    done = run(gateway(tmp_path, odd=down), tmp_path, 40, concurrency=1)
    assert (done.finished, done.failed) == (0, ROW_OF_FAILURES)
    assert done.stopped == "requests of 10 questions in a row failed, the last because upstream 'small': is down"
    assert done.spent.calls == ROW_OF_FAILURES  # a cap must know of them


def test_failures_here_and_there_do_not(tmp_path: Path) -> None:
    def every_other(self: Odd, effect: Generate) -> None:
        if any(f"Town{i} " in effect.messages[-1].content for i in range(0, 60, 2)):
            raise UpstreamError(self.name, "is odd")

    done = run(gateway(tmp_path, odd=every_other), tmp_path, 40, concurrency=1)
    assert (done.finished, done.failed, done.stopped) == (20, 20, None)


def test_a_later_failure_is_asked_again_once_and_then_taken_as_it_is(tmp_path: Path) -> None:
    def large_down(self: Odd, effect: Generate) -> None:
        if self.name == "large":
            raise UpstreamTimeout(self.name, "did not answer")

    made = gateway(tmp_path, odd=large_down)
    done = run(made, tmp_path, 3)
    assert (done.finished, done.failed) == (0, 3)
    first = asked(made)
    assert first.total() == 3 * CALLS / 2
    again = gateway(tmp_path, odd=large_down)
    done = run(again, tmp_path, 3)
    assert (done.finished, done.failed) == (3, 0)
    assert not asked(again)  # what had come from the small one was there
    assert done.spent.calls == first.total() + 2 * 3
    for row in rows(tmp_path):
        assert list(row.answers) == ["small/closed_book", "small/with_passages"]
        assert replayed(again, row) == row.answers


def test_what_failed_for_a_while_is_complete_in_the_end(tmp_path: Path) -> None:
    run(gateway(tmp_path, odd=lambda self, effect: down(self, effect) if effect.n > 1 else None), tmp_path, 4)
    made = gateway(tmp_path)
    assert run(made, tmp_path, 4).finished == 4
    assert all(entry.failure is None for row in rows(tmp_path) for entry in row.tape)
    assert {effect.n for upstream in made.world.upstreams.values() for effect in upstream.calls} == {4}
    for row in rows(tmp_path):
        assert replayed(made, row) == row.answers


def test_a_fault_in_a_model_of_this_process_is_a_failure_like_any(tmp_path: Path) -> None:
    def broken(self: Odd, effect: Generate) -> None:
        raise ZeroDivisionError

    done = run(gateway(tmp_path, odd=broken), tmp_path, 2)
    assert (done.finished, done.failed) == (0, 2)


# --- the same policy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("model: large", "model: larger"), "upstream:large"),
        (("n: 4", "n: 5"), "evidence"),
        (("[draft]", "[draft, passages]"), "evidence"),
        (("ladder: [small, large]", "ladder: [small]"), "evidence, upstream:large"),
        ((", k: 1", ", k: 2"), "evidence"),
        (("retriever: towns,", "retriever: towns, prompt: pocket_with_passages,"), "evidence, prompt:"),
    ],
)
def test_another_policy_may_not_go_on(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    run(gateway(tmp_path), tmp_path, 2)
    other = gateway_of(small_policy(tmp_path, POLICY.replace(*change)))
    with pytest.raises(ConfigError, match=f"this collection was made with another {named}") as caught:
        run(other, tmp_path, 4)
    assert "give --out another file" in str(caught.value)
    assert not asked(other)


def test_other_passages_are_another_retriever(tmp_path: Path) -> None:
    run(gateway(tmp_path), tmp_path, 2)
    file = small_policy(tmp_path)
    with (tmp_path / "towns.jsonl").open("a") as towns:
        towns.write('{"id": "new", "text": "new"}\n')
    with pytest.raises(ConfigError, match="another retriever"):
        run(gateway_of(file), tmp_path, 4)


def test_thresholds_signals_and_prices_may_change(tmp_path: Path) -> None:
    run(gateway(tmp_path), tmp_path, 2)
    text = POLICY.replace("0.8", "0.9").replace(", semantic_concentration]", "]").replace("prompt: 0.1", "prompt: 0.2")
    assert run(gateway_of(small_policy(tmp_path, text)), tmp_path, 4).finished == 4


def test_a_policy_that_had_no_reply_binds_nobody(tmp_path: Path) -> None:
    assert run(gateway(tmp_path, odd=down), tmp_path, 2).finished == 0  # no such model, say
    mended = gateway_of(small_policy(tmp_path, POLICY.replace("model: large", "model: larger")))
    assert run(mended, tmp_path, 2).finished == 2
    with pytest.raises(ConfigError, match="another upstream:large"):
        run(gateway(tmp_path), tmp_path, 2)


# --- a kill ------------------------------------------------------------------------------------------------------


def command(folder: Path, *more: str) -> subprocess.Popen[str]:
    """``gate collect`` on the pocket model, in a process of its own."""
    arguments = ["collect", str(folder / "questions.jsonl"), "-p", "balanced", "-o", str(folder / "c.db"), *more]
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-m", "gate", *arguments], cwd=root, stdout=subprocess.PIPE, text=True)


def seen_in(path: Path) -> tuple[dict[int, Any], list[TapeEntry]]:
    """Tapes of what is finished, by place, and the replies of what is under way."""
    with Collection.open(path) as collection:
        begun = [entry for place in collection.todo() for entry in collection.journaled(place)]
        return {row.place: row.tape for row in collection.collected()}, begun


@pytest.mark.skipif(sys.platform == "win32", reason="no signal 9 there")
def test_a_collector_killed_halfway_goes_on_where_it_was(tmp_path: Path) -> None:
    n, path = 40, tmp_path / "c.db"
    lines = [json.dumps({"question": f"Where is {f.subject}?", "answer": f.answer}) for f in facts()[:n]]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    killed = command(tmp_path)
    while killed.poll() is None and (not path.exists() or finished_in(path) < 8):
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    before, begun = seen_in(path)
    assert 8 <= len(before) < n
    assert begun, "it was killed in the middle of a question"

    resumed = command(tmp_path, "--json")
    out, _ = resumed.communicate(timeout=60)
    assert resumed.returncode == 0
    said = json.loads(out)
    assert (said["finished"], said["stopped"], said["added"]["known"]) == (n, None, n)
    after, left = seen_in(path)
    assert not left
    assert len(after) == n
    # the replies that had come are those very ones, their times to the last digit: nobody asked for them again
    assert {place: after[place] for place in before} == before
    whole = [entry for tape in after.values() for entry in tape]
    assert not [entry for entry in begun if entry not in whole]
    assert said["spent"]["calls"] == sum(entry.cost.calls for entry in whole)
    plan = load_gateway("balanced").plan
    with Collection.open(path) as collection:
        for row in collection.collected():
            assert {each.stage.round_key: each.draft for each in seen_of(plan, row)} == row.answers


def finished_in(path: Path) -> int:
    """Read beside the process that writes, and without a word to it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
        there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'labels'").fetchone()
        return int(db.execute("SELECT count(tape) FROM examples").fetchone()[0]) if there else 0
