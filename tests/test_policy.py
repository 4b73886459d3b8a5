"""Policy files: what is read, and what is refused with file, line and the nearest valid key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import ConfigError, UnknownName
from gate.policy import Policy, PolicyFile, find, read

FULL = """\
name: mine
summary: for these tests
promise:
  max_error: 0.1
  confidence: 0.9
costs:
  wrong: 2.0
  abstain: 0.25
upstreams:
  small:
    kind: pocket
    price:
      prompt: 1.0
      completion: 2.0
    timeout: 5
  large:
    kind: openai_chat
ladder: [small, large]
tiers: [[draft], [samples, meanings]]
evidence:
  samples:
    n: 5
    temperature: 1.0
    seed: 1
  meanings:
    judge: normalized
    similarity: 85
signals: [vote_share]
calibrator: vote_share
rule:
  kind: threshold
  answer_at: 0.8
  closed_book_at: 0.9
  answer_at_in:
    small/closed_book: 0.95
    large/with_passages: 0.7
  gather_above: 0.1
  otherwise: [retrieve, escalate]
routes:
  retrieve:
    retriever: world
    by: self_certainty
    prompt: with_passages
    k: 2
    arbitrate: true
    fetch: 9
    first: fresh
  escalate: true
  clarify:
    below: {vote_share: 0.2}
    prompt: clarify
    upstream: large
    text: Which one?
retrievers:
  world:
    kind: bm25
    path: passages.jsonl
embedders:
  vectors:
    kind: hashed_ngrams
judges:
  entails:
    kind: mine_too
people:
  desk:
    kind: webhook
abstain:
  texts: {en: I do not know.}
  language: de
  evidence: false
  hedge_above: 0.4
  person: ann
budget:
  calls: 10
  tokens: 1000
  seconds: 30
  money: 0.5
  fan_out: 16
on_failure: abstain
on_void: serve
serving: {mode: observe, enforced_share: 0.25}
certificate:
  alpha: 0.1
  delta: 0.1
  n: 1000
  answered: 500
  errors: 30
  bound: 0.08
  segment: all
  labels: people
  date: "2026-01-01"
  fingerprints: {policy: abc}
