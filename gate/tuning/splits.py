"""Which questions a policy is fitted on, which it is certified on, and which judge the result."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gate.errors import ConfigError
from gate.pocket.world import unit_hash
from gate.tuning.collection import SHARES, Collection
from gate.tuning.conversations import question_key
from gate.tuning.examples import Example, Split


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the questions that go to each split; what is left of 1 is the test split."""

    fit: float = 0.4
    certify: float = 0.6

    def __post_init__(self) -> None:
        if not (0 < self.fit < 1 and 0 < self.certify < 1 and self.fit + self.certify <= 1 + 1e-9):
            raise ValueError(f"shares must lie between 0 and 1 and sum to at most 1, got {self.fit} and {self.certify}")

    def of(self, example: Example) -> Split:
        """The split an example says it is for, else that of its question."""
        return example.split or self.split(question_key(example.question, example.passages))

    def split(self, key: str) -> Split:
        """By a hash of the question alone: the same in every run, whatever other questions there are."""
        place = unit_hash(key, "split") / 2**32
        return "fit" if place < self.fit else "certify" if place < self.fit + self.certify - 1e-12 else "test"


WITH_TESTS = Shares(0.35, 0.45)
"""Of a collection, where nothing else is said: a fifth is left to judge the result."""


def chosen_shares(fit: float | None, certify: float | None) -> Shares | None:
    """Shares of which none, one or both are chosen; None with none. Raises `ConfigError` where they are too much."""
    if fit is None and certify is None:
        return None
    chosen = WITH_TESTS
    fit = chosen.fit if fit is None else fit
    certify = min(chosen.certify, 1 - fit) if certify is None else certify
    if fit + certify > 1 + 1e-9:
        raise ConfigError(f"the shares to fit and to certify on are {fit + certify:g} together: they may be 1 at most")
    return Shares(fit, certify)


def split_by(collection: Collection, shares: Shares | None) -> Shares:
    """How a collection is split: as it was before, else by these shares, which it keeps.

    Raises `ConfigError` where they are others than it was split by: a policy tuned then was fitted on questions that
    would judge it now.
    """
    held = read_shares(collection)
    if held is None:
        chosen = shares or WITH_TESTS
        collection.remember(**{SHARES: json.dumps([chosen.fit, chosen.certify])})
        return chosen
    if shares not in (None, held):
        raise ConfigError(
            f"a policy was tuned on it with shares of {held.fit:g} and {held.certify:g}: keep to them, or tune a copy "
            "of the file",
            where=str(collection.path),
        )
    return held


def read_shares(collection: Collection) -> Shares | None:
    """How a collection was split; None before any policy was tuned on it."""
    said = collection.meta.get(SHARES)
    return Shares(*json.loads(said)) if said else None
