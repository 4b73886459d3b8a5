"""A whole gate before served models: the same evidence, decisions and answers as with the embedded ones."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import shutil
from pathlib import Path

import openai
import pytest
import yaml

from gate.assemble import load_gateway
from gate.drivers import Recording, ThreadedDriver, World
from gate.evidence import Draft, DraftSource, PTrue, PTrueSource, SamplesSource, p_true
from gate.gateway import Gateway
from gate.ports import Evidence, Round, Upstream
from gate.types import Action, Outcome, Question, TokenLogprob
from tests.proxy.live_server import live
from tests.proxy.served import app_of
from tests.served.asking import embedded, served, some_facts
from tests.served.server import Server

NEAR = 1e-2
POLICIES = Path(__file__).parents[2] / "policies"
QUESTIONS = tuple(fact.question for fact in some_facts(40))


# --- evidence ----------------------------------------------------------------------------------------------------


def judged(upstream: Upstream, question: str) -> tuple[PTrue, tuple[tuple[TokenLogprob, ...], ...]]:
    """What the upstream thinks of its own draft, and the tokens of the judge's replies."""
    asked = Question.from_text(question)
    round_ = Round(1, asked, "it", upstream.profile, asked.messages)
    driver, recording = ThreadedDriver(World({"it": upstream})), Recording()
    try:
        draft = driver.run(DraftSource().gather(round_, Evidence()), Recording())
        assert isinstance(draft, Draft)
        fact = driver.run(PTrueSource(debias=True).gather(round_, Evidence().having(draft)), recording)
        assert isinstance(fact, PTrue)
    finally:
        driver.close()
    entries = sorted(recording.tape, key=lambda entry: entry.key)
    return fact, tuple(entry.generations.choices[0].tokens or () for entry in entries if entry.generations)


def test_p_true_is_read_off_alike(large: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pocket model never says "A" or "B", so its two likeliest words stand for them here."""
    for question in QUESTIONS[::8]:
        _, expected = judged(embedded("large"), question)
        likeliest = [{p_true._bare(word)} for word, _ in expected[0][0].top[:2]]
        monkeypatch.setattr(p_true, "_TRUE", frozenset(likeliest[0]))
        monkeypatch.setattr(p_true, "_FALSE", frozenset(likeliest[1]))
        (ours, _), (theirs, said) = judged(embedded("large"), question), judged(served(large), question)
        assert isinstance(ours.options, p_true.Options)
        assert isinstance(theirs.options, p_true.Options)
        assert theirs.options.true == pytest.approx(ours.options.true, abs=NEAR)
        assert theirs.options.false == pytest.approx(ours.options.false, abs=NEAR)
        assert type(theirs.twin) is type(ours.twin)
        for tokens, wanted in zip(said, expected, strict=True):
            assert [t.token for t in tokens] == [t.token for t in wanted]
            assert len(tokens[0].top) == 20
            assert [p for _, p in tokens[0].top] == pytest.approx([p for _, p in wanted[0].top], abs=NEAR)


# --- decisions ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def policy(small: Server, large: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy ``balanced``, its upstreams served."""
    folder = tmp_path_factory.mktemp("policy")
    shutil.copy(POLICIES / "balanced.calibrator.json", folder)
    held = yaml.safe_load((POLICIES / "balanced.yaml").read_text(encoding="utf-8"))
    for server, name in ((small, "small"), (large, "large")):
        price = held["upstreams"][name]["price"]
        held["upstreams"][name] = {"kind": "vllm", "base_url": server.base_url, "model": server.name, "price": price}
    path = folder / "balanced.yaml"
    path.write_text(yaml.safe_dump(held, allow_unicode=True), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def gateway(policy: Path) -> Gateway:
    return load_gateway(str(policy))


def values(outcome: Outcome) -> list[list[float | None]]:
    return [[reading.value for reading in step.signals.readings] for step in outcome.steps]


def test_the_certificate_of_the_embedded_models_is_void(policy: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="gate.assemble"):
        gateway = load_gateway(str(policy))
    assert "upstream:small is not what was certified" in gateway.void
    assert "upstream:large is not what was certified" in gateway.void
    assert not gateway.certified
    assert "the certificate of the policy 'balanced' is void" in caplog.text


def sure_of_itself(gateway: Gateway) -> Gateway:
    """The same, with samples that are as good as greedy: nothing is left to chance."""
    tiers = tuple(
        tuple(
            each.model_copy(update={"temperature": 0.02}) if isinstance(each, SamplesSource) else each for each in tier
        )
        for tier in gateway.plan.tiers
    )
    return dataclasses.replace(gateway, plan=dataclasses.replace(gateway.plan, tiers=tiers))


def test_decisions_and_answers_are_the_same(gateway: Gateway) -> None:
    ours, gateway = sure_of_itself(load_gateway("balanced")), sure_of_itself(gateway)
    actions = set()
    for text in QUESTIONS:
        question = Question.from_text(text)
        expected, got = ours.ask(question)[0], gateway.ask(question)[0]
        assert (got.action, got.text.strip(), got.upstream) == (expected.action, expected.text, expected.upstream)
        assert [s.decision.stage for s in got.steps] == [s.decision.stage for s in expected.steps]
        assert [s.decision.reason for s in got.steps] == [s.decision.reason for s in expected.steps]
        for read, wanted in zip(values(got), values(expected), strict=True):
            assert read == pytest.approx(wanted, abs=NEAR)
        assert got.cost.tokens == expected.cost.tokens
        assert got.cost.money == pytest.approx(expected.cost.money)
        actions.add(got.action)
    ours.close()
    gateway.close()
    assert actions == {Action.ANSWER, Action.ABSTAIN}


def test_drawn_samples_lead_to_the_same_decisions_nearly_always(gateway: Gateway) -> None:
    async def main() -> list[Outcome]:
        asked = [gateway.aask(Question.from_text(text)) for text in QUESTIONS]
        try:
            return [outcome for outcome, _ in await asyncio.gather(*asked)]
        finally:
            await gateway.aclose()

    ours = load_gateway("balanced")
    expected = [ours.ask(Question.from_text(text))[0] for text in QUESTIONS]
    ours.close()
    same = [
        (a.action, a.text.strip()) == (b.action, b.text) for a, b in zip(asyncio.run(main()), expected, strict=True)
    ]
    assert sum(same) >= 36, "forty questions asked at once"


def test_the_proxy_answers_an_openai_client(gateway: Gateway) -> None:
    ours = load_gateway("balanced")
    with (
        live(app_of(gateway)) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client,
    ):
        for text in QUESTIONS[:6]:
            ask = {"model": "gate", "messages": [{"role": "user", "content": text}], "top_p": 1e-4}
            raw = client.chat.completions.with_raw_response.create(**ask)
            said = raw.parse().choices[0].message
            expected = ours.ask(Question(Question.from_text(text).messages, {"top_p": 1e-4}))[0]
            assert raw.headers["x-gate-action"] == expected.action
            assert raw.headers["x-gate-certificate"].startswith("void; ")
            assert ((said.content or "").strip() == expected.text) == expected.answered
            assert bool(said.refusal) == (not expected.answered)
            chunks = client.chat.completions.create(**ask, stream=True)
            streamed = "".join(c.choices[0].delta.content or "" for c in chunks)
            assert streamed == (said.content or "")
    ours.close()
