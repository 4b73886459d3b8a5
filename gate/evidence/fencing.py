"""Fencing: passages as a prompt quotes them. They are data: what is written in one cannot end where it stands.

`gate.prompts.Prompt.render` takes long runs of dashes out of all that is put into a fenced prompt. Here go, out of
passages, what nobody can see (control characters, marks that turn the direction of text, tags), the tokens by which
chat templates part turns (``<|im_start|>``). What looks like a line of the prompt's own, or like the number of another
passage, gets a bar before it, in whatever case and width it is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from gate.prompts import Prompt
from gate.types import Passage

_BAR = "| "
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_HIDDEN = re.compile(r"[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\U000e0000-\U000e007f]")
"""Joiners stay: Persian, Hindi and families of emoji are written with them."""
_TEMPLATE = re.compile(
    r"<(?=[|\uff5c]|/?(?:s|[be]os|pad|unk|think|tool_(?:calls?|response)|(?:start|end)_of_turn)>|</?SYS>>)"
    r"|(?<=[|\uff5c])>|(?<=<SYS>|/SYS>)>"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
    re.IGNORECASE,
)
"""Tokens of Llama, Mistral, Gemma, Qwen and DeepSeek; DeepSeek's bars (U+FF5C) are wide."""
_NUMBERED = re.compile(r"\s*[\[\u3010\u3014]\s*\d{1,3}\s*[\]\u3011\u3015]")
_FILLED = "\0"
_LABEL = re.compile(rf"([^:{_FILLED}]+):\s*{_FILLED}")
_WORDS = re.compile(r"[^\W_]+")


def quoted(passages: Iterable[Passage], prompt: Prompt) -> str:
    """The passages as they stand in this prompt: a line each, or, where it numbers them, ``[1] title: text``."""
    own = _own(prompt)
    if not prompt.numbered:
        return "\n".join(_fenced(visible(passage.text), own, numbered=False) for passage in passages)
    return "\n".join(
        f"[{number}] {_title(passage.title)}{_fenced(visible(passage.text), own, numbered=True)}"
        for number, passage in enumerate(passages, 1)
    )


def visible(text: str) -> str:
    """The text without what cannot be seen, and with template tokens broken apart: ``< |im_start| >``."""
    text = _HIDDEN.sub("", _LINE_ENDS.sub("\n", text))
    if any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in text):
        text = "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign) != "Cc")
    return _TEMPLATE.sub(lambda found: f" {found[0]}" if found[0] == ">" else f"{found[0]} ", text)


def _title(title: str) -> str:
    line = " ".join(visible(title).split())
    return f"{line}: " if line else ""


@dataclass(frozen=True, slots=True)
class _Own:
    """What a prompt's own lines say, in `_words`."""

    lines: frozenset[str]
    labels: frozenset[str]
    """What stands before the colon where a value follows it: ``Question:``."""

    def resembled_by(self, line: str) -> bool:
        head, colon, _ = line.partition(":")
        return _words(line) in self.lines or (bool(colon) and _words(head) in self.labels)


def _fenced(text: str, own: _Own, *, numbered: bool) -> str:
    """The text with a bar before each line that looks like one of the prompt's own, or like another passage's."""
    return "\n".join(_BAR + line if _barred(_plain(line), own, numbered) else line for line in text.split("\n"))


def _barred(line: str, own: _Own, numbered: bool) -> bool:
    return own.resembled_by(line) or (numbered and _NUMBERED.match(line) is not None)


def _plain(line: str) -> str:
    """The line as it reads: signs of another width as the usual ones, without joiners and soft hyphens."""
    if line.isascii():
        return line
    return "".join(sign for sign in unicodedata.normalize("NFKC", line) if unicodedata.category(sign) != "Cf")


def _words(line: str) -> str:
    return " ".join(_WORDS.findall(line.casefold()))


@lru_cache(maxsize=64)
def _own(prompt: Prompt) -> _Own:
    lines = prompt.render(**dict.fromkeys(prompt.variables, _FILLED)).splitlines()
    labels = (found[1] for found in map(_LABEL.match, lines) if found)
    return _Own(
        frozenset(_words(line) for line in lines if _FILLED not in line) - {""}, frozenset(map(_words, labels)) - {""}
    )