"""
LINES = FULL.splitlines()
ROOT = "name: mine"
OF_ITS_KIND = {"price", "timeout", "kind", "path"}
"""Keys of an endpoint: what else stands there is for its kind to check."""
NAMES = {"small", "large", "world", "vectors", "entails", "desk", "small/closed_book", "large/with_passages"}
ENDPOINTS = {
    number
    for section, last in (("upstreams:", "ladder:"), ("retrievers:", "abstain:"))
    for number, line in enumerate(LINES, 1)
    if LINES.index(section) + 1 < number and not any(above.startswith(last) for above in LINES[:number])
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policies")


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def swapped(old: str, new: str) -> str:
    assert FULL.count(old) == 1, f"{old!r} must stand once in the policy"
    return FULL.replace(old, new)


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(LINES, 1) if text in line)


def refusal(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(written(folder, text))
    return caught.value


@pytest.mark.parametrize("name", ["balanced", "strict", "cost-saver", "rag", "agents"])
def test_shipped_policies_read(name: str) -> None:
    file = read(find(name))
    assert file.policy.name == name == file.path.stem
    assert file.policy.certificate is None or file.policy.certificate.bound <= file.policy.promise.max_error


APART = {"upstreams", "retrievers", "embedders", "judges", "people", "serving"}


def test_every_value_is_read_as_written(folder: Path) -> None:
    policy = read(written(folder, FULL)).policy
    data = yaml.safe_load(FULL)
    assert policy.model_dump(mode="json", exclude=APART) == {
        key: value for key, value in data.items() if key not in APART
    }
    assert policy.upstreams["small"].price.completion == pytest.approx(2.0)
    assert policy.upstreams["large"].timeout == pytest.approx(30.0)
    assert policy.retrievers["world"].path == "passages.jsonl"
    assert (policy.serving.mode, policy.serving.enforced_share) == ("observe", 0.25)
    assert (policy.embedders["vectors"].kind, policy.judges["entails"].kind) == ("hashed_ngrams", "mine_too")


EVIDENCE = LINES.index("evidence:") + 1
"""The seven lines below it are checked by the sources themselves."""
KEYS = [
    (number, line.split(":")[0].strip())
    for number, line in enumerate(LINES, 1)
    if line.split(":")[0].strip() not in NAMES
    if not (number in ENDPOINTS and line.split(":")[0].strip() in OF_ITS_KIND)
    if not EVIDENCE < number <= EVIDENCE + 7
    if "/" not in line.split(":")[0]  # a round is held against the ladder
]


@pytest.mark.parametrize(("number", "key"), KEYS, ids=lambda part: str(part))
def test_a_misspelt_key_is_refused_with_its_line_and_the_nearest_valid_key(number: int, key: str, folder: Path) -> None:
    misspelt = [*LINES]
    misspelt[number - 1] = LINES[number - 1].replace(f"{key}:", f"{key}{key[-1]}:", 1)
    error = refusal(folder, "\n".join(misspelt))
    assert error.where == f"{folder / 'mine.yaml'}:{number}"
    assert isinstance(error, UnknownName)
    assert f"did you mean {key!r}?" in str(error)


def test_a_key_that_stands_twice_is_refused_where_it_stands_again(folder: Path) -> None:
    assert refusal(folder, FULL + "name: other\n").where.endswith(f":{len(LINES) + 1}")
    error = refusal(folder, swapped("max_error: 0.1\n", "max_error: 0.1\n  max_error: 0.9\n"))
    assert "'max_error' stands twice" in str(error)
    assert error.where.endswith(":5")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "mapping"),
        ("# only a comment\n", 1, "mapping"),
        ("- a\n- list\n", 1, "mapping"),
        ("just words", 1, "mapping"),
        ("name: mine\n  bad: indent\n", 2, "not YAML"),
        ("name: [mine\n", 2, "not YAML"),
        ("name: mine\n---\nname: other\n", 2, "not YAML"),
        ("name: !!python/object:os.system x\n", 1, "not YAML"),
        ("name: \0\n", 1, "not YAML"),
    ],
)
def test_what_is_no_policy_at_all_is_refused_with_its_line(text: str, line: int, said: str, folder: Path) -> None:
    error = refusal(folder, text)
    assert error.where == f"{folder / 'mine.yaml'}:{line}"
    assert said in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "? [a]\n: b\n",
        "? {a: 1}\n: b\n",
        "name: &a [*a]\n",
        "&a\nname: *a\n",
        "date: 2026-13-45\n",
        "n: !!int abc\n",
        "n: !!float abc\n",
        "n: 0x_\n",
        "n: 0b_\n",
        f"n: {'1' * 5000}\n",
        "date: 2026-01-01t00:00:00-99:00\n",
        "n: " + "[" * 1000,
    ],
    ids=["list key", "map key", "cycle", "root cycle", "date", "int", "float", "hex", "bin", "huge", "zone", "deep"],
)
def test_yaml_that_makes_no_value_is_refused_like_any_other(text: str, folder: Path) -> None:
    assert refusal(folder, text).where.startswith(f"{folder / 'mine.yaml'}:")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read"):
        read(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot read"):
        read(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("old", "key", "at"),
    [
        ("  max_error: 0.1\n", "promise.max_error", "promise:"),
        ("  answer_at: 0.8\n", "rule.answer_at", "rule:"),
        ("    kind: openai_chat\n", "upstreams.large.kind", "large:"),
        ("calibrator: vote_share\n", "calibrator", "name:"),
    ],
)
def test_a_missing_key_is_named_with_the_line_of_what_lacks_it(old: str, key: str, at: str, folder: Path) -> None:
    text = swapped(old, "    timeout: 9\n" if at == "large:" else "")
    error = refusal(folder, text)
    assert f"the key {key!r} is missing" in str(error)
    assert error.where == f"{folder / 'mine.yaml'}:{line_of(at)}"


@pytest.mark.parametrize(
    ("old", "new", "said", "at"),
    [
        ("max_error: 0.1", "max_error: 0", "greater than 0", "max_error: 0.1"),
        ("max_error: 0.1", "max_error: 1", "less than 1", "max_error: 0.1"),
        ("max_error: 0.1", "max_error: -0.05", "greater than 0", "max_error: 0.1"),
        ("max_error: 0.1", "max_error: .nan", "max_error", "max_error: 0.1"),
        ("confidence: 0.9", "confidence: 0.5", "greater than 0.5", "confidence: 0.9"),
        ("confidence: 0.9", "confidence: 1", "less than 1", "confidence: 0.9"),
        ("max_error: 0.1", "max_error: 0.05", "does not back max_error 0.05", "max_error: 0.1"),
        ("bound: 0.08", "bound: 0.11", "does not back max_error 0.1", "max_error: 0.1"),
        ("alpha: 0.1", "alpha: 0.2", "weaker promise", "alpha: 0.1"),
        ("confidence: 0.9", "confidence: 0.95", "weaker promise", "delta: 0.1"),
        ("delta: 0.1", "delta: 0.2", "weaker promise", "delta: 0.1"),
        ("ladder: [small, large]", "ladder: [small, large, small]", "the upstream 'small' stands twice", "ladder:"),
        ("  vectors:", "  small:", "name of an endpoint 'small' stands twice", "upstreams:"),
        ("  entails:", "  vectors:", "name of an endpoint 'vectors' stands twice", "upstreams:"),
        ("tiers: [[draft], ", "tiers: [[samples, draft], ", "'samples' stands twice", "tiers:"),
        ("[samples, meanings]]", "[samples], [samples]]", "'samples' stands twice", "tiers:"),
        ("tiers: [[draft], ", "tiers: [[], ", "must start with 'draft'", "tiers:"),
        (
            "signals: [vote_share]",
            "signals: [vote_share, vote_share]",
            "the signal 'vote_share' stands twice",
            "signals:",
        ),
        ("fetch: 9", "fetch: 1", "it is at least 'k'", "  retrieve:"),
        ("first: fresh", "first: frehs", "did you mean 'fresh'", "first: fresh"),
        ("{vote_share: 0.2}", "{vote_shar: 0.2}", "'vote_shar' is not among the signals", "below:"),
        ("{vote_share: 0.2}", "{}", "at least 1", "below:"),
        ("    text: Which", "    texts: Which", "did you mean 'text'", "    text: Which"),
        ("hedge_above: 0.4", "hedge_above: 1.5", "less than or equal to 1", "hedge_above: 0.4"),
        ("fan_out: 16", "fan_out: 0", "greater than or equal to 1", "fan_out: 16"),
        ("answer_at: 0.8", "answer_at: 1.2", "less than or equal to 1", "answer_at: 0.8"),
        ("wrong: 2.0", "wrong: -1", "greater than or equal to 0", "wrong: 2.0"),
        ("abstain: 0.25", "abstain: 0", "greater than 0", "abstain: 0.25"),
        ("small/closed_book: 0.95", "small/closed_book: 2", "less than or equal to 1", "small/closed_book"),
        ("calls: 10", "calls: 0", "greater than or equal to 1", "calls: 10"),
        ("on_void: serve", "on_void: abstan", "did you mean 'abstain'", "on_void: serve"),
        ("kind: threshold", "kind: treshold", "did you mean 'threshold'", "kind: threshold"),
    ],
)
def test_what_cannot_be_promised_or_run_is_refused(old: str, new: str, said: str, at: str, folder: Path) -> None:
    error = refusal(folder, swapped(old, new))
    assert said in str(error)
    assert error.where == f"{folder / 'mine.yaml'}:{line_of(at)}"


def test_evidence_stands_again_where_more_samples_are_drawn_and_nowhere_else(folder: Path) -> None:
    growing = swapped("    n: 5\n", "    n: [2, 3]\n")

    def tiers(text: str) -> str:
        return growing.replace("tiers: [[draft], [samples, meanings]]", f"tiers: {text}")

    again = "[[draft], [samples, meanings], [samples, meanings]]"
    assert read(written(folder, tiers(again))).policy.tiers[1:] == (("samples", "meanings"),) * 2
    for wrong, name in (
        ("[[draft], [samples, meanings], [meanings]]", "meanings"),
        ("[[draft], [samples, samples]]", "samples"),
        ("[[draft], [samples], [samples, draft, draft]]", "draft"),
    ):
        assert f"{name!r} stands twice" in str(refusal(folder, tiers(wrong)))


def test_one_refusal_for_all_languages_beside_others_is_refused(folder: Path) -> None:
    error = refusal(folder, swapped("  language: de", "  text: No."))
    assert "give one of the two" in str(error)
    assert error.where == f"{folder / 'mine.yaml'}:{LINES.index('abstain:') + 1}"


def test_keys_that_came_later_change_no_fingerprint_while_they_are_not_used(folder: Path) -> None:
    plain = FULL[: FULL.index("    fetch: 9")] + FULL[FULL.index("  escalate: true") :]
    plain = plain[: plain.index("  clarify:")] + plain[plain.index("retrievers:") :]
    plain = plain[: plain.index("abstain:\n")] + "abstain: No.\n" + plain[plain.index("budget:") :]
    for line in ("  fan_out: 16\n", "    by: self_certainty\n", "    arbitrate: true\n"):
        plain = plain.replace(line, "")
    dumped = read(written(folder, plain)).policy.model_dump(mode="json")
    assert dumped["routes"] == {"retrieve": {"retriever": "world", "prompt": "with_passages", "k": 2}, "escalate": True}
    assert dumped["abstain"] == "No."
    assert "fan_out" not in dumped["budget"]
    assert not {"breaker", "hedge"} & dumped["upstreams"]["small"].keys()
    assert "models" not in dumped["certificate"]


def test_a_certificate_for_exactly_the_promise_holds(folder: Path) -> None:
    policy = read(written(folder, swapped("bound: 0.08", "bound: 0.1"))).policy
    assert policy.certificate is not None
    assert policy.certificate.bound == pytest.approx(policy.promise.max_error)


BEARING = {
    "max_error: 0.1": "max_error: 0.2",
    "confidence: 0.9": "confidence: 0.85",
    "prompt: 1.0": "prompt: 1.5",
    "completion: 2.0": "completion: 2.5",
    "timeout: 5": "timeout: 6",
    "kind: openai_chat": "kind: openai_completions",
    "kind: pocket": "kind: poket",
    "ladder: [small, large]": "ladder: [large, small]",
    "tiers: [[draft], [samples, meanings]]": "tiers: [[draft, samples, meanings]]",
    "  n: 5\n": "  n: 6\n",
    "temperature: 1.0": "temperature: 0.9",
    "seed: 1": "seed: 2",
    "judge: normalized": "judge: lexical",
    "similarity: 85": "similarity: 86",
    "signals: [vote_share]": "signals: [vote_share, semantic_concentration]",
    "calibrator: vote_share": "calibrator: other.json",
    "answer_at: 0.8": "answer_at: 0.81",
    "closed_book_at: 0.9": "closed_book_at: 1.0",
    "small/closed_book: 0.95": "small/closed_book: 0.96",
    "large/with_passages: 0.7": "large/closed_book: 0.7",
    "gather_above: 0.1": "gather_above: 0.2",
    "otherwise: [retrieve, escalate]": "otherwise: [escalate, retrieve]",
    "retriever: world": "retriever: wide",
    "by: self_certainty": "by: mean_logprob",
    "arbitrate: true": "arbitrate: false",
    "prompt: with_passages": "prompt: pocket_with_passages",
    "k: 2": "k: 3",
    "fetch: 9": "fetch: 10",
    "first: fresh": "first: always",
    "below: {vote_share: 0.2}": "below: {vote_share: 0.3}",
    "prompt: clarify": "prompt: null",
    "upstream: large": "upstream: small",
    "text: Which one?": "text: Which?",
    "escalate: true": "escalate: false",
    "path: passages.jsonl": "path: other.jsonl",
    "kind: hashed_ngrams": "kind: other",
    "kind: mine_too": "kind: other",
    "texts: {en: I do not know.}": "texts: {en: I cannot say.}",
    "language: de": "language: fr",
    "evidence: false": "evidence: true",
    "hedge_above: 0.4": "hedge_above: 0.5",
    "person: ann": "person: bob",
    "calls: 10": "calls: 11",
    "tokens: 1000": "tokens: 1001",
    "seconds: 30": "seconds: 31",
    "money: 0.5": "money: 0.6",
    "fan_out: 16": "fan_out: 17",
    "on_failure: abstain": "on_failure: pass_through",
    "on_void: serve": "on_void: abstain",
}


def test_the_fingerprint_changes_with_everything_that_bears_on_a_decision(folder: Path) -> None:
    seen = {read(written(folder, FULL)).policy.fingerprint}
    for old, new in BEARING.items():
        text = FULL.replace(old, new, 1)
        assert text != FULL
        seen.add(read(written(folder, text)).policy.fingerprint)
    assert len(seen) == 1 + len(BEARING)


def test_the_fingerprint_tests_change_every_line_of_the_whole_schema() -> None:
    assert set(yaml.safe_load(FULL)) == set(Policy.model_fields)
    leaves = [f"{line}\n" for line in LINES[2 : LINES.index("certificate:")] if not line.endswith(":")]
    of_one_value = [leaf for leaf in leaves if not any(old in leaf for old in BEARING)]
    assert of_one_value == [
        "  wrong: 2.0\n",
        "  abstain: 0.25\n",
        "  kind: threshold\n",
        "    kind: bm25\n",
        "    kind: webhook\n",
        "serving: {mode: observe, enforced_share: 0.25}\n",
    ]


def test_the_fingerprint_does_not_change_with_what_only_names_or_vouches(folder: Path) -> None:
    without_certificate = FULL[: FULL.index("certificate:")]
    texts = (
        FULL,
        swapped("name: mine", "name: yours"),
        swapped("for these tests", "for nothing"),
        swapped("errors: 30", "errors: 29"),
        swapped("wrong: 2.0", "wrong: 3.0"),  # prices choose among policies when they are tuned
        swapped("mode: observe", "streaming: annotate, mode: observe"),  # the decision is the same
        swapped("kind: webhook", "kind: pager"),  # whoever is handed a question changes no answer
        swapped("path: passages.jsonl", "path: passages.jsonl\n    timeout: 3"),
        *(  # faults that are met in another way change no answer
            swapped(old, f"{old}\n    {said}")
            for old in ("kind: openai_chat", "kind: bm25", "kind: hashed_ngrams", "kind: mine_too")
            for said in ("breaker: off", "breaker: {failures: 2, seconds: 3}", "hedge: {after: 2.0}", "hedge: off")
        ),
        swapped("  fingerprints:", "  models: {small: m-1}\n  fingerprints:"),
        without_certificate,
        yaml.safe_dump(yaml.safe_load(FULL), sort_keys=False),
    )
    assert len({read(written(folder, text)).policy.fingerprint for text in texts}) == 1


def test_where_falls_back_to_the_nearest_line_above(folder: Path) -> None:
    file: PolicyFile = read(written(folder, FULL))
    path = folder / "mine.yaml"
    assert file.where("routes", "retrieve", "k") == f"{path}:{line_of('k: 2')}"
    assert file.where("tiers", 1, 0) == f"{path}:{line_of('tiers:')}"
    assert file.where("routes", "retrieve", "no", "such", "key") == f"{path}:{line_of('retrieve:')}"
    assert file.where("ladder", 9) == f"{path}:{line_of('ladder:')}"
    assert file.where("nothing") == f"{path}:1"
    assert file.where() == f"{path}:1"


def test_find_takes_paths_as_they_are_and_suggests_the_nearest_shipped_name(tmp_path: Path) -> None:
    assert find("mine.yaml") == Path("mine.yaml")
    assert find(str(tmp_path / "mine")) == tmp_path / "mine"
    for misspelt, nearest in (("balancd", "balanced"), ("cost_saver", "cost-saver"), ("strickt", "strict")):
        with pytest.raises(UnknownName, match=f"did you mean '{nearest}'"):
            find(misspelt)
    with pytest.raises(UnknownName, match="known: agents, balanced, cost-saver, own, rag, strict"):
        find("zzz")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3), max_leaves=8
)


def harmless(folder: Path, text: str) -> None:
    """Read a text: it makes a policy or a `ConfigError`, never anything else."""
    try:
        file = read(written(folder, text))
    except ConfigError:
        return
    assert file.policy.fingerprint


@given(st.text(alphabet="ab01:-?[]{}&*!|>'\"#%@,.<= \n\t\0é🦜", max_size=40))
def test_no_text_raises_anything_but_a_config_error(folder: Path, text: str) -> None:
    harmless(folder, text)


@given(st.sampled_from(LINES), st.text(max_size=12))
def test_no_change_of_a_line_raises_anything_but_a_config_error(folder: Path, line: str, value: str) -> None:
    harmless(folder, FULL.replace(line, f"{line.split(':')[0]}: {value}", 1))


@settings(max_examples=50)
@given(st.sampled_from(sorted(yaml.safe_load(FULL))), DATA)
def test_no_value_of_any_shape_raises_anything_but_a_config_error(folder: Path, key: str, value: Any) -> None:
    harmless(folder, yaml.safe_dump(yaml.safe_load(FULL) | {key: value}, allow_unicode=True))


def test_passages_that_nobody_looks_for_tell_of_no_ambiguity(folder: Path) -> None:
    text = FULL.replace("below: {vote_share: 0.2}", "below: {passages_agree: 0.5}").replace("    fetch: 9\n", "")
    text = text.replace("signals: [", "signals: [passages_agree, ")
    with pytest.raises(ConfigError, match="unless 'fetch' looks for more passages"):
        read(written(folder, text))
