"""The passages an answer rests on as OpenAI clients know them: annotations of the message, each where it stands."""

from __future__ import annotations

from typing import Any

from gate.types import Outcome


def url_citations(outcome: Outcome) -> list[dict[str, Any]]:
    """``url_citation`` of each passage that bears the answer and has an address: at its number, else over the whole."""
    if not outcome.answered or outcome.generation is None:
        return []
    from gate.evidence.citations import places  # numpy comes with it, and help is given without

    text = outcome.text
    marks = list(places(text)) if outcome.generation.cites else []
    made = []
    for number, passage in enumerate(outcome.passages, 1):
        if passage.id in outcome.cited and passage.source.lower().startswith(("https://", "http://")):
            spans = [(begin, end) for begin, end, named in marks if named == number] or [(0, len(text))]
            made += [(begin, end, passage) for begin, end in spans]
    return [
        {
            "type": "url_citation",
            "url_citation": {"start_index": begin, "end_index": end, "url": p.source, "title": p.title or p.id},
        }
        for begin, end, p in sorted(made, key=lambda each: each[:2])
    ]
