"""Re-ranking by a cross-encoder with one logit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from gate.errors import ConfigError, UpstreamError
from gate.retrieval.reranking import Reranker
from tests.judges.tiny_cross_encoder import build

WORDS = {"right": (2.0,), "wrong": (-1.0,), "nan": (float("nan"),)}


def built(folder: Path) -> Path:
    return build(folder, labels=("LABEL_0",), words=WORDS)


def go_on() -> bool:
    return False


def test_scores_are_the_logistic_of_the_logit_in_order(tmp_path: Path) -> None:
    reranker = Reranker.read("docs", built(tmp_path / "model"))
    texts = ["wrong", "right right", "", "half \ud800"] * 10
    expected = [1 / (1 + math.e), 1 / (1 + math.exp(-4)), 0.5, 0.5] * 10
    assert reranker.scores("right", texts, go_on) == pytest.approx(expected, abs=1e-6)
    assert reranker.scores("right", [], go_on) == []


def test_the_fingerprint_is_that_of_the_model(tmp_path: Path) -> None:
    first, same = (Reranker.read("docs", built(tmp_path / "a" / "model")).fingerprint for _ in range(2))
    other = build(tmp_path / "b" / "model", labels=("LABEL_0",), words={**WORDS, "right": (3.0,)})
    assert first == same != Reranker.read("docs", other).fingerprint


def test_a_model_that_is_none_of_relevance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"num_labels: 1 in config\.json"):
        Reranker.read("docs", build(tmp_path / "nli"))
    with pytest.raises(ConfigError, match="there is no folder"):
        Reranker.read("docs", tmp_path / "gone")
    folder = built(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({"num_labels": 1}))
    assert Reranker.read("docs", folder).folder.labels == ("relevance",)


def test_it_stops_once_nobody_waits_and_gives_no_nan(tmp_path: Path) -> None:
    reranker = Reranker.read("docs", built(tmp_path / "model"))
    with pytest.raises(UpstreamError, match="'docs': was cancelled"):
        reranker.scores("right", ["right"], lambda: True)
    with pytest.raises(UpstreamError, match="NaN"):
        reranker.scores("right", ["nan"], go_on)
