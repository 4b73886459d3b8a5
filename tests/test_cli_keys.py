"""gate keys as a user runs it."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gate.proxy.counters import Counters
from gate.proxy.keys import Keys, Rate, Spend
from tests.commands import gate


def test_a_key_is_made_shown_once_listed_and_disabled(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    limits = ("--requests", 600, "--tokens", 200000, "--concurrency", 20, "--spend", "50/month")
    named = ("--policy", "strict", "--policy", "balanced", "--role", "ask", "--role", "feedback", "--model", "gpt-4o")
    ran = gate("keys", "new", "--name", "team-a", *named, *limits, "--expires", "2999-01-01", "--file", file)
    assert ran.code == 0
    assert re.fullmatch(r"gate-[\w-]{43}\n", ran.out), "the key alone, so that a script can take it"
    assert "added 'team-a'. The key is shown this once:" in ran.err
    key = ran.out.strip()
    assert key not in file.read_text()
    client = Keys.load(file).authenticate(None, key)
    assert (client.policies, client.roles, client.models) == (("strict", "balanced"), {"ask", "feedback"}, ("gpt-4o",))
    assert client.rate.model_dump() == {"requests_per_minute": 600, "tokens_per_minute": 200000, "concurrency": 20}
    assert client.spend == Spend(limit=50, per="month")

    assert gate("keys", "new", "--name", "team-b", "--spend", "5", "-f", file).code == 0
    ran = gate("keys", "disable", "team-b", "--file", file)
    assert (ran.code, "'team-b' is disabled" in ran.out) == (0, True)
    assert "was disabled already" in gate("keys", "disable", "team-b", "--file", file).out

    a, b = gate("keys", "list", "--file", file, "--json").json["keys"]
    assert (a["name"], a["state"], a["expires"]) == ("team-a", "valid", "2999-01-01")
    assert (b["name"], b["state"], b["policies"], b["roles"]) == ("team-b", "disabled", ["all"], ["ask"])
    assert b["spend"] == {"limit": 5.0, "per": "total"}
    shown = gate("keys", "list", "--file", file).out
    for said in ("600 requests a minute", "20 at once", "$50 a month", "until 2999-01-01", "$5 in all", "disabled"):
        assert said in shown
    assert key not in shown


def test_an_expired_key_is_listed_as_such(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    gate("keys", "new", "--name", "a", "--expires", str(datetime.now(UTC).date()), "--file", file)
    assert gate("keys", "list", "--file", file, "--json").json["keys"][0]["state"] == "expired"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["new", "--name", "a"], "there is a key 'a' already"),
        (["new", "--name", "b c"], "keys.1.name"),
        (["new", "--name", "b", "--role", "revew"], "did you mean 'review'?"),
        (["new", "--name", "b", "--spend", "much"], "--spend takes dollars per day, month or total"),
        (["new", "--name", "b", "--spend", "5/week"], "unknown value of keys.1.spend.per 'week'"),
        (["new", "--name", "b", "--spend", "nan"], "keys.1.spend.limit"),
        (["new", "--name", "b", "--expires", "soon"], "--expires takes a date such as 2027-01-31"),
        (["disable", "b"], "unknown key 'b'"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    file = tmp_path / "keys.yaml"
    gate("keys", "new", "--name", "a", "--file", file)
    before = file.read_text()
    ran = gate("keys", *arguments, "--file", file)
    assert ran.code == 2
    assert complaint in ran.complaint
    assert file.read_text() == before


def test_no_file_no_list(tmp_path: Path) -> None:
    ran = gate("keys", "list", "--file", tmp_path / "keys.yaml")
    assert ran.code == 2
    assert "cannot read the key file" in ran.complaint


def test_what_keys_have_used_is_told(tmp_path: Path) -> None:
    assert gate("keys", "new", "--name", "team-a", "--file", tmp_path / "keys.yaml").code == 0
    config = tmp_path / "server.yaml"
    config.write_text("keys: keys.yaml\nstate: state\n")
    assert "nothing is counted yet" in gate("keys", "usage", "--config", config).complaint
    with closing(Counters.open(tmp_path / "state")) as counters:
        counters.take("team-a", Rate(), tokens=5, money=0.5)
    (row,) = gate("keys", "usage", "--config", config, "--json").json["keys"]
    assert (row["name"], row["under_way"]) == ("team-a", 0)
    assert row["day"] == row["month"] == row["total"] == {"requests": 1, "tokens": 5, "money": 0.5}
    shown = gate("keys", "usage", "--config", config).out
    assert all(said in shown for said in ("team-a", "$0.5", "1 requests", "5 tokens"))
