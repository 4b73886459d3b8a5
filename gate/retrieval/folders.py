"""The files of folders, each once, with the names that an index knows them by."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gate.errors import ConfigError
from gate.retrieval.documents import LeftOut
from gate.retrieval.reading import READ


@dataclass(slots=True)
class Listing:
    """What was found."""

    files: dict[str, Path] = field(default_factory=dict)
    """By name: that of the folder that was given, and the way from there."""
    left_out: list[LeftOut] = field(default_factory=list)
    other_kinds: Counter[str] = field(default_factory=Counter)
    """Files of kinds that are not read, by the ending of their names."""


def listed(roots: Sequence[Path]) -> Listing:
    """All files below the folders, and the files given themselves, in the order of their names.

    Names that begin with a dot are passed over. Links are followed; one that leads back to a folder above it is left
    out. Raises `ConfigError` when a root is not there, or two have the same name.
    """
    listing = Listing()
    seen: set[str] = set()
    named: dict[str, Path] = {}
    for given in roots:
        root = Path(os.path.abspath(given))
        if not root.exists():
            raise ConfigError("there is no such folder or file", where=str(given))
        if (other := named.setdefault(root.name, root)) != root:
            raise ConfigError(f"{other} and {root} have the same name: index the folder above both")
        if root.is_dir():
            _walk(root, root.name, listing, (), seen)
        elif _real(root) not in seen:
            seen.add(_real(root))
            listing.files[root.name] = root
    return listing


def _walk(folder: Path, name: str, listing: Listing, above: tuple[str, ...], seen: set[str]) -> None:
    real = _real(folder)
    if real in above:
        listing.left_out.append(LeftOut(name, "is a link that leads back to a folder above it"))
        return
    if real in seen:
        return
    seen.add(real)
    for entry in _entries(folder, name, listing):
        below = f"{name}/{entry.name}"
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:
            listing.left_out.append(LeftOut(below, f"cannot be read: {error.strerror}"))
            continue
        path = Path(entry.path)
        if is_folder:
            _walk(path, below, listing, (*above, real), seen)
        elif path.suffix.casefold() not in READ:
            listing.other_kinds[path.suffix.casefold() or "(none)"] += 1
        elif not is_file:
            reason = "is a link that leads nowhere" if entry.is_symlink() else "is no file"
            listing.left_out.append(LeftOut(below, reason))
        elif _real(path) not in seen:
            seen.add(_real(path))
            listing.files[below] = path


def _entries(folder: Path, name: str, listing: Listing) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        listing.left_out.append(LeftOut(name, f"cannot be read: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.name.isprintable():  # half of a surrogate pair among others: no index could hold it
            listing.left_out.append(LeftOut(ascii(f"{name}/{entry.name}"), "has a name that cannot be written"))
            continue
        yield entry


def _real(path: Path) -> str:
    return os.path.realpath(path)
