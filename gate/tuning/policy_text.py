"""Write a tuned policy over the text of the one it was tuned from, so that its comments stay."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gate.policy import Policy

PARTS = ("tiers", "evidence", "signals", "calibrator", "rule", "routes", "ladder", "certificate")
"""What tuning may change."""
_WITH_PATHS = ("upstreams", "embedders", "judges", "retrievers", "evidence")
_PATHS = ("path", "reranker")
_WIDTH = 120


def rewritten(text: str, before: Policy, after: Policy, *, source: Path, target: Path) -> str:
    """The file's text with what differs between the two policies put anew, key by key.

    Paths in a policy are relative to its file: where the target lies elsewhere they are made to point to the same
    files, and the certificate is made out to the policy that says so. Comments inside of what is put anew are lost, and
    all where no lines belong to one key, as in a file that stands in braces.
    """
    after = _moved(after, source.parent, target.parent)
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    data = after.model_dump(mode="json", exclude_unset=True)
    changed = {part: data.get(part) for part in {*PARTS, *_WITH_PATHS} if old[part] != new[part]}
    if not changed:
        return text
    made = _with(text, changed, data)
    return made if _says(made, after) else _dumped({key: value for key, value in data.items() if value is not None})


def _says(text: str, policy: Policy) -> bool:
    try:
        return Policy.model_validate(yaml.safe_load(text)).model_dump() == policy.model_dump()
    except (yaml.YAMLError, ValidationError):
        return False


# --- paths -------------------------------------------------------------------------------------------------------


def _moved(policy: Policy, old: Path, new: Path) -> Policy:
    """The policy as it reads from another folder."""
    data = policy.model_dump(mode="json", exclude_unset=True)
    sections = {name: _section(data[name], old, new) for name in _WITH_PATHS if name in data}
    if old.resolve() == new.resolve() or all(section == data[name] for name, section in sections.items()):
        return policy
    moved = Policy.model_validate({**data, **sections})
    held = moved.certificate
    if held is None or held.fingerprints.get("policy") != policy.fingerprint:
        return moved
    # it is the same policy: nothing but the spelling of its paths is another
    renewed = held.model_copy(update={"fingerprints": {**held.fingerprints, "policy": moved.fingerprint}})
    return moved.model_copy(update={"certificate": renewed})


def _section(section: Mapping[str, Any], old: Path, new: Path) -> dict[str, Any]:
    """A section with every path of its entries made to hold from the new folder."""
    return {
        name: {**options, **{key: path for key in _PATHS for path in _path(options.get(key), old, new)}}
        for name, options in section.items()
    }


def _path(path: Any, old: Path, new: Path) -> list[str]:
    """The path from the new folder, where there is one that depends on the folder."""
    if not isinstance(path, str) or not path or Path(path).is_absolute():
        return []
    there = (old / path).resolve()
    try:
        return [Path(os.path.relpath(there, new.resolve())).as_posix()]
    except ValueError:  # on another drive
        return [str(there)]


# --- text --------------------------------------------------------------------------------------------------------


def _with(text: str, changed: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The YAML text with some of its top-level keys set to values, or taken out where the value is None.

    ``data`` is what the whole is to say.
    """
    end_of_line = "\r\n" if "\r\n" in text else "\n"
    text += "" if text.endswith(("\n", "\r")) else end_of_line
    root, lines = yaml.compose(text, Loader=yaml.SafeLoader), text.splitlines(keepends=True)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("this is not the text of a policy")
    column, last = root.start_mark.column, _last_line(root, lines)
    nodes = {name.value: (name, value) for name, value in root.value}
    new = [key for key in changed if key not in nodes and changed[key] is not None]
    for key in sorted(new, key=list(data).index, reverse=True):
        lines[last:last] = _block(key, changed[key], column, end_of_line)
    for key in reversed([key for key in nodes if key in {*changed, *_tied(nodes, changed)}]):
        name, value = nodes[key]
        start, end = name.start_mark.line, _end(name, value, lines)
        block = _block(key, changed.get(key, data.get(key)), column, end_of_line)
        lines[start:end] = _remarked(block, _remark(name, value, lines), end_of_line)
    return "".join(lines)


def _dumped(value: Any, end_of_line: str = "\n") -> str:
    def dumped(*, plain: bool) -> str:
        text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=plain, width=_WIDTH, line_break=end_of_line)
        return text

    text = dumped(plain=True)
    # line ends of other scripts are folded where they are written as they are
    return dumped(plain=False) if any(end in text for end in "\x85\u2028\u2029") else text


def _block(key: str, value: Any, column: int, end_of_line: str) -> list[str]:
    if value is None:
        return []
    return [" " * column + line for line in _dumped({key: value}, end_of_line).splitlines(keepends=True)]


def _last_line(root: yaml.Node, lines: list[str]) -> int:
    """Where a new key may go: at the end, but before what ends the document."""
    end = root.end_mark.line
    return end if end < len(lines) and lines[end].startswith("...") else len(lines)


def _tied(nodes: Mapping[str, tuple[yaml.Node, yaml.Node]], changed: Mapping[str, Any]) -> set[str]:
    """Keys that name a part of a changed one by an alias, which would stand for nothing once that is put anew."""
    gone = {id(node) for key, (_, value) in nodes.items() if key in changed for node in _below(value)}
    return {key for key, (_, value) in nodes.items() if any(id(node) in gone for node in _below(value))}


def _below(node: yaml.Node) -> Iterator[yaml.Node]:
    yield node
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from (*_below(name), *_below(value))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _below(item)


def _end(name: yaml.Node, value: yaml.Node, lines: list[str]) -> int:
    """The line behind a key's last, without what stands between it and the next key."""
    first, mark = name.end_mark.line + 1, value.end_mark
    end = max(first, mark.line + (1 if mark.column and not _stands_below(value) else 0))
    while end > first and (not (line := lines[end - 1].strip()) or line.startswith("#")):
        end -= 1
    return end


def _stands_below(value: yaml.Node) -> bool:
    """Whether it is indented below its key: then its end is where the next thing begins."""
    return isinstance(value, yaml.CollectionNode) and not value.flow_style


def _remark(name: yaml.Node, value: yaml.Node, lines: list[str]) -> str:
    """The comment behind a value, or behind the key of one that begins below it."""
    mark = name.end_mark if _stands_below(value) else value.end_mark
    rest = lines[mark.line][mark.column :].rstrip() if mark.line < len(lines) else ""
    found = re.fullmatch(r" *:?( +#.*)", rest)
    return found[1] if found else ""


def _remarked(block: list[str], remark: str, end_of_line: str) -> list[str]:
    if not remark or not block or (len(block) > 1 and not block[0].rstrip().endswith(":")):
        return block
    return [f"{block[0].rstrip()}{remark}{end_of_line}", *block[1:]]
