"""Indexes of small folders, made and brought up to date as 'gate index' does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gate.embedders import HashedNgrams
from gate.retrieval import IndexRetriever
from gate.retrieval.folders import listed
from gate.retrieval.index import IndexOptions
from gate.retrieval.index_file import EmbedderRecord, IndexFile
from gate.retrieval.indexing import Embedding, Indexed, brought_up_to_date

EMBEDDER = HashedNgrams("mine", 64)
RECORD = EmbedderRecord("hashed_ngrams", {"dimensions": 64}, EMBEDDER.fingerprint)


def folder(at: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return at


def brought(
    index: Path,
    *roots: Path,
    embed: Embedding | None = EMBEDDER.embed,
    max_bytes: int = 1_000_000,
    advance: Callable[[], None] = lambda: None,
) -> Indexed:
    """Bring an index up to date; made where there is none."""
    with IndexFile.open(index) as file:
        if not file.begun:
            file.choose(RECORD if embed else None)
        return brought_up_to_date(file, listed(roots), embed, max_bytes=max_bytes, advance=advance)


def made(index: Path, *roots: Path) -> Path:
    brought(index, *roots)
    return index


def opened(index: Path, **options: object) -> IndexRetriever:
    return IndexRetriever("docs", IndexOptions.model_validate({"path": str(index), **options}))


def found(index: Path, query: str, k: int = 5, **options: object) -> list[str]:
    retriever = opened(index, **options)
    try:
        return [passage.id for passage in retriever.search(query, k)]
    finally:
        retriever.close()
