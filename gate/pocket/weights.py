"""Where the pocket model's files lie and what their fingerprint is; needs no inference engine."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from gate.errors import ConfigError

Size = Literal["small", "large"]
SIZES: tuple[Size, ...] = ("small", "large")


def folder(size: Size) -> Path:
    """The Hugging Face folder of this size, which also holds the ONNX graph.

    A real folder, not a resource to be unpacked: the graph reads its weights from the file beside it.
    Raises `ConfigError` when a file of it is missing.
    """
    path = Path(str(files("gate.pocket") / size))
    lost = [name for name in ("model.onnx", "model.safetensors", "tokenizer.json") if not (path / name).is_file()]
    if lost:
        raise ConfigError(f"the {size} pocket model lacks {', '.join(lost)} in {path}: reinstall gate")
    return path


@cache
def fingerprint(size: Size) -> str:
    """The first 16 hex digits of the SHA-256 over weights and tokenizer: another model is another fingerprint."""
    digest = hashlib.sha256()
    for name in ("model.safetensors", "tokenizer.json"):
        digest.update((folder(size) / name).read_bytes())
    return digest.hexdigest()[:16]
