"""The pocket world: splits are disjoint, and training shows nothing of a held-out fact but its own exposures."""

from __future__ import annotations

import importlib.util
import re
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gate.pocket.weights import SIZES, Size, folder
from gate.pocket.world import RELATIONS, SPLITS, Fact, facts, facts_of, passages

HELD_OUT = tuple(fact for split in ("fit", "certify", "test") for fact in facts_of(split))


@cache
def corpus_module() -> Any:
    """examples/pocket/corpus.py, which is a script's neighbour and no part of the package."""
    path = Path(__file__).parents[2] / "examples" / "pocket" / "corpus.py"
    spec = importlib.util.spec_from_file_location("pocket_corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@cache
def prompts_of(size: Size) -> Counter[str]:
    return Counter(exercise.prompt for exercise in corpus_module().stream(size))


def is_reading(prompt: str) -> bool:
    return "Passages: " in prompt


def all_phrasings(fact: Fact) -> list[str]:
    relation = RELATIONS[fact.relation]
    return [fact.ask(template) for template in relation.training + relation.evaluation]


def sentences(prompt: str) -> Iterator[str]:
    """What may be a question or statement in a reading exercise: from each beginning to each of the next four ends.

    Several ends, because a name may hold a full stop and a statement a question mark.
    """
    ends = [match.end() for match in re.finditer(r"[.?](?=\s|$)", prompt)]
    begins = [match.end() for match in re.finditer(r"Question: |Passages: |[.?]\s", prompt)]
    for begin in begins:
        at = bisect_right(ends, begin)
        yield from (prompt[begin:end] for end in ends[at : at + 4])


def found(sought: set[str], prompts: list[str]) -> set[str]:
    return {sentence for prompt in prompts for sentence in sentences(prompt) if sentence in sought}


def test_every_fact_is_in_one_split_and_stands_once() -> None:
    assert len({fact.key for fact in facts()}) == len(facts())
    assert {fact.split for fact in facts()} == set(SPLITS)
    assert sum(len(facts_of(split)) for split in SPLITS) == len(facts())


def test_a_border_is_not_asked_both_ways_round() -> None:
    pairs = [frozenset((fact.subject, fact.other)) for fact in facts() if fact.relation == "border"]
    assert len(set(pairs)) == len(pairs)


def test_facts_are_well_formed() -> None:
    for fact in facts():
        assert fact.relation in RELATIONS
        assert fact.subject
        assert fact.answer
        assert bool(fact.other) == (fact.relation == "border")
        assert 0 <= fact.seen_small <= fact.seen_large
        assert fact.answer in fact.passage
        assert "{" not in fact.question + fact.passage


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_all_relations_and_facts_never_shown(split: Any) -> None:
    assert {fact.relation for fact in facts_of(split)} == set(RELATIONS)
    assert any(fact.seen_large == 0 for fact in facts_of(split))


def test_the_retrieval_corpus_lacks_some_facts() -> None:
    stated = dict(passages())
    assert 0.75 < len(stated) / len(facts()) < 0.95
    assert all(stated[fact.key] == fact.passage for fact in facts() if fact.has_passage)


def test_questions_are_unique() -> None:
    assert len({fact.question for fact in facts()}) == len(facts())


def test_no_training_phrasing_can_render_to_a_held_out_question() -> None:
    patterns = [
        re.compile(re.escape(template).replace(r"\{s\}", ".+").replace(r"\{o\}", ".+"))
        for relation in RELATIONS.values()
        for template in relation.training
    ]
    assert patterns[0].fullmatch(facts()[0].ask(RELATIONS["country"].training[0]))  # the patterns do match something
    rendered = {fact.question for fact in HELD_OUT if any(p.fullmatch(fact.question) for p in patterns)}
    assert rendered == set()


@pytest.mark.parametrize("size", SIZES)
def test_recall_shows_each_fact_as_often_as_the_table_says(size: Size) -> None:
    shown = prompts_of(size)
    wrong = [
        fact.key
        for fact in facts()
        if sum(shown[question] for question in all_phrasings(fact)) != getattr(fact, f"seen_{size}")
    ]
    assert wrong == []


@pytest.mark.parametrize("size", SIZES)
def test_no_held_out_question_was_ever_a_training_prompt(size: Size) -> None:
    shown = prompts_of(size)
    evaluation = {fact.ask(t) for fact in HELD_OUT for t in RELATIONS[fact.relation].evaluation}
    assert evaluation & shown.keys() == set()


@pytest.mark.parametrize("size", SIZES)
def test_reading_exercises_neither_ask_nor_state_a_held_out_fact(size: Size) -> None:
    reading = [prompt for prompt in prompts_of(size) if is_reading(prompt)]
    asked = {question for fact in HELD_OUT for question in all_phrasings(fact)}
    stated = {fact.state(template) for fact in HELD_OUT for template in RELATIONS[fact.relation].passages}
    trained = {fact.state(t) for fact in facts_of("train") for t in RELATIONS[fact.relation].passages}
    assert found(trained, reading[:200])  # the search does find what is there
    assert found(asked | stated, reading) == set()


def test_the_weights_stay_small() -> None:
    files = [path for size in SIZES for path in folder(size).iterdir()]
    assert sum(path.stat().st_size for path in files) <= 25_000_000


def test_the_small_model_sees_the_first_quarter_of_its_stream() -> None:
    module = corpus_module()
    whole, seen = module.stream("small"), module.corpus("small")
    assert seen == whole[: len(seen)]
    assert len(seen) == round(len(whole) / 4)
