"""What a terminal shows: user text is never taken for markup, and every part of a decision is there."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import typer
from rich.console import Console, RenderableType

from gate.assemble import assemble, load_gateway
from gate.drivers import Recording, ThreadedDriver
from gate.errors import ConfigError, GateError, ReplayGap, RequestError, UpstreamError
from gate.pipeline import answer
from gate.policy import find, read
from gate.serving_settings import ServingSettings
from gate.terminal import (
    certificate_line,
    contributions_table,
    cost_line,
    filled,
    outcome_panel,
    plainly,
    policy_view,
    print_json,
    progress,
    status,
    trace_view,
    way,
)
from gate.traces import TraceRecord
from gate.types import Action, Confidence, Contribution, Cost, Outcome, Passage, Question
from tests.scripted import Scripted, always, plan_over, world_of


def shown(part: RenderableType) -> str:
    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(part)
    return capture.get()


def outcome_of(text: str, asked: str = "Where is Lagos?") -> tuple[Outcome, TraceRecord]:
    upstreams = {"small": Scripted("small", always(text))}
    driver, recording = ThreadedDriver(world_of(upstreams)), Recording()
    question = Question.from_text(asked)
    outcome = driver.run(answer(plan_over(upstreams), question), recording)
    driver.close()
    record = TraceRecord("id1", "now", "p", "f", False, tuple(recording.steps), question, outcome=outcome)
    return outcome, record


def test_text_that_looks_like_markup_is_shown_as_it_is() -> None:
    outcome, record = outcome_of("[red]Lagos[/red] [/]", "[bold]where[/bold]?")
    assert "[red]Lagos[/red] [/]" in shown(outcome_panel(outcome))
    assert "[bold]where[/bold]?" in shown(trace_view(record))


def test_an_outcome_shows_p_interval_reason_way_and_cost() -> None:
    text = shown(outcome_panel(outcome_of("Nigeria")[0]))
    for part in (
        "Nigeria",
        "p(right) = 0.857",
        "uncalibrated",
        "confident",
        "small/closed_book/tier0 answer",
        "2 calls",
    ):
        assert part in text


def test_a_trace_shows_every_signal_and_why_one_is_missing() -> None:
    outcome, record = outcome_of("Nigeria")
    text = shown(trace_view(record))
    for reading in outcome.steps[0].signals.readings:
        assert reading.signal in text


def test_an_answer_that_voided_the_certificate_is_shown_without_the_promise_and_with_the_reason() -> None:
    gateway = assemble(read(find("balanced")))
    outcome, record = outcome_of("Nigeria")
    steps = tuple(dataclasses.replace(step, void=("another model answers",)) for step in outcome.steps)
    assert "confidence" in certificate_line(gateway, outcome)
    assert certificate_line(gateway, dataclasses.replace(outcome, steps=steps)) == "void: another model answers"
    assert "another model answers" not in shown(trace_view(record))
    assert "voids a certificate: another model answers" in shown(trace_view(dataclasses.replace(record, steps=steps)))


def test_contributions_show_their_sign() -> None:
    confidence = Confidence(0.5, 0.4, 0.6, (Contribution("up", 1.0), Contribution("down", -0.5)), base=0.1)
    text = shown(contributions_table(confidence))
    assert "+1.00" in text
    assert "-0.50" in text
    assert "+0.10" in text


def test_cost_and_way_are_one_line() -> None:
    assert cost_line(Cost(2, 10, 5, 0.25, 0.0)) == "2 calls, 10 + 5 tokens, 250 ms"
    assert cost_line(Cost(1, 1, 1, 1.0, 0.5)).endswith("$0.500000")
    assert way(()) == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("no good", where="p.yaml:3"), 2, "gate: p.yaml:3: no good\n"),
        (RequestError("the question\nis empty"), 2, "gate: the question is empty\n"),
        (ConfigError("long " * 100), 2, f"gate: {' '.join(['long'] * 100)}\n"),
        (ConfigError("[red]not[/red] markup [/]"), 2, "gate: [red]not[/red] markup [/]\n"),
        (
            UpstreamError("main", "HTTP 500", said="the server's words"),
            1,
            "gate: upstream 'main': HTTP 500: the server's",
        ),
        (ReplayGap("not recorded"), 1, "gate: not recorded\n"),
    ],
)
def test_an_error_is_one_line_and_its_kind_the_exit_code(
    error: GateError, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @plainly
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        command()
    shown = capsys.readouterr()
    assert (ended.value.exit_code, shown.out, shown.err.count("\n")) == (code, "", 1)
    assert shown.err.startswith(said)


def test_faults_of_ours_are_not_hidden() -> None:
    @plainly
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()


def test_help_texts_keep_their_paragraphs_and_lose_their_line_ends() -> None:
    def command() -> None:
        """One line

        that goes
        on.

            Indented.
        """

    assert filled(command.__doc__ or "") == "One line\n\nthat goes on.\n\nIndented."
    assert plainly(command).__doc__ == filled(command.__doc__ or "")


def test_json_is_valid_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"nan": float("nan"), "half": "\ud800", "pair": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {"nan": None, "half": "?", "pair": [1, 2]}


def test_nothing_moves_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("collecting", 3, 1) as step, status("tuning") as say:
        step()
        say("fitting")
    assert capsys.readouterr() == ("", "")


def test_a_certificate_of_all_questions_names_no_segment() -> None:
    gateway = assemble(read(find("balanced")))
    held = gateway.policy.certificate
    assert held is not None
    for segment, on in (("", "9 asked, 2026-01-01"), ("the town hall", "9 asked, the town hall, 2026-01-01")):
        certificate = held.model_copy(
            update={"segment": segment, "n": 9, "date": "2026-01-01", "fingerprints": gateway.running}
        )
        named = dataclasses.replace(gateway, policy=gateway.policy.model_copy(update={"certificate": certificate}))
        assert f"({on}): at most" in certificate_line(named)


def test_the_sources_of_an_answer_are_listed_and_those_that_bear_it_starred() -> None:
    outcome, _ = outcome_of("Nigeria [1]")
    found = (
        Passage("a", "text", title="Lagos [bold]", source="cities.md", start=40),
        Passage("b", "text", source="https://x.org/b"),
        Passage("c", "text"),
    )
    text = shown(outcome_panel(dataclasses.replace(outcome, passages=found, cited=("a", "c"))))
    for line in ("[1]*  Lagos [bold], cities.md at 40", "[2]   https://x.org/b", "[3]*  c"):
        assert line in text
    assert "source" not in shown(outcome_panel(outcome))


def test_a_question_asked_back_and_an_unsure_answer_are_titled_as_what_they_are() -> None:
    outcome, _ = outcome_of("Nigeria")
    asked_back = dataclasses.replace(outcome, action=Action.CLARIFY, text="Which Lagos?", generation=None)
    assert "clarify" in shown(outcome_panel(asked_back)).splitlines()[0]
    unsure = dataclasses.replace(outcome, action=Action.ABSTAIN, hedged=True, reference="case-7", generation=None)
    text = shown(outcome_panel(unsure))
    assert "abstain, unsure answer shown" in text.splitlines()[0]
    assert "with a person: case-7" in text


OBSERVED = "observed: first drafts go out, and what gate would do is recorded"


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        ({}, "enforced; streamed once it is judged"),
        ({"streaming": "annotate"}, "enforced; streamed at once, with the verdict at the end"),
        (
            {"streaming": "prefix", "prefix": {"calibrator": "a.json", "release_at": 0.85}},
            "enforced; streamed from p >= 0.85 on, and stopped below 0.05",
        ),
        ({"mode": "observe"}, OBSERVED),
        (
            {"mode": "observe", "enforced_share": 0.1},
            f"{OBSERVED}; enforced on 0.1 of the requests, streamed once it is judged",
        ),
    ],
)
def test_a_policy_says_how_it_is_served(serving: dict[str, Any], said: str) -> None:
    gateway = load_gateway("balanced")
    policy = gateway.policy.model_copy(update={"serving": ServingSettings.model_validate(serving)})
    told = shown(policy_view(dataclasses.replace(gateway, policy=policy)))
    assert " ".join(told[told.index("\nserved ") :].split()) == f"served {said}"
