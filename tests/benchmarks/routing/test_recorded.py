"""The recorded part of the benchmark of routing on a small folder of its own, and what it measures with."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.routing import gates, passages, recorded, rivals
from tests.benchmarks.routing.frontier import Ends, Method, Outcome, Policy, Swept, cheapest, gap_recovered, within

BUDGETS = np.array([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95])


def row(rng: random.Random, place: int, model: str, **extra: Any) -> dict[str, Any]:
    """Samples agree more often where the answer is right."""
    right = rng.random() < (0.95 if model == "strong" else 0.6)
    says = [{"text": "yes" if rng.random() < (0.95 if right else 0.3) else f"no {n}"} for n in range(3)]
    price = {"cost_usd": 0.1 if model == "strong" else 0.001}
    return {
        "id": f"{model}{place}", "dataset": "made", "model": model, "question": f"Is {place} so?", "answer": "yes",
        "samples": says, "correct": right, "extra": {"label_source": "made up", **price, **extra},
    }  # fmt: skip


def test_ladders_and_retrievals_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WRONG",):
        monkeypatch.setattr(gates, name, np.geomspace(0.1, 1e3, 5))
    for module, name in ((rivals, "QUANTILES"), (rivals, "COARSE"), (passages, "QUANTILES")):
        monkeypatch.setattr(module, name, np.linspace(0, 1, 6))
    monkeypatch.setattr(passages, "FOLDS", 2)
    rng = random.Random(4)
    both = [row(rng, place, model) for model in ("weak", "strong") for place in range(200)]
    said = {"option": "A", "probs_A_none_B_single_C_multi": [0.9, 0.1, 0.0]}
    one_retrieval = {"inacc": 1}
    read = [
        row(
            rng, place, "reader", adaptive_rag_classifier=said,
            regimes={"no_retrieval": {"inacc": rng.random() < 0.5}, "one_retrieval": one_retrieval},
        )
        for place in range(200)
    ]  # fmt: skip
    for name, some in {"both": both, "passages": read}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in some), encoding="utf-8")
    target = tmp_path / "found.json"
    monkeypatch.setattr("sys.argv", ["recorded", "--data", str(tmp_path), "--json", str(target)])
    recorded.main()
    found = json.loads(target.read_text())
    (ladder,), (retrieval,) = found["ladders"], found["retrievals"]
    methods = {one["name"]: one for one in ladder["methods"]}
    assert next(iter(methods)) == "gate"
    assert {"FrugalGPT", "AutoMix (vote_share)", "RouteLLM", "random mixture"} <= set(methods)
    assert methods["gate"]["apgr"]["value"] > methods["random mixture"]["apgr"]["value"]
    assert methods["random mixture"]["accuracies"] == sorted(methods["random mixture"]["accuracies"])
    assert {one["name"]: one["saved"]["value"] for one in retrieval["methods"]}["Adaptive-RAG, as recorded"] == 0.0
    assert "Aim: at most 40%" in capsys.readouterr().out


def test_without_a_folder_it_says_skipped() -> None:
    for folder in (None, Path("/nowhere/at/all")):
        found = recorded.measured(folder)
        assert "skipped" in recorded.page(found)
        assert not found.ladders


def always(right: float, cost: float, n: int = 40) -> Policy:
    outcome = Outcome(np.full(n, right), np.full(n, cost))
    return Policy.of("", lambda: outcome, lambda: outcome)


def ends_of(weak: Policy, strong: Policy) -> Ends:
    both = weak.seen(), strong.seen()
    return Ends(both, both)


def test_the_gap_recovered_is_the_share_of_the_way_to_the_strongest() -> None:
    assert gap_recovered(0.62, 0.5, 0.7) == pytest.approx(0.6)


def test_drawing_lots_recovers_half_the_gap_and_the_best_at_the_least_cost_all_of_it() -> None:
    weak, strong = always(0.5, 0.0), always(0.7, 1.0)
    counts = np.ones((1, 40))
    lots = Swept.of(Method("lots", (weak,)), ends_of(weak, strong))
    assert lots.accuracies(counts)[0] == pytest.approx(0.5 + 0.2 * BUDGETS)
    assert lots.recovered(counts) == pytest.approx([0.5])
    free = Swept.of(Method("free", (always(0.7, 1e-9),)), ends_of(weak, strong))
    assert free.recovered(counts) == pytest.approx([1.0])


def test_a_policy_is_chosen_by_the_fit_half_alone() -> None:
    dear, cheap, wrong = always(0.9, 1.0), always(0.8, 0.2), always(0.1, 0.1)
    assert cheapest([dear, wrong, cheap], 0.8) is cheap
    assert cheapest([wrong], 0.8) is None
    assert within([dear, wrong, cheap], 0.5) is cheap
