"""What the benchmark of retrieval makes of its figures, and that its hand-made queries are sound."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks.routing.retrieval import (
    HERE,
    Quality,
    behind,
    halves,
    hand_made,
    many,
    ndcg,
    of_quality,
    of_scale,
    recall,
)


def test_gain_is_discounted_by_rank_and_held_against_the_best_order() -> None:
    assert ndcg(["a", "b"], frozenset("a")) == 1.0
    assert ndcg(["b", "a"], frozenset("a")) == pytest.approx(0.63093, abs=1e-5)
    assert ndcg(["b", "a", "c"], frozenset("ac")) == pytest.approx((0.63093 + 0.5) / 1.63093, abs=1e-5)
    assert ndcg(["b"] * 10 + ["a"], frozenset("a")) == 0.0
    assert recall(["b", "a"], frozenset("ac")) == 0.5


def test_every_query_has_an_answer_and_each_kind_thirty() -> None:
    file, queries = hand_made()
    ids = [json.loads(line)["id"] for line in Path(file).read_text(encoding="utf-8").splitlines()]
    assert len(ids) == len(set(ids)) >= 60
    assert all(query.relevant <= set(ids) for query in queries)
    assert Counter(query.kind for query in queries) == {"entity": 30, "number": 30, "paraphrase": 30}
    chosen, reported = halves(queries, "choose"), halves(queries, "report")
    assert len(chosen) == len(reported) == 45
    assert not {query.text for query in chosen} & {query.text for query in reported}
    assert HERE.name == "routing"


@pytest.mark.parametrize(("hybrid", "met"), [(0.80, "**Met**"), (0.78, "**Not met**")])
def test_hybrid_is_held_against_the_better_of_both(hybrid: float, met: str) -> None:
    found = [
        Quality("number", way, 15, value, 0.9) for way, value in (("BM25", 0.7), ("dense", 0.8), ("hybrid", hybrid))
    ]
    assert behind(found) == pytest.approx({"number": 0.8 - hybrid})
    assert met in of_quality(found)


def test_size_and_speed_are_held_against_their_aims() -> None:
    said = of_scale({"passages": 100_000, "seconds": 20, "megabytes": 1, "p50": 5, "p95": 25, "worst": 30})
    assert said.count("**Met**") == said.count("**Not met**") == 1
    first = list(many(3))
    assert first == list(many(3))
    assert all(len(text.split()) > 30 for _, text in first)
