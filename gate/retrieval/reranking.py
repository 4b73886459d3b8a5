"""Putting the best passages in a better order: a cross-encoder that reads query and passage together.

Its folder is what export tools for Hugging Face models write, with one logit a pair (``num_labels: 1``), as models
trained on relevance have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

import numpy as np

from gate.errors import UpstreamError
from gate.judges.cross_encoder_folder import CrossEncoderFolder

if TYPE_CHECKING:
    from gate.judges.cross_encoder_session import CrossEncoderSession

_LONGEST = 512
"""Tokens of a pair."""
_BATCH = 16
_MOST = 20_000
"""Characters of a text that are looked at."""


@dataclass(frozen=True)
class Reranker:
    """Scores passages by a model of this process, opened by the first query and shared by all threads."""

    name: str
    """Of the retriever it belongs to: failures are told under it."""
    folder: CrossEncoderFolder
    _opening: Lock = field(default_factory=Lock, repr=False, compare=False)

    @classmethod
    def read(cls, name: str, path: Path) -> Self:
        """Raises `ConfigError` when the folder misses a file or the model gives more than one logit."""
        return cls(name, CrossEncoderFolder.read(path, of_relevance=True))

    @cached_property
    def fingerprint(self) -> str:
        return f"{self.folder.path.name}:{self.folder.digest('reranker 1')}"

    def scores(self, query: str, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[float]:
        """1 / (1 + exp(-logit)) of each text, in order. ``cancelled()`` is asked between batches."""
        session = self._session()
        encoded = session.encode([(_readable(query), _readable(text)) for text in texts])
        logits = np.zeros(len(texts))
        by_length = sorted(range(len(texts)), key=lambda place: len(encoded[place]))
        for start in range(0, len(texts), _BATCH):
            if cancelled():
                raise UpstreamError(self.name, "was cancelled")
            places = by_length[start : start + _BATCH]
            logits[places] = session.logits([encoded[place] for place in places])[:, 0]
        if not np.isfinite(logits).all():
            raise UpstreamError(self.name, "has a re-ranker that gave NaN or infinity")
        return [float(each) for each in 1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0)))]

    def _session(self) -> CrossEncoderSession:
        with self._opening:
            return self._opened

    @cached_property
    def _opened(self) -> CrossEncoderSession:
        # loads onnxruntime and tokenizers: a few tenths of a second that only who re-ranks pays
        from gate.judges.cross_encoder_session import CrossEncoderSession

        return CrossEncoderSession(self.name, self.folder, min(self.folder.positions or _LONGEST, _LONGEST))


def _readable(text: str) -> str:
    return text[:_MOST].encode("utf-8", "replace").decode("utf-8")
