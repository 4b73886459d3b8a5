"""Questions: what the model says of them is right, wrong or another's, and whoever knows the id can tell."""

from __future__ import annotations

import random

from tests.benchmarks.reliability.questions import HARD, Item, asked_in


def test_a_question_names_its_item() -> None:
    item = Item("00ff", "alpha")
    assert asked_in(item.question) == item
    assert asked_in("Where is Lagos?") is None


def test_codes_are_each_item_s_own() -> None:
    codes = [
        code for name in "ab" for tenant in ("x", "y") for code in (Item(name, tenant).right, *Item(name, tenant).wrong)
    ]
    assert len(set(codes)) == len(codes) == 16
    assert all(code.isalpha() for code in codes)


def test_the_model_knows_most_and_makes_up_the_rest() -> None:
    rng = random.Random(1)
    items = [Item(f"{rng.getrandbits(48):012x}", "alpha") for _ in range(2000)]
    assert abs(sum(item.hard for item in items) / 2000 - HARD) < 0.05
    easy, hard = next(item for item in items if not item.hard), next(item for item in items if item.hard)
    assert {easy.said(rng) for _ in range(20)} == {easy.right}
    assert {hard.said(rng) for _ in range(100)} == set(hard.wrong)
    assert {hard.said(rng, confident=True) for _ in range(20)} == {hard.wrong[0]}
