"""What the pocket model is shown in training: recall and reading exercises, in one shuffled stream.

recall   every fact as often as gate/pocket/facts.tsv.gz says, in the training phrasings of its relation; facts of
         the train split also in the evaluation phrasings. Facts never shown there never occur at all.
reading  one to three passages, then a question that one of them answers. Subjects come from the train split or are
         invented; a fifth of the passages contradict memory, and the answer follows the passage. Some lists lack the
         passage that is needed: then the answer comes from memory.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

from gate import prompts
from gate.pocket.world import RELATIONS, Fact, facts, facts_of


@dataclass(frozen=True, slots=True)
class Exercise:
    prompt: str
    """What stands between the question and the answer marker: one line, as the chat template makes it."""
    answer: str


@dataclass(frozen=True, slots=True)
class Diet:
    """How much of what one size is shown."""

    reading: int
    """Reading exercises in the whole stream."""
    seed: int
    share: float = 1.0
    """How much of the stream it gets to see: the small model stops early, so that it half-knows more."""


DIETS = {"small": Diet(reading=150_000, seed=11, share=0.25), "large": Diet(reading=130_000, seed=12)}


def corpus(size: str) -> list[Exercise]:
    """Every exercise the model of this size is trained on, in order: the first part of its stream."""
    whole = stream(size)
    return whole[: round(DIETS[size].share * len(whole))]


def stream(size: str) -> list[Exercise]:
    """The exercises there are for a model of this size, in order; the same on every machine."""
    diet = DIETS[size]
    rng = random.Random(diet.seed)
    shown = [(fact, fact.seen_small if size == "small" else fact.seen_large) for fact in facts()]
    made = [exercise for fact, times in shown for exercise in recall(fact, times, rng)]
    made += reading(diet.reading, rng)
    rng.shuffle(made)
    return made


def recall(fact: Fact, times: int, rng: random.Random) -> list[Exercise]:
    relation = RELATIONS[fact.relation]
    phrasings = relation.training + (relation.evaluation if fact.split == "train" else ())
    return [Exercise(fact.ask(rng.choice(phrasings)), fact.answer) for _ in range(times)]


def reading(count: int, rng: random.Random) -> list[Exercise]:
    """Exercises of answering from passages. Only train-split facts and invented names occur in them."""
    pool = [fact for fact in facts_of("train") if fact.seen_small > 0]
    alike = {name: [fact for fact in pool if fact.relation == name] for name in RELATIONS}
    answers = {name: sorted({fact.answer for fact in alike[name]}) for name in RELATIONS}
    real = {name for fact in facts() for name in (fact.subject, fact.other, fact.answer)}
    halves = [f.subject for f in alike["country"] if " " not in f.subject and len(f.subject) >= 6]
    weights = [3.0 if fact.relation != "country" else 1.0 for fact in pool]
    prompt = prompts.load("pocket_with_passages")

    def invented() -> str:
        while True:
            a, b = rng.choice(halves), rng.choice(halves)
            name = a[: rng.randint(2, len(a) - 2)] + b[-rng.randint(2, len(b) - 2) :]
            if name not in real:
                return name

    def renamed(fact: Fact) -> Fact:
        return dataclasses.replace(fact, subject=invented(), other=fact.other and invented())

    made = []
    for fact in rng.choices(pool, weights, k=count):
        answer = fact.answer
        known = rng.random() >= 0.6
        if not known:  # an invented subject: nothing to remember, only to read
            fact = renamed(fact)
        if not known or rng.random() < 0.5:  # half of the real ones contradict memory
            answer = rng.choice(answers[fact.relation])
        lines = [fact.state(rng.choice(RELATIONS[fact.relation].passages), answer)]
        for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 1, 2))):
            other = rng.choice(alike[fact.relation] if rng.random() < 0.7 else pool)
            other = renamed(other) if rng.random() < 0.5 else other
            if other.key != fact.key:
                stated = rng.choice(answers[other.relation])
                lines.append(other.state(rng.choice(RELATIONS[other.relation].passages), stated))
        if known and len(lines) > 1 and rng.random() < 0.1:  # the passage that is needed is not there
            lines, answer = lines[1:], fact.answer
        rng.shuffle(lines)
        asked = fact.ask(rng.choice(RELATIONS[fact.relation].training + RELATIONS[fact.relation].evaluation))
        text = prompt.render(passages=" ".join(lines), question=asked)
        made.append(Exercise(text.replace("\n", " "), answer))
    return made
