"""Recorded answers as an upstream."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from gate.effects import Generate
from gate.errors import ConfigError, UpstreamError
from gate.ports import Price
from gate.types import Message
from gate.upstreams.recorded import RecordedOptions, RecordedUpstream

REAL = Path(__file__).parents[3] / "shared" / "recorded" / "uq_nlg_demo.jsonl.gz"
ROWS = [
    {
        "question": "Where is Lagos?",
        "model": "a",
        "answer": "Nigeria",
        "samples": [{"text": "Nigeria"}, {"text": "Togo"}],
    },
    {"question": "Where is Lagos?", "model": "b", "answer": "Ghana", "samples": []},
    {"question": "Silent?", "model": "a", "answer": None},
]


def upstream(path: Path, model: str | None = None) -> RecordedUpstream:
    return RecordedUpstream.from_options("mine", RecordedOptions(path=str(path), model=model), Price())


def ask(made: RecordedUpstream, question: str = "Where is Lagos?", **fields: object) -> list[str]:
    effect = Generate("mine", (Message("user", question),), **fields)
    return [choice.text for choice in made.complete(effect, lambda: False).choices]


@pytest.fixture(params=["plain", "gzipped"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    text = "\n".join(json.dumps(row) for row in ROWS).encode()
    made = tmp_path / "rows.jsonl"
    made.write_bytes(gzip.compress(text) if request.param == "gzipped" else text)
    return made


def test_a_request_for_one_gets_the_answer_and_others_the_samples(path: Path) -> None:
    made = upstream(path, "a")
    assert ask(made) == ["Nigeria"]
    assert ask(made, temperature=0.0) == ["Nigeria"]
    assert ask(made, n=2, temperature=1.0) == ["Nigeria", "Togo"]
    assert ask(made, "Silent?") == [""]
    assert ask(upstream(path, "b")) == ["Ghana"]


def test_at_any_temperature_the_draft_is_the_recorded_answer_and_never_a_sample_that_votes_for_itself(
    tmp_path: Path,
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        json.dumps({"question": "a", "answer": "the answer", "samples": [{"text": "one"}, {"text": "two"}]})
    )
    assert ask(upstream(rows), "a", temperature=0.7) == ["the answer"]


def test_what_is_not_recorded_is_an_error_without_the_users_text(path: Path) -> None:
    made = upstream(path, "a")
    with pytest.raises(UpstreamError, match="holds 2 samples of this answer, not 3"):
        ask(made, n=3, temperature=1.0)
    with pytest.raises(UpstreamError) as caught:
        ask(made, "my private question")
    assert "private" not in str(caught.value)


def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    for text, message in (
        ('{"question": "a", "answer": "b"}\nnot json', "broken.jsonl:2: not JSON"),
        ('{"answer": "b"}', "broken.jsonl:1: .*question"),
        ('{"question": "a"}', 'broken.jsonl:1: .*"answer"'),
        ('{"question": "a", "answer": "b", "samples": [1]}', "broken.jsonl:1"),
        ("", "holds no rows"),
    ):
        broken.write_text(text)
        with pytest.raises(ConfigError, match=message):
            upstream(broken)
    with pytest.raises(ConfigError, match="cannot read"):
        upstream(tmp_path / "none.jsonl")
    (tmp_path / "ok.jsonl").write_text(json.dumps(ROWS[0]))
    with pytest.raises(ConfigError, match="of model 'z'"):
        upstream(tmp_path / "ok.jsonl", "z")


@pytest.mark.skipif(not REAL.exists(), reason="the recorded answers are not here")
def test_real_recorded_answers() -> None:
    made = upstream(REAL)
    question = next(iter(made.rows))
    assert len(ask(made, question, n=10, temperature=1.0)) == 10
    assert ask(made, question)[0]
