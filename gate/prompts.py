"""Find, render and fingerprint the prompts gate sends: one Markdown file each, in ``prompts/``.

A prompt file starts with a front matter that lists its variables; the body names them as ``{{variable}}``::

    ---
    purpose: ask again with passages
    variables: passages, question
    ---
    {{passages}}
    Question: {{question}}

Where a prompt fences what it quotes between lines of dashes or double dashes, what is quoted can draw no such line
itself: ``render`` takes every long run of either out of the values, so that a fence closes where the prompt closes it.
``passages: numbered`` in the front matter has passages quoted as ``[1] title: text``, for the answer to cite.

The fingerprint is a hash of the whole file: a changed word is a changed prompt, and voids what was certified with it.
"""

from __future__ import annotations

import hashlib
import re
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from gate.errors import ConfigError, UnknownName

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_DASHES = (
    "-\u2010-\u2015\u2043\u2212\u23af\u2500\u2501\u2504\u2505\u2508\u2509\u254c\u254d\u2e3a\u2e3b\ufe58\ufe63\uff0d"
)
_FENCE = re.compile(rf"[{_DASHES}]{{5,}}|[=\u2550\uff1d]{{5,}}")
"""Of whatever characters: to a model many dashes look alike."""


def locate(folder: str) -> Path:
    """The folder of shipped data files (``"prompts"`` or ``"policies"``).

    A wheel carries them inside the package; a checkout and an editable install have them beside it.
    """
    package = Path(__file__).parent
    for candidate in (package / "_data" / folder, package.parent / folder):
        if candidate.is_dir():
            return candidate
    raise ConfigError(f"this installation of gate has no folder {folder!r}: reinstall it")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file, read. ``fingerprint`` is the first 16 hex digits of the SHA-256 of the file."""

    name: str
    body: str
    variables: frozenset[str]
    fingerprint: str
    numbered: bool = False
    """Whether passages stand in it with their numbers and titles."""

    @property
    def fences(self) -> tuple[str, ...]:
        """The lines that open or close one."""
        return tuple(line for line in self.body.splitlines() if _FENCE.search(line))

    def render(self, **values: str) -> str:
        """The body with every variable filled in, in one pass: a value that holds ``{{x}}`` is left as it is.

        In a prompt with fences a value that holds five or more ``-`` or ``=`` in a row has three apart there.
        """
        if values.keys() != self.variables:
            raise ConfigError(f"prompt {self.name!r} takes {sorted(self.variables)}, got {sorted(values)}")
        if _FENCE.search(self.body):
            values = {name: _unfenced(value) for name, value in values.items()}
        return _PLACE.sub(lambda match: values[match[1]], self.body)


def _unfenced(text: str) -> str:
    return _FENCE.sub(lambda run: " ".join(run[0][:3]), text)


Shelf = dict[str, Prompt]
"""Prompts that were read, by name."""
_OF_ALL: Shelf = {}
_shelf: ContextVar[Shelf] = ContextVar("gate_prompts")


def use(shelf: Shelf) -> None:
    """From here on, what runs in this context reads each prompt once and keeps it on this shelf, not on that of all.

    So a policy goes on with the prompts it was loaded with while another is loaded with changed ones.
    """
    _shelf.set(shelf)


def load(name: str) -> Prompt:
    """The prompt called ``name`` (without ``.md``). Raises `UnknownName` or `ConfigError`."""
    shelf = _shelf.get(_OF_ALL)
    if name not in shelf:
        path = path_of(name)
        if not path.is_file():
            raise UnknownName("prompt", name, (p.stem for p in path.parent.glob("*.md")))
        shelf[name] = _parse(name, path.read_bytes())
    return shelf[name]


def path_of(name: str) -> Path:
    """Where the prompt called ``name`` is, or would be."""
    return locate("prompts") / f"{name}.md"


def _parse(name: str, raw: bytes) -> Prompt:
    try:
        text = raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"a prompt file is UTF-8 text: {error}", where=f"{name}.md") from error
    matched = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, flags=re.DOTALL)
    if not matched:
        raise ConfigError("a prompt file starts with a front matter between two lines '---'", where=f"{name}.md:1")
    front = dict(line.split(":", 1) for line in matched[1].splitlines() if ":" in line)
    declared = frozenset(part.strip() for part in front.get("variables", "").split(",") if part.strip())
    used = frozenset(_PLACE.findall(matched[2]))
    if declared != used:
        raise ConfigError(f"declares the variables {sorted(declared)} but uses {sorted(used)}", where=f"{name}.md:1")
    form = front.get("passages", "").strip()
    if form not in {"", "numbered"}:
        raise ConfigError(f"'passages' is 'numbered' or left out, not {form!r}", where=f"{name}.md:1")
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Prompt(name, matched[2].strip("\n"), used, fingerprint, form == "numbered")
