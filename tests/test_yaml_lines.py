"""Strict reading of YAML: what is wrong is said in one sentence, with file and line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from gate.errors import ConfigError
from gate.yaml_lines import Lines, checked, parsed, read


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    kind: Literal["plain", "odd"] = "plain"


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    parts: tuple[Part, ...]
    more: dict[str, Any] = {}


FILE = Path("f.yaml")
TEXT = """\
# parts first
parts:
  - name: a
  - name: b
    kind: odd
"""


def test_data_and_lines_are_read() -> None:
    data, lines = parsed(TEXT, FILE, "list")
    assert data == {"parts": [{"name": "a"}, {"name": "b", "kind": "odd"}]}
    assert lines.where("parts", 1, "kind") == "f.yaml:5"
    assert lines.where("parts", 1, "none", "deeper") == "f.yaml:4"
    assert lines.where("other") == "f.yaml:2", "the mapping itself"
    assert lines.below("parts", 1).where("kind") == "f.yaml:5"
    assert Lines(FILE, {}).where("x") == "f.yaml:1"
    assert checked(Whole, data, lines).parts[1].kind == "odd"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "f.yaml:1: a list is a mapping of keys to values"),
        ("", "f.yaml:1: a list is a mapping of keys to values"),
        ("a: 1\nb: [", "f.yaml:2: not YAML: expected the node content"),
        ("a: 1\na: 2", "f.yaml:2: the key 'a' stands twice"),
        ("b:\n  ? [x]\n  : 1", "f.yaml:2: a key must be a plain word"),
        ("a: 2026-13-45", "f.yaml:1: a value that is none"),
        ("a: " + "[" * 5000, "f.yaml:1: nested too deep"),
    ],
)
def test_what_is_no_such_file_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text, FILE, "list")
    assert str(caught.value).startswith(said)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    for path in (tmp_path / "none", tmp_path, tmp_path / "latin"):
        with pytest.raises(ConfigError, match="cannot read the list") as caught:
            read(path, "list")
        assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    kind: odd", "    kin: odd", "f.yaml:5: unknown key 'kin'; did you mean 'kind'? known: kind, name"),
        ("kind: odd", "kind: od", "f.yaml:5: unknown value of parts.1.kind 'od'; did you mean 'odd'?"),
        ("name: a", "kind: odd", "f.yaml:3: the key 'parts.0.name' of it is missing"),
        ("name: a", "name: 1", "f.yaml:3: parts.0.name: Input should be a valid string"),
        ("parts:", "names: []\nparts:", "f.yaml:2: unknown key 'names'; known: more, parts"),
    ],
)
def test_one_error_is_one_sentence(old: str, new: str, said: str) -> None:
    data, lines = parsed(TEXT.replace(old, new), FILE, "list")
    with pytest.raises(ConfigError) as caught:
        checked(Whole, data, lines, of="it")
    assert str(caught.value).startswith(said)


def test_where_the_model_cannot_tell_the_valid_keys_are_given() -> None:
    data, lines = parsed(TEXT.replace("    kind: odd", "    kin: odd"), FILE, "list")
    with pytest.raises(ConfigError, match="known: kind, kinder"):
        checked(Whole, data, lines, known={("parts", 1): ("kind", "kinder")})


@given(st.text(alphabet="ab:-[]{}\n \t'\"#&*!|>%@", max_size=60))
def test_no_text_raises_anything_but_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        data, lines = parsed(text, FILE, "list")
        checked(Whole, data, lines)
