"""Perturbations: what each family asks, what is counted, and what is kept when some of it fails."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from gate.drivers import Recording, ReplayDriver, ThreadedDriver
from gate.effects import Entail, Generate, Reply, Together
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence import Draft, Perturbations, PerturbationsSource, Samples
from gate.evidence.asking import quoting
from gate.evidence.perturbations import Family
from gate.ports import Evidence, Price, Profile, Round, Uses
from gate.prompts import load
from gate.types import Cost, Entailment, Entailments, Generation, Message, Passage, Question
from tests.scripted import Answer, Scripted, world_of

ASKED = Question.from_text("Where is the city of Lagos?")
FOUND = (Passage("lagos", "Lagos is in Nigeria. It is large."), Passage("abuja", "The capital is Abuja."))
PROMPT = load("with_passages")
ALL: tuple[Family, ...] = get_args(Family)
DRAFT = Draft(Cost(), Generation("Nigeria. It lies on the coast. It is large."), "small")
SAMPLES = Samples(Cost(calls=1), (Generation("Nigeria"), Generation("Ghana")))


@dataclass
class Judge:
    """Finds a contradiction where the second text is "It is large."."""

    name: str = "judge"
    price: Price = field(default_factory=Price)
    fingerprint: str = "judge"
    asked: list[Entail] = field(default_factory=list)

    def complete(self, effect: Entail, cancelled: Callable[[], bool]) -> Entailments:
        self.asked.append(effect)
        found = [0.9 if second == "It is large." else 0.2 for _, second in effect.pairs]
        return Entailments(tuple(Entailment(0.0, 1.0 - value, value) for value in found))


def opening(profile: Profile | None = None, *, passages: bool = False, question: Question = ASKED) -> Round:
    profile = profile or Profile()
    if not passages:
        return Round(0, question, "small", profile, question.messages)
    return Round(0, question, "small", profile, quoting(PROMPT, question.messages, FOUND), FOUND, prompt=PROMPT)


def obliging(effect: Generate, place: int) -> Answer:
    wanted = re.search(r"exactly (\d+) lines", effect.messages[-1].content)
    return "\n".join(f"Version {number}?" for number in range(int(wanted[1]))) if wanted else "Nigeria"


def gathered(
    source: PerturbationsSource,
    round_: Round,
    answers: Callable[[Generate, int], Answer] = obliging,
    *,
    facts: tuple[Draft | Samples, ...] = (DRAFT, SAMPLES),
) -> tuple[Perturbations, list[Generate]]:
    upstream = Scripted("small", answers, profile=round_.profile)
    world = world_of({"small": upstream})
    world.judges = {"judge": Judge()}
    driver, recording, evidence = ThreadedDriver(world), Recording(), Evidence({type(fact): fact for fact in facts})
    try:
        fact = driver.run(source.gather(round_, evidence), recording)
    finally:
        driver.close()
    assert isinstance(fact, Perturbations)
    assert fact.cost.calls == len(upstream.asked)
    assert ReplayDriver(recording.tape).run(source.gather(round_, evidence), Recording()) == fact
    return fact, upstream.asked


def said(effects: list[Generate]) -> list[str]:
    return [effect.messages[-1].content for effect in effects]


@pytest.mark.parametrize("at_once", [0, 1, 2, 5, 8])
def test_with_a_context_every_family_makes_the_calls_it_says(at_once: int) -> None:
    source = PerturbationsSource(families=ALL, judge="judge")
    fact, asked = gathered(source, opening(Profile(n=at_once), passages=True))
    each = -(-5 // max(1, at_once))
    assert len(asked) == source.calls(Profile(n=at_once)) == 6 + 3 * each
    assert not fact.missing
    assert {family: len(answers.texts) for family, answers in fact.answers.items()} == {
        "sampling": 2, "paraphrase": 5, "permutation": 5, "amplification": 5, "stop_words": 5,
    }  # fmt: skip


@pytest.mark.parametrize("family", ALL)
def test_a_family_alone_makes_its_own_calls(family: Family) -> None:
    source = PerturbationsSource(families=(family,), judge="judge", n=3)
    _, asked = gathered(source, opening(passages=True))
    assert len(asked) == source.calls(Profile()) == {"paraphrase": 4, "sampling": 0, "split": 0}.get(family, 1)


def test_the_context_is_perturbed_where_there_is_one() -> None:
    source = PerturbationsSource(families=("permutation", "amplification", "stop_words"))
    _, asked = gathered(source, opening(passages=True))
    for effect in asked:
        text = effect.messages[-1].content
        assert text.endswith("Question: Where is the city of Lagos?")
        assert text.startswith(PROMPT.body.split("{{")[0])
        assert effect.n == 5
    texts = sorted(said(asked), key=len)
    assert "Lagos Nigeria. large. capital Abuja." in texts[0]
    assert sorted(map(texts[1].count, ("Lagos is in", "It is large.", "The capital is"))) == [1, 1, 1]
    assert "Lagos is in Nigeria. It is large. The capital is Abuja." not in texts[1]
    assert sorted(map(texts[2].count, ("Lagos is in", "It is large.", "The capital is"))) == [1, 1, 3]


def test_the_question_is_perturbed_where_there_is_no_context() -> None:
    history = Question((Message("system", "Be brief."), Message("user", ASKED.text), Message("assistant", "Hm")))
    source = PerturbationsSource(families=("paraphrase", "stop_words"), n=2)
    fact, asked = gathered(source, opening(question=history))
    assert not fact.missing
    rewriting = [effect for effect in asked if len(effect.messages) == 1]
    others = [effect for effect in asked if len(effect.messages) == 3]
    assert len(rewriting) == 1
    assert "Where is the city of Lagos?" in said(rewriting)[0]
    assert sorted(effect.messages[1].content for effect in others) == ["Version 0?", "Version 1?", "city Lagos?"]
    assert {effect.messages[0].content for effect in others} == {"Be brief."}


def test_moving_sentences_needs_a_context_and_the_others_stay() -> None:
    source = PerturbationsSource(families=ALL, judge="judge")
    fact, asked = gathered(source, opening())
    assert fact.missing == dict.fromkeys(
        ("permutation", "amplification"), "it needs a context of several sentences that name something"
    )
    assert set(fact.answers) == {"sampling", "paraphrase", "stop_words"}
    assert len(asked) == 7


def test_the_draft_is_split_and_judged_without_a_call() -> None:
    fact, asked = gathered(PerturbationsSource(families=("split",), judge="judge"), opening())
    assert sorted(fact.contradictions) == [0.2, 0.9]
    assert not asked
    assert not fact.answers


@pytest.mark.parametrize("draft", [Generation("Nigeria."), Generation(""), Generation("No. Never.", refusal="no")])
def test_a_draft_of_one_sentence_or_none_is_not_split(draft: Generation) -> None:
    source = PerturbationsSource(families=("split", "sampling"), judge="judge")
    fact, _ = gathered(source, opening(), facts=(Draft(Cost(), draft, "small"), SAMPLES))
    assert fact.missing == {"split": "the draft is not of several sentences"}
    assert fact.contradictions == ()


def test_samples_are_those_that_were_drawn_before() -> None:
    fact, asked = gathered(PerturbationsSource(families=("sampling",)), opening())
    assert not asked
    assert fact.cost == Cost()
    answers = fact.answers["sampling"]
    assert (answers.texts, answers.labels, answers.draft) == (("nigeria", "ghana"), (1, 2), 0)


def test_without_samples_the_reason_is_that_of_the_samples() -> None:
    source = PerturbationsSource(families=("sampling", "stop_words"))
    fact, _ = gathered(source, opening(), facts=(DRAFT,))
    assert fact.missing == {"sampling": "no samples were drawn"}


def test_equal_answers_share_a_label_with_the_draft() -> None:
    replies = ["Nigeria!", "the Nigeria", "Ghana", "Ghana.", ""]
    source = PerturbationsSource(families=("stop_words",))
    draft = Draft(Cost(), Generation("nigeria"), "small")
    fact, _ = gathered(source, opening(), lambda effect, place: replies[place], facts=(draft,))
    answers = fact.answers["stop_words"]
    assert answers.labels == (0, 0, 1, 1)
    assert answers.draft == 0


def test_answers_alike_are_one_meaning_where_the_policy_says_so() -> None:
    replies = ["Lagos State, Nigeria", "Nigeria, Lagos State"]
    source = PerturbationsSource(families=("stop_words",), n=2)
    alike = source.model_copy(update={"equivalence": "lexical"})
    labels = [
        gathered(kind, opening(), lambda effect, place: replies[place])[0].answers["stop_words"].labels
        for kind in (source, alike)
    ]
    assert labels == [(1, 2), (1, 1)]


def test_a_family_that_says_nothing_is_missing() -> None:
    source = PerturbationsSource(families=("sampling", "stop_words"))
    fact, asked = gathered(source, opening(), lambda effect, place: " ")
    assert fact.missing == {"stop_words": "the samples say nothing"}
    assert fact.cost.calls == len(asked) == 1


def test_a_family_of_refusals_alone_is_missing() -> None:
    no = Samples(Cost(), (Generation("", refusal="no"),) * 2)
    source = PerturbationsSource(families=("sampling", "stop_words"))
    fact, _ = gathered(source, opening(), facts=(DRAFT, no))
    assert fact.missing == {"sampling": "every answer was a refusal"}


def test_when_nothing_can_be_had_every_reason_and_the_cost_are_told() -> None:
    source = PerturbationsSource(families=("paraphrase", "permutation"))
    with pytest.raises(
        EvidenceUnavailable, match=r"paraphrase: the upstream wrote 1 .*; permutation: it needs"
    ) as caught:
        gathered(source, opening(), lambda effect, place: "one")
    assert caught.value.cost is not None
    assert caught.value.cost.calls == 1


def test_an_answer_that_fails_loses_only_itself_and_a_family_that_fails_only_its_own() -> None:
    def answers(effect: Generate, place: int) -> Answer:
        text = effect.messages[-1].content
        return UpstreamError("small", "is down") if text in {"Version 1?", "city Lagos?"} else obliging(effect, place)

    fact, _ = gathered(PerturbationsSource(families=("paraphrase", "stop_words"), n=3), opening(), answers)
    assert len(fact.answers["paraphrase"].texts) == 2
    assert re.match(r"no sample could be drawn: .*is down", fact.missing["stop_words"])


def test_when_no_version_is_answered_paraphrase_is_missing_with_the_cause() -> None:
    def answers(effect: Generate, place: int) -> Answer:
        down = effect.messages[-1].content.startswith("Version")
        return UpstreamError("small", "is down") if down else obliging(effect, place)

    fact, _ = gathered(PerturbationsSource(families=("sampling", "paraphrase"), n=2), opening(), answers)
    assert fact.missing["paraphrase"] == "no version could be answered: upstream 'small': is down"
    assert fact.cost.calls == 3


def test_a_question_without_words_leaves_only_what_needs_none() -> None:
    blank = Question((Message("user", " "),))
    fact, asked = gathered(PerturbationsSource(families=ALL, judge="judge"), opening(question=blank))
    assert set(fact.answers) == {"sampling"}
    assert not asked


def test_no_two_requests_share_a_seed_and_a_policy_without_one_sends_none() -> None:
    source = PerturbationsSource(families=ALL, judge="judge", seed=7)
    _, asked = gathered(source, opening(Profile(n=2), passages=True))
    seeds = [effect.seed for effect in asked]
    assert None not in seeds
    assert len(set(seeds)) == len(seeds)
    _, asked = gathered(PerturbationsSource(), opening())
    assert {effect.seed for effect in asked} == {None}


@pytest.mark.parametrize("left", [8, 9, 12, 40])
def test_the_calls_left_are_a_hard_stop_for_an_upstream_that_ignores_n(left: int) -> None:
    @dataclass
    class OneAtATime(Scripted):
        def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Any:
            return super().complete(replace(effect, n=1), cancelled)

    source = PerturbationsSource(families=("paraphrase", "amplification", "permutation"))
    upstream = OneAtATime("small", obliging)
    driver = ThreadedDriver(world_of({"small": upstream}))
    round_ = replace(opening(passages=True), calls_left=left)
    assert source.calls(round_.profile) == 8
    driver.run(source.gather(round_, Evidence({Draft: DRAFT})), Recording())
    driver.close()
    assert len(upstream.asked) <= left
    assert left < 40 or len(upstream.asked) == 6 + 5 + 5


@pytest.mark.parametrize("left", [60, 100, 1000])
def test_all_calls_together_may_write_no_more_than_the_tokens_left(left: int) -> None:
    source = PerturbationsSource(families=ALL, judge="judge")
    _, asked = gathered(source, replace(opening(Profile(n=2), passages=True), tokens_left=left))
    assert sum(effect.n * (effect.limit or 0) for effect in asked) <= left


def test_it_needs_and_uses_what_its_families_do() -> None:
    plain = PerturbationsSource(families=("stop_words",), judge="judge")
    assert (plain.needs, plain.uses) == ((Draft,), Uses())
    everything = PerturbationsSource(families=ALL, judge="judge")
    assert everything.needs == (Draft, Samples)
    assert everything.uses == Uses(judges=("judge",), prompts=("paraphrases",))
    assert PerturbationsSource(families=("sampling", "sampling", "stop_words", "stop_words")).calls(Profile()) == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"families": []}, "at least 1"),
        ({"families": ["back_translation"]}, "split"),
        ({"families": ["split"]}, "needs a judge of entailment"),
        ({"n": 1}, "greater"),
        ({"temperature": 0}, "greater"),
        ({"splits": 0}, "greater"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PerturbationsSource.model_validate(wrong)


def test_a_split_judged_by_what_is_no_verdict_is_missing() -> None:
    flow = PerturbationsSource(families=("split",), judge="judge").gather(opening(), Evidence().having(DRAFT))
    together = next(flow)
    assert isinstance(together, Together)
    (split,) = together.flows
    asked = next(split)
    assert isinstance(asked, Entail)
    with pytest.raises(StopIteration) as stop:
        split.send(Reply(Entailments((Entailment(math.nan, 0.0, 0.0),) * len(asked.pairs)), Cost()))
    assert stop.value.value.missing == "the judge 'judge' gave verdicts that are no probabilities"
