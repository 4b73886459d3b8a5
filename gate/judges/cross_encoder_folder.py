"""What lies in the folder of a cross-encoder: which files, which classes, how much text it takes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gate.errors import ConfigError

_GRAPHS = ("model.onnx", "onnx/model.onnx")
_CLASSES = (frozenset({"entailment", "neutral", "contradiction"}), frozenset({"entailment", "not_entailment"}))
_OFFSET_FAMILIES = frozenset({"camembert", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"})
"""Models that count positions from beyond the padding token: that many fewer tokens fit than they have positions."""


@dataclass(frozen=True, slots=True)
class CrossEncoderFolder:
    """A folder with all its parts."""

    path: Path
    graph: Path
    tokenizer: Path
    labels: tuple[str, ...]
    """The classes in the order of the logits: ``entailment``, ``neutral``, ``contradiction``, ``not_entailment``."""
    positions: int | None
    """The most tokens the model takes, where its configuration says."""
    padding: int
    """The id of the token that fills up shorter pairs."""

    @classmethod
    def read(cls, path: Path, *, of_relevance: bool = False) -> Self:
        """Raises `ConfigError` naming the file that is missing or broken, or the labels that are none of entailment.

        With ``of_relevance`` the model must give one number a pair instead, and has the one label ``relevance``.
        """
        if not path.is_dir():
            raise ConfigError(f"there is no folder {str(path)!r}")
        graph = next((path / name for name in _GRAPHS if (path / name).is_file()), None)
        if graph is None:
            raise ConfigError(f"{path} holds no model.onnx (nor onnx/model.onnx): export the model to ONNX first")
        for name in ("tokenizer.json", "config.json"):
            if not (path / name).is_file():
                raise ConfigError(f"{path} holds no {name}")
        config = _read(path / "config.json")
        padding = config.get("pad_token_id")
        padding = padding if type(padding) is int and padding >= 0 else 0
        labels = _relevance(config, path) if of_relevance else _labels(config, path)
        return cls(path, graph, path / "tokenizer.json", labels, _positions(config, padding), padding)

    def digest(self, told: str) -> str:
        """A hash of what is told of how it is used, of the graph and of the tokenizer: reads the files."""
        digest = hashlib.sha256(told.encode())
        for path in (*self.graph_files, self.tokenizer):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]

    @property
    def graph_files(self) -> tuple[Path, ...]:
        """The graph and what it keeps beside itself: large ones hold their weights in a file of its own."""
        return tuple(sorted(found for found in self.graph.parent.glob(f"{self.graph.name}*") if found.is_file()))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(config, dict):
        raise ConfigError("is no JSON object", where=str(path))
    return config


def _labels(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    named = config.get("id2label")
    named = named if isinstance(named, dict) else {}
    labels = [re.sub(r"[\W_]+", "_", str(named.get(str(place), "")).casefold()) for place in range(len(named))]
    if frozenset(labels) not in _CLASSES or len(set(labels)) < len(labels):
        found = ", ".join(map(str, named.values())) or "none"
        raise ConfigError(
            f"{path}: id2label in config.json must number the labels entailment, neutral and contradiction, "
            f"or entailment and not_entailment, from 0; it has: {found}"
        )
    return tuple(labels)


def _relevance(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    named = config.get("id2label")
    count = len(named) if isinstance(named, dict) else config.get("num_labels")
    if count != 1:
        raise ConfigError(f"{path}: a re-ranker gives one number a pair (num_labels: 1 in config.json), not {count}")
    return ("relevance",)


def _positions(config: Mapping[str, Any], padding: int) -> int | None:
    most = config.get("max_position_embeddings")
    if type(most) is not int or most < 1:
        return None
    return most - padding - 1 if config.get("model_type") in _OFFSET_FAMILIES else most
