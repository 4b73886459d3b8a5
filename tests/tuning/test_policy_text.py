"""The text of a tuned policy: it says what was meant, and what was not touched stands as it stood."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.policy import CertificateSettings, Policy, find, read
from gate.rules import ThresholdRule
from gate.tuning.policy_text import PARTS, rewritten
from gate.types import Action

HERE = Path("policies/mine.yaml")
TEXT = """\
# At the top.
name: mine # a name
promise: {max_error: 0.1}

# Who is asked.
upstreams:
  small: {kind: pocket} # the weak one
  large: {kind: pocket}
ladder: [small, large]  # in this order
tiers:
  - [draft]
  - [samples, meanings]

# What tells.
signals: [vote_share]
calibrator: vote_share # none yet
rule: # by hand
  answer_at: 0.8
  # inside
# Before the refusal.
abstain: >
  I do not know: # this is no comment
  rule

routes: {escalate: true}
budget: {calls: 9} # the end
"""
CERTIFICATE = CertificateSettings(
    alpha=0.1, delta=0.05, n=9, answered=8, errors=1, bound=0.09, segment="Größe: all", date="2026-01-02",
    fingerprints={"policy": "abc"},
)  # fmt: skip
RULE = ThresholdRule(answer_at=0.9, answer_at_in={"small/closed_book": 1e-6}, otherwise=(Action.ESCALATE,))


def policy_of(text: str) -> Policy:
    return Policy.model_validate(yaml.safe_load(text))


def changed(text: str, source: Path = HERE, target: Path = HERE, **update: Any) -> str:
    before = policy_of(text)
    after = before.model_copy(update=update)
    made = rewritten(text, before, after, source=source, target=target)
    if source.parent == target.parent:
        assert policy_of(made) == after
        assert policy_of(made).fingerprint == after.fingerprint
    return made


def test_nothing_changed_leaves_every_letter() -> None:
    assert changed(TEXT) == TEXT
    assert changed(TEXT, rule=ThresholdRule(answer_at=0.8, gather_above=0.0)) == TEXT  # the same, said otherwise


def test_what_changes_is_put_anew_and_all_else_stands() -> None:
    made = changed(TEXT, rule=RULE, calibrator="mine.calibrator.json", certificate=CERTIFICATE)
    new = [line for line in made.splitlines() if line not in TEXT.splitlines()]
    gone = [line for line in TEXT.splitlines() if line not in made.splitlines()]
    assert gone == ["calibrator: vote_share # none yet", "  answer_at: 0.8"]
    assert "calibrator: mine.calibrator.json # none yet" in new
    assert made.index("# inside") < made.index("# Before the refusal.") < made.index("certificate:")
    assert "segment: 'Größe: all'" in made


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_put_in_replaced_and_taken_out(part: str) -> None:
    values = {
        "tiers": (("draft",),),
        "evidence": {"samples": {"n": 3}},
        "signals": ("semantic_concentration",),
        "calibrator": "other.json",
        "rule": RULE,
        "routes": policy_of(TEXT).routes.model_copy(update={"escalate": False}),
        "ladder": ("large",),
        "certificate": CERTIFICATE,
    }
    made = changed(TEXT, **{part: values[part]})
    again = rewritten(made, policy_of(made), policy_of(TEXT), source=HERE, target=HERE)
    assert policy_of(again) == policy_of(TEXT)
    for comment in ("# At the top.", "# Who is asked.", "# What tells.", "# Before the refusal."):
        assert comment in made
        assert comment in again


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_ended(ending: str) -> None:
    made = changed(TEXT.replace("\n", ending), rule=RULE, certificate=CERTIFICATE)
    if ending == "\r\n":
        assert not re.search(r"(?<!\r)\n", made)
    assert "# Before the refusal." in made


def test_a_last_line_that_does_not_end_is_ended() -> None:
    made = changed(TEXT.rstrip("\n"), certificate=CERTIFICATE)
    assert "budget: {calls: 9} # the end\ncertificate:\n" in made


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("rule: #", '"rule": #'),
        TEXT.replace("rule: # by hand\n  answer_at: 0.8", "'rule': {answer_at: 0.8} # by hand"),
        TEXT.replace("rule: # by hand\n  answer_at: 0.8", "rule:\n  {\n    answer_at: 0.8, # so\n  } # by hand"),
        TEXT.replace("rule: # by hand", "? rule\n:"),
        "---\n" + TEXT + "...\n# after all\n",
        "%YAML 1.1\n---\n" + TEXT,
        "\ufeff" + TEXT,
        "".join(f"  {line}" for line in TEXT.splitlines(keepends=True)),
        TEXT.replace("# What tells.", "# \u201eWas zählt\u201c \U0001f99c"),
        TEXT.replace("\nrule: #", "\ncertificate:\nrule: #"),
        TEXT.replace("\nrule: #", "\ncertificate: ~ # none\nrule: #"),
        TEXT.replace("answer_at: 0.8", "answer_at: !!float 0.8"),
    ],
    ids=["quoted", "flow", "flow lines", "explicit", "markers", "directive", "mark", "indented", "letters", "null",
         "tilde", "tag"],
)  # fmt: skip
def test_yaml_of_every_style_is_read_and_kept(text: str) -> None:
    made = changed(text, rule=RULE, certificate=CERTIFICATE, ladder=("small",))
    kept = [line for line in text.splitlines() if line.strip().startswith("#") and "what tells" not in line.lower()]
    assert [line for line in kept if line in made.splitlines()] == kept


def test_a_policy_in_braces_is_written_anew() -> None:
    text = '{"name": "mine", "promise": {"max_error": 0.1}, "upstreams": {"a": {"kind": "pocket"}}, "ladder": ["a"],\n'
    text += ' "signals": ["vote_share"], "calibrator": "vote_share", "rule": {"answer_at": 0.8}}'
    assert changed(text, rule=ThresholdRule(answer_at=0.3)).startswith("name: mine\n")
    assert changed(text) == text


def test_what_names_a_part_that_is_put_anew_is_put_anew_too() -> None:
    anchored = TEXT.replace("rule: # by hand\n  answer_at: 0.8", "rule: {answer_at: &at 0.8}").replace(
        "budget: {calls: 9}", "costs: {wrong: *at}"
    )
    made = changed(anchored, rule=RULE)
    assert "# Before the refusal." in made
    assert policy_of(made).costs.wrong == pytest.approx(0.8)


def test_a_key_that_comes_from_a_merge_is_overridden() -> None:
    text = TEXT.replace("rule: # by hand\n  answer_at: 0.8", "rule:\n  <<: {answer_at: 0.8}")
    assert policy_of(changed(text, rule=RULE)).rule == RULE


# --- any change of any policy ------------------------------------------------------------------------------------

SHIPPED = {name: find(name).read_bytes().decode() for name in ("balanced", "strict", "cost-saver", "agents")}
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=30)


@st.composite
def updates(draw: st.DrawFn, policy: Policy) -> dict[str, Any]:
    rounds = [f"{name}/{book}" for name in policy.ladder for book in ("closed_book", "with_passages")]
    at = st.floats(0, 1)
    rule = st.builds(
        ThresholdRule,
        answer_at=at,
        closed_book_at=st.none() | at,
        answer_at_in=st.dictionaries(st.sampled_from(rounds), at),
        gather_above=at,
        otherwise=st.sampled_from([(), (Action.RETRIEVE,), (Action.ESCALATE, Action.RETRIEVE)]),
    )
    certificate = st.builds(
        CertificateSettings,
        alpha=st.just(policy.promise.max_error),
        delta=st.just(0.05),
        n=st.integers(50, 10**6),
        answered=st.integers(20, 50),
        errors=st.integers(0, 20),
        bound=st.floats(0, policy.promise.max_error),
        segment=WORDS,
        date=st.dates().map(str),
        labels=WORDS,
        fingerprints=st.dictionaries(WORDS, WORDS, max_size=3),
    )
    parts: dict[str, st.SearchStrategy[Any]] = {
        "rule": rule,
        "certificate": st.none() | certificate,
        "ladder": st.just(policy.ladder),
        "signals": st.just(policy.signals[:2]),
        "calibrator": st.from_regex(r"[a-zA-Z0-9 #:'é_-]{1,140}\.json", fullmatch=True),
        "evidence": st.dictionaries(st.sampled_from(["samples"]), st.dictionaries(st.just("n"), st.integers())),
        "tiers": st.sampled_from([policy.tiers, policy.tiers[:1]]),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(parts)), min_size=1))
    return {name: draw(parts[name]) for name in sorted(chosen)}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SHIPPED)), st.data())
def test_what_is_written_reads_back_as_what_was_meant(name: str, data: st.DataObject) -> None:
    text = SHIPPED[name]
    update = data.draw(updates(policy_of(text)))
    made = changed(text, **update)
    for line in text.splitlines():
        if line.startswith("#"):
            assert line in made


COMMENT = st.text("abz #:-'\"{}[]&*é", max_size=12).map(lambda said: f"# {said}")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), COMMENT), max_size=6), st.data())
def test_comments_between_keys_stay_in_their_order(comments: list[tuple[int, str]], data: st.DataObject) -> None:
    lines = SHIPPED["balanced"].splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"\w+:", line)]
    for place, said in sorted(((keys[place % len(keys)], said) for place, said in comments), reverse=True):
        lines.insert(place, said)
    text = "\n".join(lines) + "\n"
    made = changed(text, **data.draw(updates(policy_of(text))))
    kept = [line for line in text.splitlines() if line.startswith("#")]
    assert [line for line in made.splitlines() if line.startswith("#")] == kept


# --- in another folder -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folders:
    source: Path
    target: Path


@pytest.fixture(params=["other/mine.yaml", "../mine.yaml", "here/deep/er/mine.yaml", "ünïcode dir/x.yaml"])
def folders(tmp_path: Path, request: pytest.FixtureRequest) -> Folders:
    source = tmp_path / "a" / "here" / "policy.yaml"
    (tmp_path / "a" / "data").mkdir(parents=True)
    source.parent.mkdir(parents=True)
    for folder in ("a/here", "a/data"):
        (tmp_path / folder / "found.jsonl").write_text("{}", encoding="utf-8")
    return Folders(source, tmp_path / "a" / request.param)


WITH_PATHS = (
    TEXT
    + """\
