"""What is kept of a guarded function."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import gate
from gate.decorator.guard_settings import GuardSettings
from gate.decorator.guarding import Calls, Guarding
from gate.decorator.shaped import Pieces, Whole
from gate.errors import AnswerWithheld, ConfigError
from tests.decorator.policies import POLICY, by_draft, by_votes

POCKET = POLICY.replace("{mine: {kind: caller, identity: model-1}}", "{mine: {kind: pocket, model: small}}")


def answer(question: str) -> str:
    return "China"


def guarding(policy: Any, form: Any = None, function: Any = answer, **options: Any) -> Guarding:
    return Guarding(function, "answer", GuardSettings(policy, **options), form or Whole(), False, lambda *_: "China")


def test_the_policy_is_loaded_once_when_it_is_first_needed(tmp_path: Path) -> None:
    made = guarding(tmp_path / "by_draft.yaml")
    with pytest.raises(ConfigError):
        _ = made.gate
    by_draft(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        gates = list(pool.map(lambda _: made.gate, range(16)))
    assert len(set(map(id, gates))) == 1


def test_one_warning_names_all_that_will_be_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    by_votes(tmp_path)
    for _ in range(2):
        made = guarding(tmp_path / "by_votes.yaml")
        assert made.gate is made.gate
    assert len(caplog.messages) == 2
    assert caplog.messages[0] == (
        "answer is never called again, so the policy 'mine' gets no samples of it: samples='again' allows it"
    )
    caplog.clear()
    _ = guarding(tmp_path / "by_votes.yaml", samples="again").gate
    _ = guarding(by_draft(tmp_path)).gate
    assert not caplog.messages


def test_the_policys_own_upstream_is_asked_where_the_function_stands_for_it(tmp_path: Path) -> None:
    path = by_votes(tmp_path, upstream=POCKET)
    for options, asks in (
        ({"written_by": "mine"}, True),
        ({}, False),
        ({"written_by": "mine", "gather": False}, False),
    ):
        made = guarding(path, **options)
        assert made.asks_the_policys_own(made.gate.gateway) is asks
    (tmp_path / "caller").mkdir()
    of_a_caller = guarding(by_votes(tmp_path / "caller"), written_by="mine")
    assert not of_a_caller.asks_the_policys_own(of_a_caller.gate.gateway)


def test_no_other_answer_is_looked_for_where_the_first_is_shown() -> None:
    assert guarding("balanced", Pieces(), streaming="hold").gathers is None
    assert guarding("balanced", Whole(), streaming="annotate", gather=True).gathers is True
    assert guarding("balanced", Pieces(), streaming="annotate").gathers == "evidence"
    assert guarding("balanced", Pieces(), streaming="annotate", gather=False).gathers is False
    assert guarding("balanced", gather=False).gathers is False


def test_calls_are_counted_from_any_thread() -> None:
    made = guarding("balanced")
    assert made.calls == Calls()

    def work() -> None:
        for _ in range(500):
            made.count()
            made.count(again=1)
            made.count_repeated()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.calls == Calls(total=4000, again=2000, repeated=2000)


def test_the_latest_decisions_are_kept(tmp_path: Path) -> None:
    decided = gate.Gate(by_draft(tmp_path)).judge("?", "China")
    made = guarding("balanced", remember=2)
    for _ in range(3):
        assert made.remember(decided) is decided
    assert made.remembered() == (decided, decided)
    nothing = guarding("balanced", remember=0)
    nothing.remember(decided)
    assert nothing.remembered() == ()


def test_what_is_returned_of_an_abstention(tmp_path: Path) -> None:
    withheld = gate.Gate(by_votes(tmp_path)).judge("?", "China")
    assert isinstance(withheld.value, gate.Abstained)
    with pytest.raises(AnswerWithheld) as raised:
        guarding("balanced").resolved(withheld)
    assert raised.value.abstained is withheld.value
    assert guarding("balanced", on_abstention="return").resolved(withheld) is withheld.value
    assert guarding("balanced", default=None).resolved(withheld) is None


def test_the_captured_conversation_needs_no_parameter() -> None:
    def two(topic: str, style: str) -> str:
        return "China"

    with pytest.raises(ConfigError, match="may be the question"):
        guarding("balanced", function=two)
    assert guarding("balanced", function=two, samples="captured").asks is None
    with pytest.raises(ConfigError, match="question='topc' is none of its parameters"):
        guarding("balanced", function=two, samples="captured", question="topc")
