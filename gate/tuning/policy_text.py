"""Write a tuned policy over the text of the one it was tuned from, so that its comments stay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gate.policy import Policy

PARTS = ("tiers", "evidence", "signals", "calibrator", "rule", "routes", "ladder", "certificate")
"""What tuning may change."""
_WITH_PATHS = ("upstreams", "embedders", "judges", "retrievers", "evidence")


def rewritten(text: str, before: Policy, after: Policy, *, source: Path, target: Path) -> str:
    """The file's text with what differs between the two policies put anew, key by key.

    Paths in a policy are relative to its file: where the target lies elsewhere they are made to point to the same
    files.
    """
    data = _dumped(after)
    changed = {part for part in PARTS if _dumped(before).get(part) != data.get(part)}
    if source.parent.resolve() != target.parent.resolve():
        moved = {part: _moved(data[part], source.parent, target.parent) for part in _WITH_PATHS if part in data}
        changed |= {part for part, value in moved.items() if value != data[part]}
        data |= moved
    for part in sorted(changed, key=list(Policy.model_fields).index):
        text = _with(text, part, data.get(part))
    return text


def _dumped(policy: Policy) -> dict[str, Any]:
    dumped: dict[str, Any] = policy.model_dump(mode="json", exclude_unset=True)
    return dumped


def _moved(section: Any, old: Path, new: Path) -> Any:
    """The section with every ``path`` of its entries made to hold from the new folder."""
    if not isinstance(section, Mapping):
        return section
    moved = {}
    for name, options in section.items():
        path = options.get("path") if isinstance(options, Mapping) else None
        if isinstance(path, str) and not Path(path).is_absolute():
            options = {**options, "path": _relative((old / path).resolve(), new.resolve())}
        moved[name] = options
    return moved


def _relative(path: Path, folder: Path) -> str:
    up = 0
    while not path.is_relative_to(folder):
        folder, up = folder.parent, up + 1
    return str(Path(*[".."] * up, path.relative_to(folder)))


def _with(text: str, key: str, value: Any) -> str:
    """The YAML text with one top-level key set to a value, or taken out where that is None."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    new = [] if value is None else yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=120)
    block = new.splitlines(keepends=True) if isinstance(new, str) else []
    start, end = _place(text, key)
    if start is None:
        return "".join([*lines, *block])
    return "".join([*lines[:start], *block, *lines[end:]])


def _place(text: str, key: str) -> tuple[int | None, int]:
    """The lines a top-level key takes up, from and to, without what stands between it and the next key."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    lines = text.splitlines()
    for name, value in root.value if root else ():
        if name.value == key:
            end = value.end_mark.line + (1 if value.end_mark.column else 0)
            end = max(end, name.start_mark.line + 1)
            while end > name.start_mark.line + 1 and (not (line := lines[end - 1].strip()) or line.startswith("#")):
                end -= 1
            return name.start_mark.line, end
    return None, 0
