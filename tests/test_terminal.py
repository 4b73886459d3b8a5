"""What a terminal shows: user text is never taken for markup, and every part of a decision is there."""

from __future__ import annotations

from rich.console import Console, RenderableType

from gate.drivers import Recording, ThreadedDriver
from gate.pipeline import answer
from gate.terminal import contributions_table, cost_line, outcome_panel, trace_view, way
from gate.types import Confidence, Contribution, Cost, Outcome, Question, TraceRecord
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
