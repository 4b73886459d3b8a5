"""The NLI judge on a real session: verdicts, batches, cancelling, and what its fingerprint follows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.assemble import load_gateway
from gate.drivers import World
from gate.effects import Entail, Reply, entail
from gate.errors import ConfigError, UpstreamError
from gate.judges import OnnxCrossEncoder, cross_encoder_session
from gate.policy import find
from gate.ports import Price
from gate.types import Entailment
from tests.drivers.running import both, run
from tests.judges.tiny_cross_encoder import build

PAIRS = (("lagos", "yes"), ("lagos " * 30, "no"), ("yes yes yes", "maybe maybe"), ("lagos", "lagos"), ("lagos", "yes"))


def judge(folder: Path, **options: Any) -> OnnxCrossEncoder:
    made = OnnxCrossEncoder.Options.model_validate({"path": str(folder), **options})
    return OnnxCrossEncoder.from_options("nli", made, Price(prompt=1.0))  # type: ignore[arg-type]


def softmax(*logits: float) -> Any:
    raised = [math.exp(logit) for logit in logits]
    return pytest.approx(tuple(r / sum(raised) for r in raised), abs=1e-6)


def verdicts(made: OnnxCrossEncoder, *pairs: tuple[str, str]) -> list[tuple[float, float, float]]:
    return [told(v) for v in made.complete(Entail("nli", pairs), lambda: False).verdicts]


def told(verdict: Entailment) -> tuple[float, float, float]:
    return verdict.entailment, verdict.neutral, verdict.contradiction


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nli"))


@both
def test_verdicts_come_in_the_order_of_the_pairs_over_either_driver(folder: Path, threaded: bool) -> None:
    world = World({}, judges={"nli": judge(folder, batch=2)})
    reply, recording = run(world, entail(Entail("nli", PAIRS)), threaded=threaded)
    assert isinstance(reply, Reply)
    expected = [softmax(4, 0, 0), softmax(0, 0, 2), softmax(0, 6, 0), softmax(0, 0, 0), softmax(4, 0, 0)]
    assert [told(verdict) for verdict in reply.value.verdicts] == expected
    tokens = 5 + 34 + 8 + 5  # the last pair is the first again, and is read once
    assert (reply.cost.calls, reply.cost.prompt_tokens, reply.cost.completion_tokens) == (0, tokens, 0)
    assert reply.cost.money == pytest.approx(tokens / 1e6)
    assert recording.tape[0].entailments == reply.value


def test_a_temperature_softens_the_verdict(folder: Path) -> None:
    assert verdicts(judge(folder, temperature=4.0), PAIRS[0]) == [softmax(1, 0, 0)]
    assert verdicts(judge(folder, temperature=0.01), PAIRS[0]) == [pytest.approx((1, 0, 0))]


def test_labels_in_another_order_say_the_same(folder: Path, tmp_path: Path) -> None:
    words = {"yes": (0, 0, 4), "maybe": (0, 3, 0), "no": (2, 0, 0), "lagos": (0, 0, 0)}
    turned = build(tmp_path, labels=("CONTRADICTION", "Neutral", "ENTAILMENT"), words=words)
    for mine, other in zip(verdicts(judge(turned), *PAIRS), verdicts(judge(folder), *PAIRS), strict=True):
        assert mine == pytest.approx(other, abs=1e-6)


def test_what_a_model_of_two_labels_does_not_find_entailed_is_left_open(tmp_path: Path) -> None:
    made = judge(build(tmp_path, labels=("not_entailment", "entailment"), words={"yes": (0, 3), "no": (1, 0)}))
    yes, no = verdicts(made, ("no", "yes"), ("yes", "no"))
    assert (yes[2], no[2]) == (0.0, 0.0)
    assert (yes[1], yes[0]) == softmax(0, 3)
    assert (no[1], no[0]) == softmax(1, 0)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(st.text(max_size=30), st.sampled_from(("yes", "no maybe", "", "\ud83d"))), max_size=7))
def test_a_verdict_is_a_distribution_and_company_makes_no_difference(
    folder: Path, pairs: list[tuple[str, str]]
) -> None:
    made = judge(folder, batch=3)
    together = verdicts(made, *pairs)
    for pair, verdict in zip(pairs, together, strict=True):
        assert sum(verdict) == pytest.approx(1.0)
        assert all(0 <= share <= 1 for share in verdict)
        assert verdicts(made, pair) == [pytest.approx(verdict, abs=1e-6)]


def test_a_long_text_is_cut_and_the_other_one_still_counts(folder: Path) -> None:
    assert verdicts(judge(folder, max_length=16), ("lagos " * 50_000, "yes")) == [softmax(4, 0, 0)]
    reply = judge(folder, max_length=16).complete(Entail("nli", (("lagos " * 50_000, "yes"),)), lambda: False)
    assert reply.usage.prompt_tokens == 16


@pytest.mark.parametrize(("positions", "longest"), [(64, 64), (None, 512), (8192, 512)])
def test_the_default_length_is_what_the_model_takes_within_reason(
    tmp_path: Path, positions: int | None, longest: int
) -> None:
    made = judge(build(tmp_path, max_position_embeddings=positions))
    assert made.max_length == longest
    assert judge(tmp_path, max_length=700).max_length == 700


def test_a_request_that_was_cancelled_stops_between_two_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    logits = cross_encoder_session.CrossEncoderSession.logits
    monkeypatch.setattr(
        cross_encoder_session.CrossEncoderSession, "logits", lambda self, batch: ran.append(1) or logits(self, batch)
    )
    asked = count()
    with pytest.raises(UpstreamError, match="'nli': was cancelled"):
        judge(folder, batch=1).complete(Entail("nli", PAIRS), lambda: next(asked) >= 3)
    assert len(ran) == 2


def test_threads_open_the_model_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    build_session = cross_encoder_session.CrossEncoderSession.__init__

    def watched(self: Any, *arguments: Any) -> None:
        opened.append(arguments[0])
        build_session(self, *arguments)

    monkeypatch.setattr(cross_encoder_session.CrossEncoderSession, "__init__", watched)
    made = judge(folder)
    assert not opened
    with ThreadPoolExecutor(8) as pool:
        told_by_each = list(pool.map(lambda _: tuple(verdicts(made, *PAIRS)), range(16)))
    assert opened == ["nli"]
    assert len(set(told_by_each)) == 1


def test_logits_that_are_no_numbers_are_an_upstream_error(tmp_path: Path) -> None:
    made = judge(build(tmp_path, words={"yes": (math.nan, 0, 0), "no": (math.inf, 0, 0)}))
    for word in ("yes", "no"):
        with pytest.raises(UpstreamError, match="NaN or infinity"):
            verdicts(made, ("lagos", word))


def test_the_fingerprint_follows_the_files_and_what_bears_on_a_verdict(tmp_path: Path) -> None:
    def seen() -> Iterator[str]:
        yield judge(build(tmp_path / "nli")).fingerprint
        yield judge(tmp_path / "nli", temperature=2).fingerprint
        yield judge(tmp_path / "nli", max_length=64).fingerprint
        yield judge(build(tmp_path / "nli", labels=("neutral", "entailment", "contradiction"))).fingerprint
        yield judge(build(tmp_path / "nli", words={"yes": (5, 0, 0)})).fingerprint

    fingerprints = list(seen())
    assert len(set(fingerprints)) == len(fingerprints)
    again = judge(build(tmp_path / "nli"), batch=3, threads=2)
    assert again.fingerprint == fingerprints[0]
    assert again.fingerprint.startswith("onnx_cross_encoder-nli:")


def test_a_policy_finds_the_folder_beside_itself_and_an_unusable_one_is_refused_with_its_line(tmp_path: Path) -> None:
    data = yaml.safe_load(find("balanced").read_text(encoding="utf-8"))
    data |= {"calibrator": "vote_share", "certificate": None, "rule": {"answer_at": 0.8}}
    policy = tmp_path / "mine.yaml"
    policy.write_text(yaml.safe_dump({**data, "judges": {"nli": {"kind": "onnx_cross_encoder", "path": "nli"}}}))
    with pytest.raises(ConfigError, match=r"mine\.yaml:\d+: there is no folder"):
        load_gateway(str(policy))
    build(tmp_path / "nli", labels=("LABEL_0", "LABEL_1", "LABEL_2"))
    with pytest.raises(ConfigError, match=r"mine\.yaml:\d+: .*LABEL_0"):
        load_gateway(str(policy))
    build(tmp_path / "nli")
    gateway = load_gateway(str(policy))
    made = gateway.world.judges["nli"]
    assert isinstance(made, OnnxCrossEncoder)
    assert verdicts(made, PAIRS[0]) == [softmax(4, 0, 0)]
    gateway.close()


@pytest.mark.parametrize("option", [{"temperature": 0}, {"batch": 0}, {"max_length": 2}, {"threads": 0}, {"path": ""}])
def test_options_out_of_range_are_refused(folder: Path, option: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        judge(folder, **option)
