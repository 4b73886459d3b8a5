"""Where the pocket model's files lie, and what their fingerprint depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.pocket import weights


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "files", lambda _: tmp_path)
    with pytest.raises(ConfigError, match=r"small pocket model lacks model\.onnx"):
        weights.folder("small")


def test_the_fingerprint_hashes_weights_and_tokenizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "folder", lambda _: tmp_path)
    seen = set()
    for safetensors, tokenizer in ((b"a", b"b"), (b"A", b"b"), (b"a", b"B")):
        (tmp_path / "model.safetensors").write_bytes(safetensors)
        (tmp_path / "tokenizer.json").write_bytes(tokenizer)
        seen.add(weights.fingerprint.__wrapped__("small"))
    assert len(seen) == 3
