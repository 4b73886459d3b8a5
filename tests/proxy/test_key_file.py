"""Changing a key file: what a person wrote stays as it was, and a file that worked still works."""

from __future__ import annotations

import os
import threading
from datetime import date
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.proxy.key_file import added, disabled
from gate.proxy.keys import Keys, hash_of

SALT = "s" * 24
A, B = f"gate-{'aB3_x' * 8}-aa", f"gate-{'Zy9_q' * 8}-bb"
BLOCK = f"""\
# ours
keys:
- name: a   # the first
  hash: {hash_of(A, SALT)}

  rate: {{requests_per_minute: 5}}   # not many
- {{name: b, hash: "{hash_of(B, SALT)}"}}  # in one line
"""


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.yaml"
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def test_a_file_is_made_for_the_first_key_and_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    settings = {"policies": ["strict"], "rate": {"concurrency": 2}, "expires": date(2999, 1, 1), "models": ["*"]}
    key = added(path, "team-a", settings)
    assert path.stat().st_mode & 0o777 == 0o600
    client = Keys.load(path).identify(f"Bearer {key}", None)
    assert client is not None
    assert (client.name, client.policies, client.rate.concurrency) == ("team-a", ("strict",), 2)
    assert (client.expires, client.models) == (date(2999, 1, 1), ("*",))
    assert key not in path.read_text()
    second = added(path, "team-b", {})
    keys = Keys.load(path)
    assert [keys.authenticate(None, each).name for each in (key, second)] == ["team-a", "team-b"]
    assert os.listdir(tmp_path) == ["keys.yaml"], "nothing else is left there"


@pytest.mark.parametrize("after", ["", "\n\n", "# the end\n", "\n# the end", "..."])
@pytest.mark.parametrize("indent", ["", "    "])
def test_an_entry_is_added_below_the_others(tmp_path: Path, after: str, indent: str) -> None:
    head, _, entries = BLOCK.partition("keys:\n")
    text = f"{head}keys:\n" + "".join(f"{indent}{line}\n" if line else "\n" for line in entries.splitlines()) + after
    path = write(tmp_path, text, 0o640)
    key = added(path, "c", {"roles": ["review"]})
    keys = Keys.load(path)
    assert [keys.authenticate(None, each).name for each in (A, B, key)] == ["a", "b", "c"]
    made = path.read_text()
    kept = [
        line for line in made.splitlines() if line not in made[made.index("- name: c") - len(indent) :].splitlines()
    ]
    assert kept == [line for line in text.splitlines() if line in kept]
    assert all(line in made for line in text.splitlines())
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("text", [BLOCK.rstrip("\n"), BLOCK.replace("\n", "\r\n")], ids=["none at the end", "CR LF"])
def test_line_ends_do_not_matter(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    added(path, "c", {})
    assert [client.name for client in Keys.load(path).clients] == ["a", "b", "c"]
    assert path.read_bytes().decode().startswith(text.rstrip("\r\n"))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a", "name: a   # the first\n", "name: a   # the first\n  disabled: true\n"),
        ("b", "{name: b, hash", "{name: b, disabled: true, hash"),
    ],
)
def test_an_entry_is_disabled_and_nothing_else_changes(tmp_path: Path, name: str, old: str, new: str) -> None:
    path = write(tmp_path, BLOCK)
    assert disabled(path, name)
    assert path.read_text() == BLOCK.replace(old, new)
    keys = Keys.load(path)
    assert [keys.identify(None, key) is None for key in (A, B)] == [name == "a", name == "b"]
    assert not disabled(path, name)
    assert path.read_text() == BLOCK.replace(old, new)


@pytest.mark.parametrize("value", ["false", "no", '"false"'])
def test_what_said_that_it_was_not_disabled_says_so_no_more(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, BLOCK.replace("  rate:", f"  disabled: {value}  # yet\n  rate:"))
    assert disabled(path, "a")
    assert "  disabled: true  # yet\n" in path.read_text()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = write(tmp_path / "real", BLOCK)
    link = tmp_path / "keys.yaml"
    link.symlink_to(path)
    added(link, "c", {})
    assert link.is_symlink()
    assert len(Keys.load(path).clients) == 3


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (BLOCK, "a", "there is a key 'a' already"),
        (BLOCK, "a b", "keys.2.name"),
        (f"keys: [{{name: a, hash: '{hash_of(A, SALT)}'}}]\n", "b", "write 'keys' as a list of lines"),
        ("keys: []\n", "b", "keys: Tuple should have at least 1 item"),
        ("keys: [\n", "b", "not YAML"),
        (BLOCK.replace("sha256:", "sha1:"), "c", "keys.0.hash: must be"),
    ],
)
def test_what_cannot_be_added_changes_nothing(tmp_path: Path, text: str, name: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        added(path, name, {})
    assert str(caught.value).startswith(str(path))
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["keys.yaml"]


def test_what_cannot_be_disabled_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, BLOCK)
    with pytest.raises(ConfigError, match="unknown key 'c'; known: a, b"):
        disabled(path, "c")
    with pytest.raises(ConfigError, match="cannot read the key file"):
        disabled(tmp_path / "none.yaml", "c")
    with pytest.raises(ConfigError, match="cannot change the key file"):
        added(tmp_path / "none" / "keys.yaml", "c", {})


def test_keys_made_at_once_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    threads = [threading.Thread(target=added, args=(path, f"t{number}", {})) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {client.name for client in Keys.load(path).clients} == {f"t{number}" for number in range(8)}
