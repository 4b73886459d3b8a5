"""The benchmark of tuning on a small folder of its own, and what it measures with."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.recorded import Row
from tests.benchmarks.tuning import __main__ as tuning
from tests.benchmarks.tuning import calibration, cascades, promise, rungs, scale, sets


def row(rng: random.Random, place: int, model: str = "weak", **extra: Any) -> dict[str, Any]:
    """Samples agree more often where the answer is right."""
    right = rng.random() < (0.95 if model == "strong" else 0.6)
    says = [{"text": "yes" if rng.random() < (0.95 if right else 0.3) else f"no {n}"} for n in range(5)]
    price = {"cost_usd": 0.1 if model == "strong" else 0.001}
    return {
        "id": f"{model}{place}", "dataset": "made", "model": model, "question": f"Is {place} so?", "answer": "yes",
        "samples": says, "correct": right, "extra": {"label_source": "made up", **price, **extra},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = random.Random(4)
    rows: list[Row] = [row(rng, place, model) for model in ("weak", "strong") for place in range(240)]
    again = [row(rng, place, "weak") for place in range(60)]
    regimes = [
        row(
            rng, place, "reader", regimes={"no_retrieval": {"inacc": rng.random() < 0.5}, "one_retrieval": {"inacc": 1}}
        )
        for place in range(220)
    ]
    for name, some in {"both": [*rows, *again], "passages": regimes, "few": rows[:30]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in some), encoding="utf-8")
    return tmp_path


def test_everything_is_measured_that_can_be(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "ROOT", tmp_path)
    monkeypatch.setattr(sets, "FEWEST", 200)
    monkeypatch.setattr(tuning, "ProcessPoolExecutor", InLine)
    monkeypatch.setattr(tuning, "simulated", lambda draws: promise.simulated(3))
    monkeypatch.setattr(tuning, "LABELS", (100,))
    monkeypatch.setattr(calibration, "FEWEST_TO_JUDGE", 100)
    monkeypatch.setattr(calibration, "RESPLITS", 2)
    monkeypatch.setattr("sys.argv", ["tuning", str(folder), "--no-peers", "--no-scale", "--draws", "2"])
    tuning.main()
    made = json.loads((tmp_path / "build" / "bench-tune.json").read_text())
    assert {one["name"] for one in made["promises"]} == {"both / weak", "both / strong", "passages / reader"}
    assert next(one for one in made["promises"] if one["name"] == "both / weak")["n"] == 240
    assert {one["method"] for one in made["calibration"]} == {"gate"}
    (cascade,) = made["cascades"]
    assert [point["points"] for point in cascade["points"]] == [0.0, 0.5, 1.0]
    assert cascade["upstreams"] == ["weak", "strong"]
    assert cascade["prices"] == pytest.approx([0.01, 1.0])
    (retrieval,) = made["retrieval"]
    assert retrieval["always"] == 1.0
    assert any(reason.startswith("few / ") for reason in made["left out"])
    assert "Not met" in capsys.readouterr().out


class InLine:
    """A pool of no processes: what is replaced for a test would not be in another."""

    def __init__(self, *ignored: object) -> None:
        pass

    def __enter__(self) -> InLine:
        return self

    def __exit__(self, *ignored: object) -> None:
        pass

    def map(self, work: Any, *given: Any) -> list[Any]:
        return list(map(work, *given))

    def submit(self, work: Any, *given: Any) -> Any:
        made = work(*given)
        return type("Done", (), {"result": lambda self: made})()


def test_one_answer_a_question_is_kept() -> None:
    rng = random.Random(0)
    kept = sets.one_each([row(rng, place % 7) for place in range(40)])
    assert sorted(one["question"] for one in kept) == sorted(f"Is {place} so?" for place in range(7))


S = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
RIGHT = np.array([True, True, False, True, False])


def test_the_boldest_threshold_is_the_last_that_looks_right() -> None:
    assert promise.boldest(S, RIGHT, 0.25) == 0.6
    assert np.isnan(promise.boldest(S, ~RIGHT, 0.1))


def test_the_oracle_answers_those_of_equal_confidence_together() -> None:
    assert promise.oracle_coverage(S, RIGHT, 0.25) == 0.8
    assert promise.oracle_coverage(np.array([0.9, 0.5, 0.5, 0.5, 0.5]), RIGHT, 0.25) == 0.2


def test_sgr_gives_each_step_its_part_of_delta() -> None:
    s = np.linspace(1, 0, 100)
    assert np.isnan(promise.sgr(s[:28], np.ones(28, bool), 0.1, 0.05))  # 29 are needed at the whole delta
    assert promise.sgr(s, np.ones(100, bool), 0.1, 0.05) == 0.0


def test_a_threshold_below_a_half_breaks_the_simulated_promise() -> None:
    found = promise.kept("", np.array([0.49, 0.51, np.nan, 0.6]))
    assert (found.broken, found.refused, found.coverage) == (0.25, 0.25, pytest.approx(0.35))


def test_a_price_is_taken_as_recorded_else_from_the_list() -> None:
    listed = {"model": "gpt-4", "question": "q" * 400, "answer": "a" * 40, "samples": [{}, {}]}
    assert rungs.price_of(listed) == pytest.approx((100 * 30 + 20 * 60) / 1e6)
    assert rungs.price_of({**listed, "extra": {"cost_usd": 0.5}}) == 0.5
    assert rungs.price_of({**listed, "model": "unheard-of"}) is None


def test_an_interval_holds_the_mean_of_a_column() -> None:
    column = np.random.default_rng(0).normal(size=400)
    found = cascades.bootstrap(lambda rows: float(column[rows].mean()), 400)
    assert found.value == pytest.approx(column.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * column.std() / 20, rel=0.1)


def test_the_closed_book_is_read_without_what_was_retrieved() -> None:
    given = row(random.Random(0), 1, regimes={"one_retrieval": {"answer": "z"}}, seakr_direct={"answer": "y"})
    extra = rungs._closed(given)["extra"]
    assert "regimes" not in extra
    assert extra["second_model_answer"] == "y"


def test_the_log_is_what_gate_writes() -> None:
    scale.check()
    assert len(scale.CHOSEN) == 40
