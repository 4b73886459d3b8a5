"""The pocket model's small world: facts of geography, the ways to ask for them, and the passages that state them.

The facts come from GeoNames (https://www.geonames.org, CC BY 4.0) and are shipped as ``facts.tsv.gz``, written by
``examples/pocket/build_world.py``. Every fact belongs to exactly one split:

* ``train``: may be asked in any phrasing while the model is trained;
* ``fit``, ``certify``, ``test``: shown in training only in the *training phrasings* of its relation, as often as its
  place is populous (``seen_small`` and ``seen_large`` say how often; some never), and asked here in the *evaluation
  phrasings*, so the very strings of these questions never occurred in training.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Split = Literal["train", "fit", "certify", "test"]
SPLITS: tuple[Split, ...] = ("train", "fit", "certify", "test")


@dataclass(frozen=True, slots=True)
class Relation:
    """How a kind of fact is asked for and stated. ``{s}``: subject, ``{o}``: second place, ``{a}``: answer."""

    name: str
    training: tuple[str, ...]
    """Phrasings that any fact may be asked in during training."""
    evaluation: tuple[str, ...]
    """Phrasings kept for the train split and for questions asked after training."""
    passages: tuple[str, ...]
    """Sentences that state the fact."""


RELATIONS: dict[str, Relation] = {
    relation.name: relation
    for relation in (
        Relation(
            "country",
            (
                "Which country is {s} in?",
                "In what country does {s} lie?",
                "{s} is a city in which country?",
                "Name the country of {s}.",
            ),
            ("Where is {s}?", "To which country does {s} belong?"),
            ("{s} is a city in {a}.", "{s} lies in {a}.", "The city of {s} belongs to {a}."),
        ),
        Relation(
            "capital",
            ("What is the capital of {s}?", "Name the capital city of {s}.", "Which city is the capital of {s}?"),
            ("Which city serves as capital of {s}?", "{s} has which capital?"),
            ("The capital of {s} is {a}.", "{s} is governed from its capital, {a}."),
        ),
        Relation(
            "currency",
            ("What currency is used in {s}?", "Which currency does {s} use?", "Name the currency of {s}."),
            ("What money do people pay with in {s}?", "{s} has which currency?"),
            ("The currency of {s} is the {a}.", "People in {s} pay with the {a}."),
        ),
        Relation(
            "continent",
            ("On which continent is {s}?", "Name the continent of {s}.", "What continent does {s} lie on?"),
            ("{s} is part of which continent?", "To which continent does {s} belong?"),
            ("{s} is on the continent {a}.", "{s} is part of {a}."),
        ),
        Relation(
            "language",
            ("What is the main language of {s}?", "Name the main language of {s}.", "Which language is spoken in {s}?"),
            ("What language do people speak in {s}?", "{s} has which main language?"),
            ("The main language of {s} is {a}.", "People in {s} speak {a}."),
        ),
        Relation(
            "border",
            ("Do {s} and {o} share a border?", "Is {s} next to {o}?", "Are {s} and {o} neighbours?"),
            ("Does {s} border {o}?", "Do {s} and {o} touch each other?"),
            ("{s} and {o}: shared border, {a}.", "Is there a border between {s} and {o}? {a}."),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of the world. ``key`` is unique; ``other`` is the second place of a border question, else empty."""

    relation: str
    subject: str
    other: str
    answer: str
    split: Split
    seen_small: int
    """How often this fact stands in the small model's training stream, of which it saw the first quarter."""
    seen_large: int
    """How often the large model was shown it."""
    has_passage: bool
    """Whether the retrieval corpus holds a passage that states it."""

    @property
    def key(self) -> str:
        return f"{self.relation}:{self.subject}" + (f"/{self.other}" if self.other else "")

    def ask(self, template: str) -> str:
        return template.format(s=self.subject, o=self.other)

    def state(self, template: str, answer: str | None = None) -> str:
        return template.format(s=self.subject, o=self.other, a=self.answer if answer is None else answer)

    @property
    def question(self) -> str:
        """The one evaluation phrasing this fact is asked in, chosen by its key."""
        return self.ask(_pick(RELATIONS[self.relation].evaluation, self.key))

    @property
    def passage(self) -> str:
        """The sentence the corpus states it with (whether or not ``has_passage``)."""
        return self.state(_pick(RELATIONS[self.relation].passages, "passage" + self.key))


def _pick(options: tuple[str, ...], key: str) -> str:
    return options[unit_hash(key, "pick", bits=16) % len(options)]


def unit_hash(key: str, salt: str, bits: int = 32) -> int:
    """A number in [0, 2**bits) that depends on nothing but the two strings."""
    return int.from_bytes(hashlib.sha256(f"{salt}\0{key}".encode()).digest()[:8], "big") % (1 << bits)


@cache
def facts() -> tuple[Fact, ...]:
    """Every fact of the world, in file order."""
    return tuple(_read())


def facts_of(split: Split) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts() if fact.split == split)


def passages() -> Iterator[tuple[str, str]]:
    """(key, sentence) of each passage in the retrieval corpus. About one fact in seven has none."""
    return ((fact.key, fact.passage) for fact in facts() if fact.has_passage)


def _read() -> Iterator[Fact]:
    with (
        (files("gate.pocket") / "facts.tsv.gz").open("rb") as raw,
        gzip.open(raw, "rt", encoding="utf-8", newline="") as text,
    ):
        for row in csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield Fact(
                relation=row["relation"],
                subject=row["subject"],
                other=row["other"],
                answer=row["answer"],
                split=row["split"],  # type: ignore[arg-type]  # the file is ours and a test checks its values
                seen_small=int(row["seen_small"]),
                seen_large=int(row["seen_large"]),
                has_passage=row["has_passage"] == "1",
            )
