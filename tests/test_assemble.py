"""Names become objects: what is refused, with which line, and what a gateway then does."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gate.assemble import assemble, load_answering, load_gateway
from gate.calibration import LogisticCalibrator
from gate.calibration.logistic import Ways
from gate.calibration.unfitted import Unfitted
from gate.errors import ConfigError, ReplayGap, StaleCalibrator, UnknownName
from gate.gateway import Gateway
from gate.log.jsonl import without_text
from gate.policy import find, read
from gate.types import Action, Budget, Question
from tests.changed import changed, line_of
from tests.decorator.policies import by_draft
from tests.evidence.pools import two_topics_file
from tests.upstreams.faulty_server import FaultyServer, chat, says

SHIPPED = ("balanced", "strict", "cost-saver", "rag", "agents")
ASKED = Question.from_text("Where is Lagos?")


@pytest.fixture(scope="module")
def balanced() -> Gateway:
    return load_gateway("balanced")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_hold_a_certificate_for_exactly_what_runs(name: str) -> None:
    gateway = load_gateway(name)
    assert gateway.void == ()
    assert gateway.certified
    held = gateway.certificate
    assert held is not None
    assert held.bound <= gateway.policy.promise.max_error
    assert held.fingerprints == gateway.running


@pytest.mark.parametrize(("on_void", "does"), [("serve", "uncertified"), ("abstain", "abstained from")])
def test_a_void_certificate_is_logged_once_and_one_that_holds_is_not(
    on_void: str, does: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_gateway("balanced").ask(ASKED)
    assert caplog.records == []
    certificate = yaml.safe_load(find("balanced").read_text(encoding="utf-8"))["certificate"]
    gateway = load_gateway(str(changed(tmp_path, certificate=certificate, on_void=on_void)))
    gateway.ask(ASKED)
    gateway.ask(ASKED)
    gateway.close()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    said = record.getMessage()
    assert "'balanced' is void (calibrator is not what was certified; policy is not what was certified)" in said
    assert does in said


SERVICE = {"kind": "http_json", "url": "http://127.0.0.1:1/search"}
BROKEN = {
    "upstream kind": ({"upstreams": {"small": {"kind": "poket"}}, "ladder": ["small"]}, "did you mean 'pocket'"),
    "hedge of what runs here": (
        {"upstreams": {"small": {"kind": "pocket", "hedge": {}}}, "ladder": ["small"]},
        "'small' is no server that gate itself asks over HTTP: leave 'hedge' out",
    ),
    "breaker": (
        {"upstreams": {"small": {"kind": "pocket", "breaker": {"failure": 2}}}, "ladder": ["small"]},
        "did you mean 'failures'",
    ),
    "upstream option": ({"upstreams": {"small": {"kind": "pocket", "modle": "x"}}}, "did you mean 'model'"),
    "ladder": ({"ladder": ["small", "lagre"]}, "did you mean 'large'"),
    "round": (
        {"rule": {"answer_at": 0.8, "answer_at_in": {"large/closed_bok": 0.9}}},
        "did you mean 'large/closed_book'",
    ),
    "signal": ({"signals": ["vote_shore"]}, "did you mean 'vote_share'"),
    "evidence": ({"tiers": [["draft"], ["sampels"]]}, "did you mean 'samples'"),
    "evidence of no tier": ({"evidence": {"sample": {"n": 4}}}, "did you mean 'samples'"),
    "evidence option": ({"evidence": {"samples": {"temprature": 1}}}, "did you mean 'temperature'"),
    "evidence value": ({"evidence": {"samples": {"n": 1}}}, "greater than or equal to 2"),
    "a list for one tier": ({"evidence": {"samples": {"n": [2, 3]}}}, "'n' lists a number of 2 or more for each tier"),
    "a list of one": (
        {"tiers": [["draft"], ["samples"], ["samples"]], "evidence": {"samples": {"n": [2, 1]}}},
        "'n' lists a number of 2 or more for each tier",
    ),
    "two ways to stop": (
        {
            "tiers": [["draft"], ["samples"], ["samples"]],
            "evidence": {"samples": {"n": [2, 2], "stop": "unlikely_to_change"}},
        },
        "'stop' is for one tier",
    ),
    "not read again": (
        {"tiers": [["draft"], ["samples", "meanings"], ["samples"]], "evidence": {"samples": {"n": [2, 3]}}},
        "'meanings' must stand here again",
    ),
    "too many in all": (
        {"tiers": [["draft"], ["samples"], ["samples"]], "evidence": {"samples": {"n": [20, 13]}}},
        "there may be 32 samples in all",
    ),
    "no samples to vote": (
        {"tiers": [["draft"]], "evidence": {}, "signals": ["token_logprob_sum"]},
        "needs 'samples' in some tier",
    ),
    "unreachable": ({"rule": {"answer_at": 0.9}}, "nothing would ever be answered"),
    "evidence order": ({"tiers": [["draft", "meanings", "samples"]]}, "needs 'samples' gathered before it"),
    "ungathered": ({"tiers": [["draft"], ["samples"]], "signals": ["passage_score"]}, "which no tier gathers"),
    "ungathered, as a tier names it": (
        {"tiers": [["draft"], ["samples"]], "signals": ["flip_radius"]},
        "needs 'hidden_states'",
    ),
    "calibrator": ({"calibrator": "balanced.calibrater.json"}, "unknown calibrator"),
    "retriever kind": ({"retrievers": {"world": {"kind": "bm52", "path": "x"}}}, "did you mean 'bm25'"),
    "retriever option": ({"retrievers": {"world": {"kind": "pocket_world", "pth": "x"}}}, "unknown key 'pth'"),
    "retriever's path": ({"retrievers": {"world": {"kind": "bm25"}}}, "'path' of the retriever 'world' is missing"),
    "retriever without a path": (
        {"retrievers": {"world": {"kind": "pocket_world", "path": "x"}}},
        "unknown key 'path'",
    ),
    "retriever's price": (
        {"retrievers": {"world": {"kind": "pocket_world", "price": {"prompt": 1}}}},
        "unknown key 'price'",
    ),
    "retriever's embedder": (
        {
            "retrievers": {"world": {**SERVICE, "vector_field": "v", "embedder": "wrods"}},
            "embedders": {"words": {"kind": "hashed_ngrams"}},
        },
        "unknown embedder 'wrods'; did you mean 'words'",
    ),
    "person kind": ({"people": {"desk": {"kind": "webhok"}}}, "unknown person kind 'webhok'; did you mean 'webhook'"),
    "person option": ({"people": {"desk": {"kind": "webhook"}}}, "'url' of the person 'desk' is missing"),
    "retriever": ({"routes": {"retrieve": {"retriever": "wrld"}}}, "did you mean 'world'"),
    "prompt": (
        {"routes": {"retrieve": {"retriever": "world", "prompt": "with_pasages"}}},
        "did you mean 'with_passages'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_names_that_stand_for_nothing_are_refused_with_file_line_and_the_nearest(case: str, tmp_path: Path) -> None:
    changes, message = BROKEN[case]
    path = changed(tmp_path, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        load_gateway(str(path))
    where, line = str(caught.value).split(": ")[0].rsplit(":", 1)
    assert Path(where) == path
    assert 1 < int(line) <= len(path.read_text().splitlines())


def test_a_calibrator_fitted_for_other_signals_is_refused(tmp_path: Path) -> None:
    source = find("balanced")
    (tmp_path / "held.calibrator.json").write_bytes((source.parent / "balanced.calibrator.json").read_bytes())
    path = changed(tmp_path, calibrator="held.calibrator.json", signals=["vote_share"])
    with pytest.raises(StaleCalibrator, match="fitted for"):
        load_gateway(str(path))


@pytest.mark.parametrize("named", ["none.calibrator.json", "vote_share"])
def test_a_calibrator_that_is_given_runs_in_the_place_of_the_one_named(named: str, tmp_path: Path) -> None:
    """Also where that one is not there yet, or could never answer."""
    shipped = yaml.safe_load(find("strict").read_text(encoding="utf-8"))
    rule = {"kind": "threshold", "answer_at": 0.99}
    file = read(changed(tmp_path, calibrator=named, rule=rule, signals=shipped["signals"]))
    with pytest.raises(ConfigError):
        assemble(file)
    gateway = assemble(file, Unfitted())
    assert gateway.plan.calibrator == Unfitted()
    assert gateway.running["calibrator"] == "unfitted"
    given = load_gateway("strict").plan.calibrator
    assert assemble(file, given).running == {**gateway.running, "calibrator": given.fingerprint}


def test_a_calibrator_that_is_given_must_fit_too(tmp_path: Path) -> None:
    given = load_gateway("balanced").plan.calibrator
    path = changed(tmp_path, signals=["vote_share"])
    with pytest.raises(StaleCalibrator, match=r"changed\.yaml:\d+: "):
        assemble(read(path), given)


def test_an_unknown_policy_lists_the_shipped_ones() -> None:
    with pytest.raises(UnknownName, match="did you mean 'balanced'"):
        load_gateway("balancd")


def test_a_policy_whose_first_upstream_brings_its_answers_along_is_not_loaded_to_be_asked(tmp_path: Path) -> None:
    path = by_draft(tmp_path)
    assert load_gateway(str(path)).name == "mine"
    with pytest.raises(ConfigError, match="begins with 'mine', of kind 'caller', which cannot be asked") as caught:
        load_answering(str(path))
    assert caught.value.where == f"{path}:{line_of(path, 'ladder: [mine]')}"
    assert load_answering("balanced").name == "balanced"


def test_sync_and_async_give_the_same_outcome_and_the_trace_replays(balanced: Gateway) -> None:
    outcome, trace = balanced.ask(ASKED)
    other, _ = asyncio.run(_ask_and_close(balanced))
    assert (outcome.action, outcome.text) == (other.action, other.text)
    assert [step.signals for step in outcome.steps] == [step.signals for step in other.steps]
    assert balanced.replay(trace) == outcome
    with pytest.raises(ReplayGap, match="without text"):
        balanced.replay(without_text(trace))


async def _ask_and_close(gateway: Gateway) -> object:
    try:
        return await gateway.aask(ASKED)
    finally:
        await gateway.aclose()


def test_a_gateway_is_shared_by_threads_and_loops(balanced: Gateway) -> None:
    expected, said = balanced.ask(ASKED)[0].text, []

    def work(number: int) -> None:
        outcome = balanced.ask(ASKED)[0] if number % 2 else asyncio.run(_ask_and_close(balanced))[0]
        said.append(outcome.text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [expected] * 6


def test_a_callers_budget_tightens_but_never_loosens(balanced: Gateway) -> None:
    tight, _ = balanced.ask(Question.from_text("Where is Qwzxville?"), budget=Budget(calls=1))
    assert tight.cost.calls == 1
    assert tight.action is Action.ABSTAIN
    assert tight.decision.reason == "budget_spent"
    limit = balanced.plan.budget.calls
    assert limit is not None
    assert balanced._plan(Budget(calls=10**6)).budget.calls == limit


def test_a_change_of_what_runs_voids_the_certificate_and_the_policy_says_what_then() -> None:
    for name, action in (("balanced", None), ("strict", Action.ABSTAIN)):
        file = read(find(name))
        touched = file.policy.model_copy(update={"evidence": {"samples": {"n": 6, "seed": 7}}})
        gateway = assemble(replace(file, policy=touched))
        assert gateway.void == ("policy is not what was certified",)
        assert not gateway.certified
        outcome, trace = gateway.ask(ASKED)
        assert not trace.certified
        if action:
            assert outcome.action is action
            assert outcome.decision.reason == "certificate_void"
        else:
            assert outcome.confidence is not None
        gateway.close()


def test_nonsense_is_not_answered(balanced: Gateway) -> None:
    asked = ("Where is Blorptown-on-Zyx?", "asdkjh qwe zxc?", "🦜🦜🦜", "أين تقع؟", "x" * 300)
    outcomes = [balanced.ask(Question.from_text(text))[0] for text in asked]
    assert sum(outcome.answered for outcome in outcomes) <= 1


def with_neighbours(folder: Path, *, pool: str | None = None, **embedder: object) -> Path:
    """The small model with evidence from a reference pool beside the policy."""
    shutil.copy(two_topics_file(), folder / "pool.npz")
    return changed(
        folder,
        tiers=[["draft", "neighbours", "samples", "meanings"]],
        signals=["neighbour_accuracy", "upstream_skill", "vote_share"],
        evidence={"neighbours": {"path": pool or "pool.npz", "embedder": "words"}},
        embedders={"words": {"kind": "hashed_ngrams", **embedder}},
    )


def test_a_reference_pool_lies_beside_the_policy_and_counts_among_what_runs(tmp_path: Path) -> None:
    gateway = load_gateway(str(with_neighbours(tmp_path)))
    assert {"file:pool.npz", "embedder:words"} <= gateway.running.keys()
    outcome, _ = gateway.ask(ASKED)
    readings = {reading.signal: reading.value for reading in outcome.steps[0].signals.readings}
    assert readings["neighbour_accuracy"] is not None
    assert readings["upstream_skill"] is not None


def test_a_reference_pool_of_another_embedder_is_refused_with_the_line(tmp_path: Path) -> None:
    path = with_neighbours(tmp_path, dimensions=64)
    with pytest.raises(ConfigError, match="fitted with the embedder 'hashed_ngrams-1-512', but 'words' is") as caught:
        load_gateway(str(path))
    assert str(caught.value).startswith(f"{path}:")


def test_a_reference_pool_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = with_neighbours(tmp_path, pool="none.npz")
    with pytest.raises(ConfigError, match=r"none\.npz: cannot read the reference pool"):
        load_gateway(str(path))


def tiers_with(name: str) -> list[list[str]]:
    return [["draft", "samples", "meanings", name]]


@pytest.mark.parametrize("listed", [True, False], ids=["in evidence", "in the tiers alone"])
def test_a_missing_option_of_evidence_names_the_evidence_and_its_line(listed: bool, tmp_path: Path) -> None:
    evidence = {"second_opinion": {"temperature": 0.5}} if listed else {}
    path = changed(tmp_path, tiers=tiers_with("second_opinion"), evidence=evidence)
    line = line_of(path, "  second_opinion:" if listed else "  - second_opinion")
    with pytest.raises(ConfigError) as caught:
        load_gateway(str(path))
    assert str(caught.value) == f"{path}:{line}: the key 'upstream' of the evidence 'second_opinion' is missing"


def test_a_file_of_evidence_that_is_not_there_is_named_with_the_line_of_the_policy(tmp_path: Path) -> None:
    evidence = {"neighbours": {"path": "nope.npz", "embedder": "hashed"}}
    path = changed(tmp_path, tiers=tiers_with("neighbours"), evidence=evidence)
    with pytest.raises(ConfigError, match=r"the evidence 'neighbours': .*nope\.npz: cannot read") as caught:
        load_gateway(str(path))
    assert str(caught.value).startswith(f"{path}:{line_of(path, '  neighbours:')}: ")


def test_who_is_to_read_an_answer_must_be_one_that_can_be_read_inside(tmp_path: Path) -> None:
    blind = {"kind": "openai_chat", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    for reader, error in (("blind", "'blind' cannot be read inside"), ("nobody", "unknown upstream 'nobody'")):
        path = changed(
            tmp_path,
            upstreams={"small": {"kind": "pocket"}, "large": {"kind": "pocket"}, "blind": blind},
            tiers=[["draft", "question", "passages", "hidden_states"], ["samples", "meanings"]],
            evidence={"hidden_states": {"read_by": reader}},
        )
        with pytest.raises(ConfigError, match=error) as caught:
            load_gateway(str(path))
        assert caught.value.where == f"{path}:{line_of(path, '  hidden_states:')}"


def test_probes_that_cannot_be_used_are_named_with_the_line_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "junk.npz").write_bytes(b"junk")
    tiers = [["draft", "question", "passages", "hidden_states"], ["samples", "meanings"]]
    for name in ("junk.npz", "none.npz", "a\0b"):
        path = changed(tmp_path, tiers=tiers, evidence={"hidden_states": {"path": name}})
        with pytest.raises(ConfigError) as caught:
            load_gateway(str(path))
        assert caught.value.where.startswith(f"{path}:")
    path = changed(tmp_path, tiers=tiers, evidence={"hidden_states": {"pth": "x"}})
    with pytest.raises(UnknownName, match=r"known: path, read_again, read_by$"):
        load_gateway(str(path))


def test_a_draft_asked_for_cautiously_counts_its_prompt_among_what_runs(tmp_path: Path) -> None:
    path = changed(tmp_path, evidence={"samples": {"n": 5}, "draft": {"cautious": True}})
    assert "prompt:cautious" in load_gateway(str(path)).running


def test_ways_that_were_learned_at_other_prices_are_refused(tmp_path: Path) -> None:
    given = load_gateway("strict").plan.calibrator
    assert isinstance(given, LogisticCalibrator)
    learned = given.model_copy(update={"ways": Ways(wrong=2.0, abstain=0.1, stages={})})
    rule = {"kind": "expected_cost", "wrong": 2.0, "abstain": 0.1}
    assert assemble(read(changed(tmp_path, rule=rule)), learned).plan.rule.wrong == 2.0  # type: ignore[attr-defined]
    with pytest.raises(StaleCalibrator, match="'abstain' is"):
        assemble(read(changed(tmp_path, rule={**rule, "abstain": 0.2})), learned)


def test_a_search_service_is_asked_with_the_vector_of_its_embedder_which_is_certified_too(tmp_path: Path) -> None:
    found = {"results": [{"id": "1", "text": "Qwzxville is a city in Nigeria."}]}
    with FaultyServer(says(json.dumps(found).encode())) as server:
        service = {"kind": "http_json", "url": server.url, "vector_field": "v", "embedder": "words", "timeout": 7}
        desk = {"kind": "webhook", "url": server.url, "timeout": 9}
        path = changed(
            tmp_path,
            retrievers={"world": service},
            embedders={"words": {"kind": "hashed_ngrams", "dimensions": 64}},
            people={"desk": desk},
        )
        gateway = load_gateway(str(path))
        outcome, trace = gateway.ask(Question.from_text("Where is Qwzxville?"))
        gateway.close()
    assert Action.RETRIEVE in [step.decision.action for step in outcome.steps]
    (asked,) = server.asked
    assert (asked["query"], len(asked["v"])) == ("Where is Qwzxville?", 64)
    assert gateway.replay(trace) == outcome
    assert gateway.running["embedder:words"] == "hashed_ngrams-1-64"
    assert gateway.running["retriever"].startswith("http_json:")
    assert not any(name.startswith("person:") for name in gateway.running)
    assert (gateway.world.timeouts["retriever:world"], gateway.world.timeouts["person:desk"]) == (7, 9)


def test_a_search_service_that_is_down_closes_that_way_and_no_more(tmp_path: Path) -> None:
    gateway = load_gateway(str(changed(tmp_path, retrievers={"world": {**SERVICE, "timeout": 0.2}})))
    outcome, _ = gateway.ask(Question.from_text("Where is Qwzxville?"))
    gateway.close()
    assert outcome.action is Action.ABSTAIN
    assert "retrieve: the retriever 'world' cannot be reached" in outcome.decision.detail


@pytest.mark.parametrize(
    ("tiers", "samples", "most"),
    [
        ([["draft", "samples", "meanings"]], {"n": 12, "stop": "unlikely_to_change"}, 4),
        ([["draft"], ["samples", "meanings"], ["samples", "meanings"]], {"n": [2, 8], "seed": 1}, 10),
    ],
    ids=["one tier", "tier by tier"],
)
def test_where_not_all_have_as_many_samples_p_is_that_of_the_votes_there_are(
    tiers: list[list[str]], samples: dict[str, object], most: int, tmp_path: Path
) -> None:
    changes = {"tiers": tiers, "evidence": {"samples": samples}, "rule": {"answer_at": 0.7, "otherwise": []}}
    with pytest.raises(ConfigError, match="needs the signal 'vote_posterior' too"):
        load_gateway(str(changed(tmp_path, **changes, signals=["vote_share"])))
    gateway = load_gateway(str(changed(tmp_path, **changes, signals=["vote_share", "vote_posterior"])))
    seen = set()
    for place in ("Lagos", "Atlantis", "Nanjing", "Paris", "Gaborone", "Fez"):
        outcome, trace = gateway.ask(Question.from_text(f"Where is {place}?"))
        drawn = sum(len(e.generations.choices) for e in trace.tape if e.generations) - 1
        p = outcome.confidence.p if outcome.confidence else 0.0
        assert p <= (drawn + 1) / (drawn + 2) + 1e-9
        assert p <= (most + 1) / (most + 2) + 1e-9 or drawn > most
        seen.add(drawn)
    assert len(seen) > 1


def test_ways_that_were_learned_while_models_charged_otherwise_are_refused(tmp_path: Path) -> None:
    given = load_gateway("strict").plan.calibrator
    assert isinstance(given, LogisticCalibrator)
    rule = {"kind": "expected_cost", "wrong": 2.0, "abstain": 0.1}
    file = read(changed(tmp_path, rule=rule))
    charged = {name: (file.policy.upstreams[name].price.prompt, 2.0) for name in ("small", "large")}
    learned = Ways(wrong=2.0, abstain=0.1, prices={"large": charged["large"]}, stages={})
    assemble(file, given.model_copy(update={"ways": learned}))
    dearer = learned.model_copy(update={"prices": charged})
    with pytest.raises(StaleCalibrator, match="'small' charged") as caught:
        assemble(file, given.model_copy(update={"ways": dearer}))
    assert caught.value.where.startswith(f"{file.path}:")


HEDGED = """\
name: mine
promise: {max_error: 0.1}
upstreams:
  main: {kind: openai_chat, base_url: URL, model: m, hedge: {after: 0.05, share: 0.5}, breaker: {failures: 7}}
