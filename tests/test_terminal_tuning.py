"""How what the offline commands found looks: nothing hidden, nothing made up, text of others never taken for markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

from gate import terminal_tuning as views
from gate.guarantees.label_noise import JudgeError
from gate.guarantees.monitor import DriftMonitor
from gate.policy import find, read
from gate.rules.threshold import ThresholdRule
from gate.tuning import certification
from gate.tuning.certification import Counted, Weighted
from gate.tuning.chat_logs import ImportReport, Tally
from gate.tuning.collect import CollectReport
from gate.tuning.collection import Added
from gate.tuning.compare import compare
from gate.tuning.drift import Watched
from gate.tuning.grade import GradeReport
from gate.tuning.replay import Replayed
from gate.tuning.search import Option, Structure
from gate.tuning.tune import Candidate, Tuned
from gate.types import Cost
from tests.tuning.judged import NAN, evaluate, rows, simulated


def shown(part: RenderableType, width: int = 160) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(part)
    return capture.get()


def test_an_import_counts_every_row_and_names_the_first_of_each_reason() -> None:
    done = ImportReport(20, 9, 3, 4, {"no [red]question": Tally(7, [1, 2, 3, 4, 5])}, {"a label": Tally(1, [8])})
    assert shown(views.imported(done)).splitlines() == [
        "9 questions of 20 rows; 3 rows ask what another asks",
        "4 have reference answers",
        "left out: 7 rows (1, 2, 3, 4, 5 …): no [red]question",
        "label not read: 1 rows (8): a label",
    ]


def test_a_collection_says_what_is_left_and_why() -> None:
    whole = CollectReport(5, 5, 0, None, Cost(10, 1, 2, 0.5, 0.25))
    assert shown(views.collected(whole, Added(5, 0, 0))) == (
        "5 of 5 questions have full evidence; it cost 10 calls, 1 + 2 tokens, 500 ms, $0.250000\n"
    )
    part = shown(views.collected(replace(whole, finished=3, failed=2, stopped="the cap [b]"), Added(5, 0, 2)))
    assert part.startswith("2 questions are the same as another, and are asked once\n3 of 5 ")
    assert "stopped: the cap [b]" in part


def test_grades_say_what_is_open_and_how_the_grader_did() -> None:
    done = GradeReport(10, 6, 4, 0, 0, 0, "", Cost())
    assert shown(views.graded(done, JudgeError(0, 0, 0, 0), None)).splitlines() == [
        "10 answers: 6 right, 4 wrong, 0 open",
        "labelled by people: 0",
    ]
    text = shown(
        views.graded(
            replace(done, open=2, failed=1, why="[judge] is busy", cost=Cost(calls=3)), JudgeError(5, 1, 7, 2), 4
        )
    )
    for part in (
        "4 labels of the file say otherwise",
        "accepts 1 of 5 wrong answers, rejects 2 of 7 right ones",
        "judging cost 3 calls",
        "1 answers could not be judged, the first because [judge] is busy",
        "what is open: label it by hand (--export, then --labels)",
    ):
        assert part in text


# --- tune --------------------------------------------------------------------------------------------------------


def made(number: int, *, passed: bool, weighted: bool = False) -> certification.Tested[Candidate]:
    rule = ThresholdRule(answer_at=0.9)
    option = Option(Structure(("small", "large"), rule.otherwise), rule, 0.5, 0.01, 0.002, 0.1)
    behind = Weighted(np.zeros(9, np.bool_), np.ones(9, np.bool_), np.ones(9), 0.5) if weighted else None
    counted = Counted(100, 80 + number, number, 0.001, min(1, number), behind)
    candidate = Candidate(option, f"variant {number}", read(find("balanced")).policy, None)  # type: ignore[arg-type]
    return certification.Tested(candidate, counted, 0.01 * number, passed)


def outcome(
    tests: list[certification.Tested[Candidate]], chosen: certification.Tested[Candidate] | None, left_out: str = ""
) -> Tuned:
    policy = read(find("balanced")).policy
    return Tuned(policy if chosen else None, None, tuple(tests), (), chosen, 200, left_out)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_tests_that_decided_and_the_chosen_one_are_shown(weighted: bool) -> None:
    tests = [made(n, passed=n < 9, weighted=weighted) for n in range(10)]
    text = shown(
        views.tuned(
            outcome(tests, tests[1], "3 have no label"), read(find("balanced")).policy, "7 by x", Path("m.yaml")
        )
    )
    lines = [line for line in text.splitlines() if "variant" in line]
    assert [line.split("variant ")[1][0] for line in lines] == ["1", "4", "5", "6", "7", "8", "9"]
    assert [line.split()[0] for line in lines] == ["→", "variant", "variant", "variant", "variant", "variant", "✗"]
    assert "81 of 100   1, 1 of them not known" in lines[0]
    for part in ("fitted on 200 questions", "from safe to bold: 10", "labels: 7 by x", "left out: 3 have no label",
                 "chosen: small → large, trying first to retrieve, then to escalate", "written to m.yaml"):  # fmt: skip
        assert part in text


def test_a_promise_that_none_keeps_is_told_with_the_best_that_was_shown() -> None:
    policy = read(find("balanced")).policy
    text = shown(views.tuned(outcome([made(7, passed=False)], None), policy, "", Path("m.yaml")))
    assert (
        "no policy keeps this promise (at most 5.00% wrong): the best bound is 7.00% wrong. Nothing was written."
        in text
    )
    assert "no policy answers anything" in shown(views.tuned(outcome([], None), policy, "", Path("m.yaml")))


# --- eval and replay ---------------------------------------------------------------------------------------------


def test_policies_stand_side_by_side_under_the_name_of_the_split() -> None:
    found = {"one [red]": evaluate(simulated(100)), "other": evaluate(simulated(100, answer_at=0.5))}
    text = shown(views.evaluations(found, "certify"))
    for part in (
        "certify split",
        "one [red]",
        "other",
        "coverage",
        "AUROC",
        "money a question (p95)",
    ):
        assert part in text
    assert "all questions" in shown(views.evaluations(found, "all"))
    pairs = shown(views.comparisons(compare({"a": simulated(100), "[b]": simulated(100, answer_at=0.5)})))
    assert "[b] - a" in pairs


@pytest.mark.parametrize(
    ("split", "why"),
    [
        ("certify", "certify: these questions chose and certified policies; only a test split judges them afresh"),
        ("fit", "fit: calibrators were fitted on these questions, and thresholds chosen: they flatter"),
        ("all", "all: calibrators were fitted on some of these questions, and policies chosen on them: they flatter"),
        ("test", None),
    ],
)
def test_numbers_of_questions_that_made_the_policy_are_said_to_be_no_fresh_ones(split: str, why: str | None) -> None:
    text = shown(views.evaluations({"p": evaluate(simulated(100))}, split))
    assert why in text.splitlines() if why else not any(word in text for word in ("afresh", "flatter"))


def test_without_labels_only_what_can_be_told_has_a_row() -> None:
    bare = rows([0.9, 0.4], [NAN, NAN], [True, False], first_correct=[NAN, NAN])
    text = shown(views.evaluations({"p": evaluate(bare)}, "all"))
    assert "coverage" in text
    assert "wrong among answers" not in text
    assert "AUROC" not in text
    assert "2 of 2 questions have no label" in text


def replayed(**changed: Any) -> Replayed:
    made = Replayed(simulated(50), {"answer": 30, "abstain": 19, "error": 1}, 5, {"no [b]text": 2}, 0)
    return replace(made, **changed)


def test_a_replay_says_then_and_now_and_what_it_could_not_judge() -> None:
    text = shown(views.replayed(replayed(), evaluate(simulated(50)), None))
    for part in ("50 decisions judged, 5 end otherwise; 2 cannot be judged", "2: no [b]text",
                 "then: 19 abstain, 30 answer, 1 error", "now: "):  # fmt: skip
        assert part in text
    assert "labels are of decisions" not in text
    assert "3 labels are of decisions that are not in this log" in shown(
        views.replayed(replayed(strangers=3), evaluate(simulated(50)), None)
    )


def test_an_alarm_is_loud_and_no_audit_is_no_claim() -> None:
    monitor = DriftMonitor(alpha=0.05, delta=0.05)

    def text(watched: Watched) -> str:
        return shown(views.replayed(replayed(), evaluate(simulated(50)), watched)).splitlines()[-1]

    assert text(Watched(monitor, None)) == "what went out, 0 answers audited; no alarm"
    broken = monitor
    for _ in range(20):
        broken = broken.updated(True)
    assert broken.alarm
    assert "20 answers audited: 100.00% wrong, between" in text(Watched(broken, "d7"))
    assert text(Watched(broken, "d7")).endswith("; ALARM at d7: the promise is broken")