retrievers:
  beside: {kind: bm25, path: found.jsonl} # near
  up: {kind: bm25, path: ../data/found.jsonl}
embedders:
  vectors: {kind: other, path: ../data/found.jsonl, timeout: 9}
evidence: {samples: {n: 3}, neighbours: {path: found.jsonl}}
"""
)


def test_relative_paths_point_to_the_same_files(folders: Folders) -> None:
    def files(policy: Policy, at: Path) -> list[Path]:
        paths = [str(settings.path) for settings in policy.retrievers.values()]
        paths += [(policy.embedders["vectors"].model_extra or {})["path"], policy.evidence["neighbours"]["path"]]
        return [(at.parent / path).resolve() for path in paths]

    made = changed(WITH_PATHS, folders.source, folders.target, rule=RULE)
    found = files(policy_of(made), folders.target)
    assert found == files(policy_of(WITH_PATHS), folders.source)
    assert all(path.is_file() for path in found)
    assert not any(Path(str(settings.path)).is_absolute() for settings in policy_of(made).retrievers.values())
    assert policy_of(made).rule == RULE


def test_absolute_paths_stay(folders: Folders) -> None:
    text = WITH_PATHS.replace("../data/found.jsonl", str(folders.source.with_name("found.jsonl")))
    assert text.count(str(folders.source.with_name("found.jsonl"))) == 2
    made = changed(text, folders.source, folders.target)
    assert made.count(f" {folders.source.with_name('found.jsonl')}") == 2


def test_the_certificate_is_made_out_to_the_policy_as_it_reads_there(folders: Folders) -> None:
    certificate = CERTIFICATE.model_copy(update={"fingerprints": {"gate": "1"}})
    before = policy_of(WITH_PATHS)
    after = before.model_copy(update={"rule": RULE})
    held = certificate.model_copy(update={"fingerprints": {"gate": "1", "policy": after.fingerprint}})
    after = after.model_copy(update={"certificate": held})
    made = policy_of(rewritten(WITH_PATHS, before, after, source=folders.source, target=folders.target))
    assert made.certificate is not None
    assert made.certificate.fingerprints == {"gate": "1", "policy": made.fingerprint}
    foreign = certificate.model_copy(update={"fingerprints": {"policy": "of another"}})
    after = after.model_copy(update={"certificate": foreign})
    made = policy_of(rewritten(WITH_PATHS, before, after, source=folders.source, target=folders.target))
    assert made.certificate is not None
    assert made.certificate.fingerprints == {"policy": "of another"}


def test_a_moved_policy_is_read_like_any_other(folders: Folders) -> None:
    made = changed(WITH_PATHS, folders.source, folders.target, rule=RULE)
    folders.target.parent.mkdir(parents=True, exist_ok=True)
    folders.target.write_text(made, encoding="utf-8")
    assert read(folders.target).policy == policy_of(made)


def test_what_is_no_policy_is_refused() -> None:
    policy = policy_of(TEXT)
    with pytest.raises(ValueError, match="not the text of a policy"):
        rewritten("- a\n", policy, policy.model_copy(update={"rule": RULE}), source=HERE, target=HERE)
