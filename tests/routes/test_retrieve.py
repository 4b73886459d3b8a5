"""The retrieve route: what it looks up, where the passages go, and what of the conversation stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.assemble import load_gateway
from gate.drivers import Recording, ThreadedDriver, World
from gate.effects import STOPPED_EARLY, Embed, Generate, Reply, Retrieve
from gate.errors import EvidenceUnavailable
from gate.evidence import Draft, DraftSource
from gate.evidence.asking import quoting
from gate.evidence.meanings import answer_text, normalize
from gate.evidence.rivals import Contest
from gate.gateway import Gateway
from gate.pipeline import answer, enter
from gate.pocket.world import facts_of
from gate.ports import Evidence, Profile, Round
from gate.prompts import Prompt, load
from gate.routes import RetrieveRoute
from gate.signals.token import logprob_mean
from gate.types import Action, Budget, Cost, Decision, Generation, Message, Outcome, Passage, Question, Vectors
from tests.scripted import Scripted, plan_over

PROMPT = Prompt("p", "Read:\n{{passages}}\nAsk: {{question}}", frozenset({"passages", "question"}), "f")
ROUTE = RetrieveRoute("world", PROMPT, 2)
FOUND = (Passage("lagos", "Lagos is a city in Nigeria.", 2.0), Passage("paris", "Paris is a city in France.", 1.0))
ASKED = Message("user", "Where is Lagos?")
SPENT = Cost(calls=0, seconds=0.25)


def opening(*messages: Message) -> Round:
    question = Question(messages, {"temperature": 0.2})
    return Round(3, question, "small", Profile(n=1), question.messages, tokens_left=50, cost=Cost(calls=9))


def followed(round_: Round, found: tuple[Passage, ...] = FOUND, route: RetrieveRoute = ROUTE) -> tuple[object, Round]:
    """What it asks for, and the round it opens when given ``found``."""
    flow = route.follow(round_, Evidence(), Decision(Action.RETRIEVE, "uncertain", round_.stage(0)))
    asked = next(flow)
    with pytest.raises(StopIteration) as stopped:
        flow.send(Reply(found, SPENT))
    assert isinstance(stopped.value.value, Round)
    return asked, stopped.value.value


def test_it_looks_up_the_question_proper_and_puts_what_it_finds_in_the_prompt() -> None:
    first = opening(ASKED)
    asked, opened = followed(first)
    assert asked == Retrieve("world", "Where is Lagos?", 2)
    text = "Read:\nLagos is a city in Nigeria.\nParis is a city in France.\nAsk: Where is Lagos?"
    assert opened.messages == (Message("user", text),)
    assert (opened.number, opened.passages, opened.cost) == (4, FOUND, SPENT)
    assert (opened.question, opened.upstream, opened.profile) == (first.question, first.upstream, first.profile)
    assert opened.stage(1).key == "small/with_passages/tier1"


def test_where_the_retriever_searches_by_a_vector_the_question_is_embedded_first_and_paid_for() -> None:
    route, first = RetrieveRoute("world", PROMPT, 2, embedders={"world": "vectors"}), opening(ASKED)
    flow = route.follow(first, Evidence(), Decision(Action.RETRIEVE, "uncertain", first.stage(0)))
    assert next(flow) == Embed("vectors", ("Where is Lagos?",))
    paid = Cost(prompt_tokens=3, seconds=0.5, money=0.01)
    assert flow.send(Reply(Vectors(((0.6, 0.8),)), paid)) == Retrieve("world", "Where is Lagos?", 2, (0.6, 0.8))
    with pytest.raises(StopIteration) as stopped:
        flow.send(Reply(FOUND, SPENT))
    assert stopped.value.value.cost == paid + SPENT


def test_a_search_that_fails_after_the_question_was_embedded_has_cost_both() -> None:
    route, first = RetrieveRoute("world", PROMPT, 2, embedders={"world": "vectors"}), opening(ASKED)
    flow = route.follow(first, Evidence(), Decision(Action.RETRIEVE, "uncertain", first.stage(0)))
    next(flow)
    flow.send(Reply(Vectors(((1.0,),)), Cost(prompt_tokens=3)))
    with pytest.raises(EvidenceUnavailable, match="is down") as caught:
        flow.throw(EvidenceUnavailable("the retriever 'world' is down", SPENT))
    assert caught.value.cost == Cost(prompt_tokens=3) + SPENT


def test_nothing_found_leads_nowhere_and_still_costs_the_search() -> None:
    flow = ROUTE.follow(opening(ASKED), Evidence(), Decision(Action.RETRIEVE, "uncertain", opening(ASKED).stage(0)))
    next(flow)
    with pytest.raises(EvidenceUnavailable, match="no passage was found") as caught:
        flow.send(Reply((), SPENT))
    assert caught.value.cost == SPENT


def test_it_is_open_until_there_are_passages() -> None:
    first = opening(ASKED)
    assert ROUTE.open(first)
    assert not ROUTE.open(followed(first)[1])


def test_only_the_last_user_message_changes() -> None:
    system, earlier = Message("system", "Be brief."), Message("user", "Hello {{question}}")
    said, tool = Message("assistant", "Hi.", {"role": "assistant", "content": "Hi."}), Message("tool", "{}")
    _, opened = followed(opening(system, earlier, said, ASKED, tool))
    assert opened.messages[:3] == (system, earlier, said)
    assert opened.messages[4:] == (tool,)
    assert opened.messages[3].content.endswith("Ask: Where is Lagos?")


def test_images_stay_and_the_text_parts_become_the_prompt() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,xyz"}}
    parts = [{"type": "text", "text": "Where is"}, image, {"type": "text", "text": "this?"}]
    wire: dict[str, Any] = {"role": "user", "name": "ann", "content": parts}
    _, opened = followed(opening(Message("user", "Where is\nthis?", wire)))
    (message,) = opened.messages
    assert message.content.endswith("Ask: Where is\nthis?")
    assert message.wire == {
        "role": "user",
        "name": "ann",
        "content": [{"type": "text", "text": message.content}, image],
    }
    assert wire["content"] is parts
    assert len(parts) == 3


def test_the_speakers_name_stays_beside_plain_text() -> None:
    wire = {"role": "user", "content": "Where is Lagos?", "name": "ann"}
    _, opened = followed(opening(Message("user", "Where is Lagos?", wire)))
    (message,) = opened.messages
    assert message.wire == {"role": "user", "content": message.content, "name": "ann"}


@pytest.mark.parametrize(
    "messages", [(Message("system", "Say something."),), (Message("user", " \n"),), (ASKED, Message("user", ""))]
)
def test_without_words_to_search_for_it_is_closed(messages: tuple[Message, ...]) -> None:
    assert not ROUTE.open(opening(*messages))


VISIBLE = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"], exclude_characters="<>[]【】｜|"))


@given(st.lists(VISIBLE, min_size=1, max_size=3), st.text())
def test_whatever_the_passages_hold_is_text_and_never_a_variable(texts: Sequence[str], question: str) -> None:
    braced = [f"{{{{question}}}} {text} {{{{passages}}}}" for text in texts]
    found = tuple(Passage(str(place), text) for place, text in enumerate(braced))
    _, opened = followed(opening(Message("user", question)), found)
    assert opened.messages[0].content == "Read:\n" + "\n".join(braced) + "\nAsk: " + question


@pytest.mark.parametrize("name", ["with_passages", "pocket_with_passages"])
def test_the_shipped_prompts_hold_passages_before_the_question(name: str) -> None:
    _, opened = followed(opening(ASKED), route=RetrieveRoute("world", load(name), 2))
    text = opened.messages[0].content
    assert text.index(FOUND[0].text) < text.index(FOUND[1].text) < text.index(ASKED.content)


def test_the_answer_without_passages_goes_with_it() -> None:
    first, said = opening(ASKED), Generation("Nigeria")
    flow = ROUTE.follow(
        first, Evidence().having(Draft(Cost(), said, "small")), Decision(Action.RETRIEVE, "uncertain", first.stage(0))
    )
    next(flow)
    with pytest.raises(StopIteration) as stopped:
        flow.send(Reply(FOUND, SPENT))
    assert stopped.value.value.closed_book == said
    assert followed(first)[1].closed_book is None


def test_an_answer_that_was_stopped_does_not_go_with_it() -> None:
    """What there is of it is not what memory says."""
    first, stopped = opening(ASKED), Generation("Nig", STOPPED_EARLY)
    evidence = Evidence().having(Draft(Cost(), stopped, "small"))
    flow = ROUTE.follow(first, evidence, Decision(Action.RETRIEVE, "cut_short", first.stage(0)))
    next(flow)
    with pytest.raises(StopIteration) as ended:
        flow.send(Reply(FOUND, SPENT))
    assert ended.value.value.closed_book is None


def test_without_the_passage_that_holds_the_answer_confidence_does_not_rise() -> None:
    """What the model read is taken away and the next passage put in its place: p may go up by .02 in one of twenty."""
    gateway = load_gateway("balanced")
    retriever = gateway.world.retrievers["world"]
    driver = ThreadedDriver(gateway.world)
    rises = []
    try:
        for fact in [fact for fact in facts_of("test") if fact.has_passage][:400:8]:
            found = retriever.search(fact.question, 8)
            answer = f" {normalize(fact.answer)} "
            rest = [passage for passage in found if answer not in f" {normalize(passage.text)} "]
            p, said = judged(gateway, driver, fact.question, found[:1])
            if f" {said} " == answer and found[0] not in rest and rest:
                rises.append(judged(gateway, driver, fact.question, tuple(rest[:1]))[0] - p)
    finally:
        driver.close()
    assert len(rises) > 30
    assert sum(rise <= 0.02 for rise in rises) >= 0.95 * len(rises)


def judged(gateway: Gateway, driver: ThreadedDriver, question: str, found: tuple[Passage, ...]) -> tuple[float, str]:
    """The confidence and the draft of a policy that has read these passages."""
    plan, asked = gateway.plan, Question.from_text(question)
    route = plan.routes[Action.RETRIEVE]
    assert isinstance(route, RetrieveRoute)
    messages = quoting(route.prompt, asked.messages, found)
    round_ = dataclasses.replace(plan.opening(asked), messages=messages, passages=found, prompt=route.prompt)
    standing = driver.run(enter(plan, round_), Recording())
    draft = standing.evidence.find(Draft)
    assert draft is not None
    return plan.calibrator.confidence(standing.vector, round_.stage(0)).p, answer_text(draft.generation)


def test_what_was_found_for_an_upstream_before_is_quoted_without_another_search() -> None:
    found = (Passage("lagos", "Lagos is a city in Nigeria."),)
    round_ = dataclasses.replace(opening(ASKED), found=found)
    flow = ROUTE.follow(round_, Evidence(), Decision(Action.RETRIEVE, "uncertain", round_.stage(0)))
    with pytest.raises(StopIteration) as stopped:
        next(flow)
    opened = stopped.value.value
    assert (opened.passages, opened.cost) == (found, Cost())
    assert "Lagos is a city in Nigeria." in opened.messages[-1].content


# --- several retrievers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fixed:
    """A retriever that finds the same for every question, or fails."""

    name: str
    found: tuple[Passage, ...]
    fingerprint: str = "fixed"
    embedder: str = ""
    kind: ClassVar[str] = "fixed"

    def complete(self, effect: Retrieve, cancelled: Callable[[], bool]) -> tuple[Passage, ...]:
        if self.found == BROKEN:
            raise OSError("is down")
        return self.found


BROKEN = (Passage("", ""),)
LAGOS, LIMA = (FOUND[0],), (Passage("lima", "Lima is a city in Peru."),)


def contested(
    *found: tuple[Passage, ...], budget: Budget | None = None, answer_at: float = 0.5
) -> tuple[Outcome, Scripted, Recording]:
    """A question that goes on to several retrievers, each of which finds one of these."""

    def answers(effect: Generate, place: int) -> str:
        asked = effect.messages[-1].content
        return "Peru, I am sure" if "Lima" in asked else "Nigeria" if "city" in asked else f"answer {place}"

    small = Scripted("small", answers)
    names = [f"r{place}" for place in range(len(found))]
    plan = plan_over({"small": small}, answer_at=answer_at, passages=True, budget=budget)
    route = RetrieveRoute(names[0], load("with_passages"), 2, tuple(names[1:]), Contest(DraftSource(), logprob_mean))
    plan = dataclasses.replace(plan, routes={**plan.routes, Action.RETRIEVE: route})
    world = World({"small": small}, {name: Fixed(name, each) for name, each in zip(names, found, strict=True)})
    driver, recording = ThreadedDriver(world), Recording()
    try:
        return driver.run(answer(plan, Question.from_text("Where is Lagos?")), recording), small, recording
    finally:
        driver.close()


def drafts(small: Scripted) -> int:
    return sum(e.n == 1 and not e.temperature and "passages" in e.messages[-1].content for e in small.asked)


def test_each_retriever_has_a_draft_and_the_surest_opens_the_round_at_the_cost_of_all() -> None:
    outcome, small, recording = contested(LAGOS, LIMA)
    assert (outcome.text, outcome.passages, drafts(small)) == ("Nigeria", LAGOS, 2)  # as sure as the other, and first
    assert outcome.steps[-1].signals.value("rival_agreement") == 0.0
    assert outcome.cost.calls == sum(entry.cost.calls for entry in recording.tape) == 5
    assert outcome.generation is not None
    assert outcome.generation.cites


def test_the_same_passages_are_read_once_and_a_retriever_that_fails_or_finds_nothing_is_passed_over() -> None:
    for found in ((LAGOS, LAGOS), (BROKEN, LAGOS), ((), LAGOS), (LAGOS, ())):
        outcome, small, _ = contested(*found)
        assert (outcome.text, drafts(small)) == ("Nigeria", 1)
        assert outcome.steps[-1].signals.value("rival_agreement") is None
    for nothing, why in ((((), ()), "all came back empty"), ((BROKEN, BROKEN), "'r0' failed: OSError")):
        outcome, _, _ = contested(*nothing)
        assert outcome.action is Action.ABSTAIN
        assert why in outcome.decision.detail


@pytest.mark.parametrize(("calls", "made"), [(3, 0), (4, 1), (5, 2), (6, 3), (9, 3)])
def test_no_more_is_drafted_than_the_budget_has_room_for(calls: int, made: int) -> None:
    """Two calls come before: the draft and the samples closed book. One is kept for the samples that follow."""
    third = (Passage("ibadan", "Ibadan is a city in Nigeria."),)
    outcome, small, _ = contested(LAGOS, LIMA, third, budget=Budget(calls=calls))
    assert drafts(small) == made
    assert outcome.cost.calls <= calls


def test_passages_that_came_with_the_question_are_read_without_a_contest() -> None:
    round_ = dataclasses.replace(opening(ASKED), found=LAGOS)
    route = RetrieveRoute("a", PROMPT, 2, ("b",), Contest(DraftSource(), logprob_mean))
    flow = route.follow(round_, Evidence(), Decision(Action.RETRIEVE, "uncertain", round_.stage(0)))
    with pytest.raises(StopIteration) as stopped:
        next(flow)
    assert (stopped.value.value.passages, stopped.value.value.drafted) == (LAGOS, None)


def test_more_may_be_looked_for_than_is_quoted() -> None:
    asked, opened = followed(opening(ASKED), route=dataclasses.replace(ROUTE, k=1, fetch=5))
    assert asked == Retrieve("world", "Where is Lagos?", 5)
    assert (opened.passages, opened.fetched) == (FOUND[:1], FOUND)
    assert FOUND[1].text not in opened.messages[-1].content
    again = dataclasses.replace(opened, passages=(), found=opened.passages)
    flow = ROUTE.follow(again, Evidence(), Decision(Action.RETRIEVE, "uncertain", again.stage(0)))
    with pytest.raises(StopIteration) as stopped:
        next(flow)
    assert stopped.value.value.fetched == FOUND, "what was found is not forgotten where it is not searched again"
