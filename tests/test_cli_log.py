"""The commands of the decision log as a user runs them, and what other commands make of an export."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import gate as package
from gate.cli import app
from gate.cli_log import moment
from gate.errors import RequestError
from gate.log.entries import Entry
from gate.log.jsonl import from_json
from gate.log.kept import Label
from gate.log.opening import DecisionLog, open_log
from gate.pocket.world import facts_of
from gate.traces import TraceRecord
from gate.types import Question
from tests.commands import gate
from tests.log.decided import START, entry, kept
from tests.tuning.logs import policy_in, served

POCKET = """\
name: pocket
promise: {max_error: 0.3}
upstreams: {small: {kind: pocket, model: small}}
ladder: [small]
evidence: {samples: {n: 4, seed: 1}}
signals: [token_logprob_sum, vote_share]
calibrator: vote_share
rule: {answer_at: 0.8}
"""
ASKED = ("Where is Lagos?", "Where is Paderborn?", "Where is Nanjing?")


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'decisions.db'}"


@pytest.fixture
def log(address: str) -> Iterator[DecisionLog]:
    made = open_log(address, retention_days=None)
    yield made
    made.close()


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]


def table(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


# --- an export and what reads it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["scalars", "text"])
def test_what_a_policy_decided_is_exported_and_replayed(tmp_path: Path, address: str, keep: Any) -> None:
    gateway = package.load_gateway("balanced")
    records = [gateway.ask(Question.from_text(question))[1] for question in ASKED]
    gateway.close()
    log = open_log(address, keep=keep)
    kept(log, *(Entry(record, audit=0.5) for record in records))
    for record in records[:2]:
        assert log.reader.label(Label(record.id, True, "me", "review"))
    log.close()
    to, labels = tmp_path / "log.jsonl", tmp_path / "labels.csv"
    ran = gate("log", "export", "--url", address, "-o", to, "--labels", labels)
    assert (ran.code, ran.out) == (0, f"3 decisions in {to}\n2 labels in {labels}\n")
    replayed = gate("replay", "balanced", to, "--labels", labels, "--json")
    assert replayed.code == 0, replayed.err
    assert (replayed.json["judged"], replayed.json["changed"], replayed.json["not_judged"]) == (3, 0, {})
    assert replayed.json["labels_without_decision"] == 0
    assert replayed.json["drift"]["audited_answers"] == sum(record.action == "answer" for record in records[:2])
    explained = gate("explain", to, "--id", records[1].id, "--json")
    assert explained.json["id"] == records[1].id


def test_a_policy_is_tuned_on_an_export(tmp_path: Path, address: str) -> None:
    policy_in(tmp_path)
    decisions, right, _ = served(1500)
    log = open_log(address, retention_days=None)
    kept(log, *(Entry(from_json(json.dumps(each)), audit=1.0) for each in decisions))
    for each, correct in zip(decisions, right, strict=True):
        assert log.reader.label(Label(each["id"], bool(correct), "me", "review"))
    log.close()
    to, labels, tuned = tmp_path / "log.jsonl", tmp_path / "labels.csv", tmp_path / "tuned.yaml"
    assert gate("log", "export", "--url", address, "-o", to, "--labels", labels).code == 0
    ran = gate("tune", to, "-p", tmp_path / "logged.yaml", "-o", tuned, "--labels", labels, "--json")
    assert ran.code == 0, ran.err
    assert tuned.is_file()
    assert "1500 decisions audited" in tuned.read_text(encoding="utf-8")


def test_what_was_labelled_is_collected_graded_and_tuned_on(tmp_path: Path, address: str) -> None:
    policy = tmp_path / "pocket.yaml"
    policy.write_text(POCKET, encoding="utf-8")
    gateway = package.load_gateway(str(policy))
    facts = facts_of("fit")[:12]

    async def asked() -> list[TraceRecord]:
        made = [(await gateway.aask(Question.from_text(fact.question)))[1] for fact in facts]
        made = [await gateway.acomplete(record) for record in made]
        await gateway.aclose()
        return made

    records = asyncio.run(asked())
    log = open_log(address, keep="text")
    kept(log, *(Entry(record, audit=1.0, full_evidence=True) for record in records))
    for record, fact in zip(records[:10], facts, strict=False):
        found = log.reader.find(record.id)
        assert found is not None
        log.reader.label(Label(record.id, found.answer == fact.answer, "me", "review", answer=fact.answer))
    log.close()
    to = tmp_path / "collection"
    ran = gate("log", "collect", "--url", address, "-p", policy, "-o", to)
    assert ran.code == 0, ran.err
    told = re.fullmatch(r"10 .* in .*: (\d+) right, (\d+) wrong, 0 unclear\nleft out: 2, because .*yet\n", ran.out)
    assert told is not None, ran.out
    assert int(told[1]) + int(told[2]) == 10
    again = gate("log", "collect", "--url", address, "-p", policy, "-o", to, "--json")
    assert (again.json["questions"], again.json["left_out"]) == (10, {"nobody has labelled it yet": 2})
    assert gate("grade", to).code == 0
    judged = gate("eval", policy, "--on", to, "--split", "all", "--json")
    assert judged.code == 0, judged.err
    ran = gate("log", "collect", "--url", address, "-p", policy, "-o", to, "--since", "2100-01-01")
    assert (ran.code, "no decision of it has full evidence" in ran.err) == (2, True)


def test_only_what_is_asked_for_is_exported(tmp_path: Path, address: str, log: DecisionLog) -> None:
    now = time.time()
    kept(
        log,
        entry("a", now - 3 * 86_400, key="one"),
        entry("b", now - 3600, key="two"),
        entry("c", now, policy="other", key="one"),
    )
    for place, (options, found) in enumerate(
        [
            ([], "abc"),
            (["--since", "2d"], "bc"),
            (["--policy", "mine"], "ab"),
            (["--key", "one"], "ac"),
            (["--key", "one", "--key", "two", "--since", "2030-01-01"], ""),
        ]
    ):
        to = tmp_path / f"{place}.jsonl"
        ran = gate("log", "export", "--url", address, "-o", to, "--json", *options)
        assert (ran.code, ran.json["decisions"], ids(to)) == (0, len(found), list(found))


def test_labels_of_decisions_that_nobody_drew_are_left_out_unless_all_are_wanted(
    tmp_path: Path, address: str, log: DecisionLog
) -> None:
    kept(log, entry("a", audit=0.25), entry("b"), entry("c"), entry("d", audit=0.25))
    for id_, correct in (("a", True), ("b", False)):
        log.reader.label(Label(id_, correct, "me", "review"))
    log.reader.label(Label("d", False, "app"))
    to, labels = tmp_path / "log.jsonl", tmp_path / "labels.csv"
    ran = gate("log", "export", "--url", address, "-o", to, "--labels", labels)
    assert ran.out.endswith(f"1 labels in {labels}; 2 of decisions not drawn, or not reviewed, left out\n")
    assert table(labels) == [["id", "correct", "probability", "draft"], ["a", "yes", "0.25", "last"]]
    again = ["--labels", labels, "--all-labels", "--overwrite", "--json"]
    ran = gate("log", "export", "--url", address, "-o", to, *again)
    assert ran.json == {"decisions": 4, "labels": 3, "labels_not_drawn": 0}
    assert table(labels)[1:] == [["a", "yes", "", "last"], ["b", "no", "", "last"], ["d", "no", "", "last"]]


# --- purge and show ----------------------------------------------------------------------------------------------


def test_old_decisions_are_counted_and_forgotten(address: str, log: DecisionLog) -> None:
    now = time.time()
    kept(log, entry("a", now - 40 * 86_400, key="one"), entry("b", now - 40 * 86_400, key="two"), entry("c", now))
    tried = gate("log", "purge", "--url", address, "--before", "30d", "--dry-run")
    assert tried.out.startswith("2 decisions from before ")
    assert tried.out.endswith(" UTC would be forgotten\n")
    assert gate("log", "purge", "--url", address, "--before", "30d", "--key", "one", "--json").json == {
        "decisions": 1, "purged": True
    }  # fmt: skip
    shown = gate("log", "show", "--url", address, "--json").json["decisions"]
    assert [each["id"] for each in shown] == ["c", "b"]
    assert " were forgotten" in gate("log", "purge", "--url", address, "--before", "2100-01-01").out
    assert gate("log", "show", "--url", address, "--json").json == {"decisions": []}


def test_the_latest_decisions_are_shown(address: str, log: DecisionLog) -> None:
    kept(log, *(entry(f"d{place}", START + place, key="team", seconds=0.0125) for place in range(5)))
    kept(log, entry("failed", START + 9, mode="observe", policy="other", status=502))
    log.reader.label(Label("d4", False, "me"))
    shown = gate("log", "show", "--url", address, "--limit", 3)
    for part in (
        "failed",
        "answer (observed)",
        "502",
        "d4",
        "wrong",
        "0.900",
        "confident",
        "12",
        "2025-06-15 15:06:44",
    ):
        assert part in shown.out
    assert "d2" not in shown.out
    (first, *_) = gate("log", "show", "--url", address, "--json", "--policy", "mine", "--key", "team").json["decisions"]
    assert (first["id"], first["label"]["correct"], "explanation" in first) == ("d4", False, False)


def test_the_address_may_stand_in_the_environment(
    address: str, log: DecisionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(log, entry("a"))
    monkeypatch.setenv("GATE_LOG_URL", address)
    assert [each["id"] for each in gate("log", "show", "--json").json["decisions"]] == ["a"]


# --- help, and bad input -----------------------------------------------------------------------------------------


def test_help_names_every_command_and_option_and_no_address_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_LOG_URL", "postgresql://me:s3cret@db/x")
    shown = CliRunner().invoke(app, ["log", "--help"]).stdout
    assert all(name in shown for name in ("export", "purge", "show"))
    for command in ("export", "purge", "show"):
        shown = CliRunner().invoke(app, ["log", command, "--help"]).stdout
        assert "GATE_LOG_URL" in shown
        assert "s3cret" not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("export --url sqlite:///{folder}/none.db -o {folder}/x.jsonl", "none.db: there is no decision log"),
        ("export --url decisions.db -o {folder}/x.jsonl", "cannot be read: write it as sqlite:///decisions.db"),
        ("export --url {log} -o {folder}/decisions.db", "this file exists and is not written over"),
        ("export --url {log} -o {folder}/x.jsonl --labels {folder}/decisions.db", "this file exists"),
        ("export --url {log} -o {folder}/x.jsonl --all-labels", "--all-labels goes with --labels"),
        ("export --url {log} -o {folder}/x.jsonl --since yesterday", "'yesterday' is no time: give a date"),
        ("purge --url {log} --before 30m", "'30m' is no time"),
        ("purge --url mysql://me:s3cret@db/x --before 30d", "a decision log cannot be kept in 'mysql'"),
        ("show --url postgresql://me:s3cret@127.0.0.1:1/x", "cannot be reached"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, address: str, log: DecisionLog, arguments: str, said: str
) -> None:
    ran = gate("log", *arguments.format(folder=tmp_path, log=address).split())
    assert ran.code == 2
    assert said in ran.complaint
    assert "s3cret" not in ran.err
    assert not (tmp_path / "x.jsonl").exists()
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("2026-01-31", 1769817600.0), ("2026-01-31T12:00+02:00", 1769853600.0), ("1970-01-01", 0.0)]
)
def test_a_date_is_of_utc_unless_it_says_otherwise(text: str, seconds: float) -> None:
    assert moment(text) == seconds


def test_so_long_ago_is_counted_from_now() -> None:
    for text, ago in (("1h", 3600), ("30d", 2_592_000), (" 2w ", 1_209_600)):
        before = time.time()
        assert before - ago <= moment(text) <= time.time() - ago
    for text in ("", "3", "d", "-1d", "1e9d", "99999d", "0000-00-00"):
        with pytest.raises(RequestError, match="is no time"):
            moment(text)