embedders: {v: {kind: openai_embeddings, base_url: URL, model: e, breaker: off}}
retrievers: {docs: {kind: http_json, url: URL, timeout: 4}}
ladder: [main]
tiers: [[draft, samples, meanings]]
evidence: {samples: {n: 5}, meanings: {judge: lexical}}
signals: [vote_share]
calibrator: vote_share
rule: {answer_at: 0.5}
BUDGET
"""


@pytest.mark.parametrize(("budget", "sent"), [("", 1), ("budget: {calls: 3}", 0)])
def test_a_policy_says_who_is_left_alone_and_who_is_asked_twice(budget: str, sent: int, tmp_path: Path) -> None:
    def first_is_slow(handler: Any, asked: dict[str, Any]) -> None:
        if asked.get("temperature") == 0 and len(server.asked) in (1, 3, 5):
            time.sleep(0.15)
        chat("Nigeria")(handler, asked)

    with FaultyServer.of(first_is_slow) as server:
        path = tmp_path / "mine.yaml"
        path.write_text(HEDGED.replace("URL", server.url).replace("BUDGET", budget))
        gateway = load_gateway(str(path))
        health = gateway.world.health
        assert health.keys() == {"main", "v", "retriever:docs"}
        assert health["v"].breaker is health["v"].hedge is None
        assert health["retriever:docs"].patience == pytest.approx(0.9 * 4)
        hedge = health["main"].hedge
        assert hedge is not None
        outcomes = [gateway.ask(ASKED)[0] for _ in range(2)]
        gateway.close()
    assert [outcome.text for outcome in outcomes] == ["Nigeria"] * 2
    assert hedge.sent == sent, "of two drafts one may be sent twice, where the budget has room for it"
    drafts = [asked for asked in server.asked if asked["temperature"] == 0]
    assert len(drafts) == 2 + sent
    assert sum(outcome.cost.calls for outcome in outcomes) == len(server.asked)
