"""The folder of a cross-encoder: what is read from it, and what is refused with the file that is at fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gate.errors import ConfigError
from gate.judges.cross_encoder_folder import CrossEncoderFolder
from tests.judges.tiny_cross_encoder import build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build(tmp_path / "nli", max_position_embeddings=64, pad_token_id=0)


def configured(folder: Path, **changes: Any) -> CrossEncoderFolder:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return CrossEncoderFolder.read(folder)


def test_a_complete_folder_is_read(folder: Path) -> None:
    read = CrossEncoderFolder.read(folder)
    assert read.graph == folder / "model.onnx"
    assert read.graph_files == (folder / "model.onnx",)
    assert read.labels == ("entailment", "neutral", "contradiction")
    assert (read.positions, read.padding) == (64, 0)


def test_the_graph_may_lie_a_folder_deeper_with_its_weights_beside_it(tmp_path: Path) -> None:
    folder = build(tmp_path / "nli", graph="onnx/model.onnx")
    (folder / "onnx" / "model.onnx_data").write_bytes(b"weights")
    read = CrossEncoderFolder.read(folder)
    assert read.graph == folder / "onnx" / "model.onnx"
    assert [path.name for path in read.graph_files] == ["model.onnx", "model.onnx_data"]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=f"nli holds no {name}"):
        CrossEncoderFolder.read(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no folder '.*nowhere'"):
        CrossEncoderFolder.read(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "[1]", "{", "version https://git-lfs.github.com/spec/v1", "\udcff"])
def test_a_broken_configuration_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"config\.json: (is no JSON object|cannot be read)"):
        CrossEncoderFolder.read(folder)


@pytest.mark.parametrize(
    ("id2label", "labels"),
    [
        ({"0": "CONTRADICTION", "1": "NEUTRAL", "2": "ENTAILMENT"}, ("contradiction", "neutral", "entailment")),
        ({"2": "Neutral", "0": "Entailment", "1": "Contradiction"}, ("entailment", "contradiction", "neutral")),
        ({"0": "entailment", "1": "not_entailment"}, ("entailment", "not_entailment")),
        ({"0": "Not-Entailment", "1": "ENTAILMENT"}, ("not_entailment", "entailment")),
        ({"0": "not entailment", "1": "entailment"}, ("not_entailment", "entailment")),
    ],
)
def test_labels_are_known_in_any_case_and_order(folder: Path, id2label: Any, labels: tuple[str, ...]) -> None:
    assert configured(folder, id2label=id2label).labels == labels


@pytest.mark.parametrize(
    ("id2label", "found"),
    [
        ({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, "LABEL_0, LABEL_1, LABEL_2"),
        ({"0": "POSITIVE", "1": "NEGATIVE"}, "POSITIVE, NEGATIVE"),
        ({"0": "entailment", "1": "neutral"}, "entailment, neutral"),
        ({"1": "entailment", "2": "neutral", "3": "contradiction"}, "entailment, neutral, contradiction"),
        ({"0": "entailment", "1": "ENTAILMENT", "2": "neutral", "3": "contradiction"}, "ENTAILMENT"),
        ({"0": None}, "None"),
        (None, "none"),
        (["entailment"], "none"),
    ],
)
def test_labels_that_are_none_of_entailment_are_refused_and_shown(folder: Path, id2label: Any, found: str) -> None:
    with pytest.raises(ConfigError, match=f"id2label.*it has: .*{found}"):
        configured(folder, id2label=id2label)


def test_models_that_count_positions_from_beyond_the_padding_take_fewer_tokens(folder: Path) -> None:
    assert configured(folder, model_type="roberta", max_position_embeddings=514, pad_token_id=1).positions == 512
    assert configured(folder, model_type="bert", max_position_embeddings=512, pad_token_id=0).positions == 512
    assert configured(folder, max_position_embeddings=-1).positions is None
    assert configured(folder, max_position_embeddings=None, pad_token_id=None).padding == 0
