"""Changing a key file as a person would: an entry more, or one disabled, and every other line as it was.

The changed text is read again before it replaces the file, whole and at once, so a file that worked still works.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from gate.errors import ConfigError, UnknownName
from gate.proxy.keys import Keys, hash_of, new_key, new_salt

if sys.platform != "win32":
    import fcntl

_HEAD = """\
# Client keys of a gate server. It holds hashes, not keys: a key that is lost is replaced, not found again.
keys:
"""


def added(path: Path, name: str, settings: Mapping[str, Any]) -> str:
    """Make a key, append its entry with these settings to the file (made where there is none), and give the key back.

    Raises `ConfigError`, and changes nothing, where the file or the entry cannot be used.
    """
    key = new_key()
    with _alone(path):
        text, salt = _HEAD, new_salt()
        if path.exists():
            keys = Keys.load(path)
            if name in (client.name for client in keys.clients):
                raise ConfigError(f"there is a key {name!r} already: disable it, or give another name", where=str(path))
            text, salt = _read(path), keys.salt
        entry = {"name": name, "hash": hash_of(key, salt), **settings}
        _replace(path, _with_entry(text, entry, path))
    return key


def disabled(path: Path, name: str) -> bool:
    """Disable a key; False where it was disabled already. Raises `ConfigError`, also where there is no such name."""
    with _alone(path):
        keys = Keys.load(path)
        text = _read(path)
        known = [client.name for client in keys.clients]
        if name not in known:
            raise UnknownName("key", name, known, where=str(path))
        changed = _with_disabled(text, known.index(name))
        if changed == text:
            return False
        _replace(path, changed)
        return True


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")  # its line ends stay as they are


def _with_entry(text: str, entry: Mapping[str, Any], path: Path) -> str:
    """The text with one entry more at the end of the list."""
    column, end = 2, len(text)
    if text != _HEAD:
        listed = _listed(text)
        if listed.flow_style:
            said = "write 'keys' as a list of lines that begin with '-', so that one can be added"
            raise ConfigError(said, where=str(path))
        column = listed.start_mark.column
        last = text[: listed.value[-1].end_mark.index].rstrip()  # a block reaches to where the next thing begins
        end = text.find("\n", len(last)) + 1 or len(text)
    shown = yaml.safe_dump(dict(entry), sort_keys=False, allow_unicode=True, default_flow_style=None, width=1000)
    first, *others = shown.splitlines()
    lines = [f"{' ' * column}- {first}", *(f"{' ' * column}  {line}" for line in others)]
    before = text[:end] if text[:end].endswith("\n") else f"{text[:end]}\n"
    return before + "\n".join(lines) + "\n" + text[end:]


def _with_disabled(text: str, number: int) -> str:
    """The text with ``disabled: true`` in one entry."""
    entry = _listed(text).value[number]
    for key, value in entry.value:
        if key.value == "disabled":
            held = yaml.safe_load(value.value)
            return text if held is True else _put(text, value.start_mark.index, value.end_mark.index, "true")
    name_key, name = next(pair for pair in entry.value if pair[0].value == "name")
    if entry.flow_style:
        return _put(text, name.end_mark.index, name.end_mark.index, ", disabled: true")
    line_end = text.find("\n", name.end_mark.index)
    line_end = len(text) if line_end < 0 else line_end
    return _put(text, line_end, line_end, f"\n{' ' * name_key.start_mark.column}disabled: true")


def _put(text: str, start: int, end: int, more: str) -> str:
    return text[:start] + more + text[end:]


def _listed(text: str) -> yaml.SequenceNode:
    """The list of keys of a text that was read as a key file before."""
    whole: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    found: yaml.SequenceNode = next(value for key, value in whole.value if key.value == "keys")
    return found


def _replace(path: Path, text: str) -> None:
    """Check a text as the file that it will be, and put it there at once. A new file is its owner's alone."""
    target = path.resolve()
    number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    made = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        _checked(made, path)
        if target.exists():
            shutil.copymode(target, made)
            if sys.platform != "win32":
                held = target.stat()
                os.chown(made, held.st_uid, held.st_gid)  # who serves with it must be able to read it
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)


def _checked(made: Path, path: Path) -> None:
    try:
        Keys.load(made)
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(made), str(path))) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else changes a key file of this folder meanwhile. What the system refuses is a `ConfigError`."""
    try:
        with _locked(path.resolve().parent):
            yield
    except OSError as error:
        raise ConfigError(f"cannot change the key file: {error}", where=str(path)) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The file itself cannot hold the lock: it is replaced."""
    if sys.platform == "win32":  # whoever changes the file there must be alone
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
