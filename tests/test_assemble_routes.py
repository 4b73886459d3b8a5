"""From what a policy says of its routes to the routes: what each takes, what is refused, what counts as running."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from gate.assemble import _stages, assemble, load_gateway
from gate.calibration.unfitted import Unfitted
from gate.errors import ConfigError, UnknownName
from gate.policy import find, read
from gate.routes import RetrieveRoute
from gate.signals.token import self_certainty_mean
from gate.tuning.observing import stages_of
from gate.types import Action, Question
from tests.changed import changed, line_of
from tests.upstreams.faulty_server import FaultyServer, says

CLARIFY = {"below": {"vote_share": 0.4}}


def with_routes(folder: Path, **routes: object) -> Path:
    data = yaml.safe_load(find("balanced").read_text(encoding="utf-8"))
    return changed(folder, routes=data["routes"] | routes)


def test_asking_back_is_a_route_and_its_prompt_counts_among_what_runs(tmp_path: Path) -> None:
    gateway = load_gateway(str(with_routes(tmp_path, clarify=CLARIFY | {"upstream": "large"})))
    assert gateway.plan.clarify_below == CLARIFY["below"]
    assert {"prompt:clarify", "upstream:large"} <= gateway.running.keys()
    gateway = load_gateway(str(with_routes(tmp_path, clarify=CLARIFY | {"prompt": None})))
    assert "prompt:clarify" not in gateway.running


@pytest.mark.parametrize(
    ("clarify", "said"),
    [
        ({"upstream": "larg"}, "unknown upstream 'larg'; did you mean 'large'"),
        ({"prompt": "clarfy"}, "unknown prompt 'clarfy'; did you mean 'clarify'"),
        ({"prompt": "with_passages"}, "takes 'question' and 'readings'; 'with_passages' does not"),
    ],
)
def test_what_cannot_ask_back_is_refused_with_its_line(clarify: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_gateway(str(with_routes(tmp_path, clarify=CLARIFY | clarify)))
    assert ":" in caught.value.where


def test_a_person_who_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown person 'ann'"):
        load_gateway(str(changed(tmp_path, abstain={"person": "ann"})))


def test_searching_first_and_wider_goes_into_the_plan(tmp_path: Path) -> None:
    retrieve = {"retriever": "world", "prompt": "pocket_with_passages", "k": 1, "fetch": 9, "first": "fresh"}
    plan = load_gateway(str(with_routes(tmp_path, retrieve=retrieve))).plan
    route = plan.routes[Action.RETRIEVE]
    assert isinstance(route, RetrieveRoute)
    assert (route.k, route.fetch, plan.retrieve_first) == (1, 9, "fresh")
    assert plan.budget.fan_out == 32


def test_arbitration_needs_memory_to_be_asked_and_gives_it_stages_of_its_own(tmp_path: Path) -> None:
    routes = {"retrieve": {"retriever": "world", "prompt": "pocket_with_passages", "arbitrate": True}}
    path = changed(tmp_path, routes=routes)
    with pytest.raises(ConfigError, match="'arbitrate' needs 'closed_book' in some tier") as refused:
        load_gateway(str(path))
    assert refused.value.where == f"{path}:{line_of(path, '    arbitrate: true')}"
    asked = [["draft", "question", "passages", "closed_book"], ["samples", "meanings"]]
    assert load_gateway(str(changed(tmp_path, routes=routes, tiers=asked))).plan.arbitrate
    assert not load_gateway("balanced").plan.arbitrate
    asked = [["draft", "question", "passages"], ["samples", "meanings"], ["closed_book"]]
    late = assemble(read(changed(tmp_path, routes=routes, tiers=asked)), Unfitted())
    keys = [stage.key for stage in stages_of(late.plan) if stage.memory]
    assert keys == ["small/with_passages/tier2/memory", "large/with_passages/tier2/memory"]
    assert stages_of(late.plan) == _stages(late.policy)


def test_several_retrievers_are_one_route_and_each_counts_among_what_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"id": "lagos", "text": "Lagos is a city in Nigeria."}\n')
    route = {"retriever": ["world", "mine"], "prompt": "pocket_with_passages", "by": "self_certainty"}
    retrievers = {"world": {"kind": "pocket_world"}, "mine": {"kind": "bm25", "path": "mine.jsonl"}}
    gateway = load_gateway(str(changed(tmp_path, routes={"retrieve": route}, retrievers=retrievers)))
    made = gateway.plan.routes[Action.RETRIEVE]
    assert isinstance(made, RetrieveRoute)
    assert (made.retriever, made.others) == ("world", ("mine",))
    assert made.contest is not None
    assert made.contest.measure is self_certainty_mean
    assert gateway.running["retriever"] == "+".join(
        gateway.world.retrievers[name].fingerprint for name in ("world", "mine")
    )
    for wrong, said in ((["world", "mien"], "mien"), (["world", "world"], "stands twice"), ([], "at least 1 item")):
        path = changed(tmp_path, routes={"retrieve": route | {"retriever": wrong}}, retrievers=retrievers)
        with pytest.raises(ConfigError, match=said):
            load_gateway(str(path))


def test_a_person_is_the_last_step_and_the_asker_is_told_under_which_reference(tmp_path: Path) -> None:
    with FaultyServer(says(b'{"reference": "case-7"}')) as server:
        people = {"desk": {"kind": "webhook", "url": server.url}}
        gateway = load_gateway(str(changed(tmp_path, people=people, abstain={"person": "desk", "hedge_above": 0.0})))
        outcome, trace = gateway.ask(Question.from_text("Wo liegt Qwzxville?"))
        gateway.close()
    (told,) = server.asked
    assert (told["question"], told["reason"]) == ("Wo liegt Qwzxville?", outcome.decision.reason)
    assert (outcome.action, outcome.reference, outcome.hedged) == (Action.ABSTAIN, "case-7", True)
    assert outcome.text.startswith("Ich bin mir nicht sicher, aber möglicherweise: ")
    assert outcome.text.endswith("Ihre Frage wurde an einen Menschen weitergegeben. Vorgang: case-7")
    assert gateway.replay(trace) == outcome
    trace = replace(trace, tape=tuple(entry for entry in trace.tape if entry.kind != "handover"))
    assert gateway.replay(trace).reference == "", "a replay tells nobody"
