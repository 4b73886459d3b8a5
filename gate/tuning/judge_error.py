"""How often a judge errs, counted where people graded the same answers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from gate.guarantees.label_noise import JudgeError

K = TypeVar("K", bound=Hashable)


def judge_error(judged: Mapping[K, bool | None], human: Mapping[K, bool | None]) -> JudgeError:
    """Compare a judge's labels with people's. What one of them did not grade, or left open, counts for nothing."""
    pairs = [(label, human[key]) for key, label in judged.items() if label is not None and human.get(key) is not None]
    wrong = [label for label, truth in pairs if truth is False]
    right = [label for label, truth in pairs if truth is True]
    return JudgeError(len(wrong), sum(wrong), len(right), right.count(False))
