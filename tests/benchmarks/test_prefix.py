"""The benchmark of confidence on the growing text, on few questions and on a recording of its own."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from gate.pocket.world import facts
from tests.benchmarks import prefix
from tests.benchmarks.prefix import composed, on_recorded, questions, recorded_drafts, rows_of, sentence


def test_a_composed_draft_says_what_the_model_says_with_the_models_log_probabilities() -> None:
    _, asked = questions(1)[0]
    made = composed("large", asked)
    said = [prefix.answered("large", fact) for fact in asked]
    assert made.text == " ".join(sentence(fact, one.text) for fact, one in zip(asked, said, strict=True))
    theirs = [token.logprob for one in said for token in one.tokens or ()]
    assert [token.logprob for token in made.tokens or () if token.logprob < 0.0] == [p for p in theirs if p < 0.0]


def test_no_fact_stands_in_two_questions_and_all_are_asked() -> None:
    asked = [fact.key for _, group in questions() for fact in group]
    assert sorted(asked) == sorted(fact.key for fact in facts())


def test_a_recording_with_log_probabilities_is_measured_and_others_are_named(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = []
    for number in range(900):
        knows = rng.random()
        tokens, right = [], True
        for place in range(4):
            right = right and rng.random() < knows
            words = (" It" if place else "It", f" is{number}", ".")
            tokens += [{"token": word, "logprob": math.log(0.05 + 0.9 * knows), "top_logprobs": []} for word in words]
        text = "".join(str(token["token"]) for token in tokens)
        rows.append({"question": f"q{number}", "answer": text, "correct": right, "model": "m", "tokens": tokens})
    (tmp_path / "full.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "bare.jsonl").write_text(json.dumps({"question": "q", "answer": "a", "correct": True}) + "\n")
    full, skipped = on_recorded(tmp_path)
    assert isinstance(full, prefix.OnRecorded)
    assert full.name == "full"
    assert (full.shares["m/closed_book"][0].auroc or 0) > 0.7
    assert "something sent" in prefix.tables([(full.name, full.fitted, full.shares, full.exposure)])
    assert isinstance(skipped, str)
    assert skipped.endswith(": bare")
    drafts = recorded_drafts(rows_of(tmp_path / "full.jsonl"))
    assert sum(map(len, drafts.values())) == 900
    asked = [{draft.question for draft in some} for some in drafts.values()]
    assert not asked[0] & asked[1]


def test_without_a_folder_recordings_are_skipped(tmp_path: Path) -> None:
    (said,) = on_recorded(None)
    assert isinstance(said, str)
    assert said.startswith("skipped")


@pytest.mark.timeout(120)
def test_the_page_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prefix, "PROMISE", 0.4)
    monkeypatch.setattr("sys.argv", ["prefix", "--questions", "60", "--out", str(tmp_path / "build")])
    prefix.main()
    shown = capsys.readouterr().out
    for part in ("every 8 tokens", "hold", "us of CPU a token", "skipped"):
        assert part in shown
    kept = json.loads((tmp_path / "build" / "bench-prefix.json").read_text())
    assert [{key: len(of) for key, of in one["shares"].items()} for one in kept["pocket"]] == [
        {"small/closed_book": 4, "large/closed_book": 4}
    ] * 3
    assert kept["right"]["large"] > kept["right"]["small"]
