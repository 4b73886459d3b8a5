"""Any sentence-transformers model in this process. The package is an extra, and is imported by the first text only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gate.effects import Embed
from gate.embedders.unit_vectors import unit_rows
from gate.errors import MissingExtra, UpstreamError
from gate.ports import Price
from gate.types import Vectors

_BATCH = 32
"""Texts that are embedded between two looks at whether anybody still waits."""
_OFF_UNIT = 1e-3
_CAUSE = 300


class SentenceTransformersOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    """A folder on this machine, or a name that the package looks up in its cache and then on its hub."""
    device: str | None = None
    """Where it runs, as PyTorch spells it (``cpu``, ``cuda:0``); by default the package chooses."""
    normalised: bool = True
    """Bring vectors to unit length. False trusts the model to do it, and refuses its vectors when it does not."""


@dataclass(frozen=True)
class SentenceTransformers:
    """Fits `Embedder`, in this process. The model is opened by the first text and held from then on.

    Texts of several threads are embedded one batch after the other: the tokenizers beneath cannot be shared.
    """

    kind: ClassVar[str] = "sentence_transformers"
    Options: ClassVar[type[BaseModel]] = SentenceTransformersOptions

    name: str
    options: SentenceTransformersOptions
    price: Price = field(default_factory=Price)
    _turn: Lock = field(default_factory=Lock, repr=False, compare=False)

    @classmethod
    def from_options(cls, name: str, options: SentenceTransformersOptions, price: Price) -> Self:
        """Raises `MissingExtra` where the package is not installed; neither imports it nor looks for the model."""
        if find_spec("sentence_transformers") is None:
            raise MissingExtra("sentence-transformers", "embeddings")
        return cls(name, options, price)

    @cached_property
    def fingerprint(self) -> str:
        """Of the model's name and, when it is a folder, of its JSON files and the names and sizes of all others.

        Weights are not read: others of the same size in the same folder go unseen.
        """
        digest = hashlib.sha256(f"1\0{self.options.model}\0{self.options.normalised}".encode())
        folder = Path(self.options.model)
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file():
                digest.update(f"\0{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes() if path.suffix == ".json" else b"")
        return f"{self.kind}-{Path(self.options.model).name}:{digest.hexdigest()[:16]}"

    def complete(self, effect: Embed, cancelled: Callable[[], bool]) -> Vectors:
        rows: list[tuple[float, ...]] = []
        for start in range(0, len(effect.texts), _BATCH):
            # half of a surrogate pair is no text to a tokenizer
            batch = [t.encode("utf-8", "replace").decode("utf-8") for t in effect.texts[start : start + _BATCH]]
            with self._turn:
                if cancelled():
                    raise UpstreamError(self.name, "was cancelled")
                made = self._encode(batch)
            rows += (tuple(row) for row in self._checked(made, len(batch)).tolist())
        return Vectors(tuple(rows))

    def _encode(self, texts: list[str]) -> npt.NDArray[np.float64]:
        """What the model makes of the texts. Whoever calls holds the turn."""
        try:
            made = self._model.encode(texts, batch_size=_BATCH, convert_to_numpy=True, show_progress_bar=False)
        except (RuntimeError, ValueError) as error:  # out of memory, among others
            raise UpstreamError(self.name, f"failed: {_line(error)}") from error
        return np.asarray(made, dtype=np.float64)

    def _checked(self, rows: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
        """Unit vectors, [texts, dimensions]."""
        if rows.ndim != 2 or len(rows) != count:
            raise UpstreamError(self.name, f"gave an array of shape {list(rows.shape)} for {count} texts")
        brought = unit_rows(self.name, rows)
        if not self.options.normalised and np.abs(np.linalg.norm(rows, axis=1) - 1.0).max() > _OFF_UNIT:
            raise UpstreamError(self.name, "gives vectors of other than unit length: set 'normalised' to true")
        return brought

    @cached_property
    def _model(self) -> Any:
        """The loaded model. Whoever asks holds the turn, so that it is loaded once."""
        try:
            from sentence_transformers import SentenceTransformer  # loads PyTorch: seconds that only who embeds pays
        except ImportError as error:
            raise UpstreamError(self.name, f"cannot import its package: {_line(error)}") from error
        try:
            return SentenceTransformer(self.options.model, device=self.options.device)
        except (OSError, RuntimeError, ValueError) as error:  # no such model, no network, no such device
            raise UpstreamError(self.name, f"cannot load {self.options.model!r}: {_line(error)}") from error


def _line(error: Exception) -> str:
    """An error in one line: those of PyTorch and of the hub run over many."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_CAUSE]
