"""A loaded cross-encoder: what it feeds its graph, and what is said of a graph or tokenizer that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from gate.errors import UpstreamError
from gate.judges.cross_encoder_folder import CrossEncoderFolder
from gate.judges.cross_encoder_session import CrossEncoderSession
from tests.judges.tiny_cross_encoder import build


def opened(folder: Path, max_length: int = 64) -> CrossEncoderSession:
    return CrossEncoderSession("nli", CrossEncoderFolder.read(folder), max_length)


def test_a_pair_is_one_sequence_of_two_parts_whatever_lengths_the_tokenizers_file_fixes(tmp_path: Path) -> None:
    (encoded,) = opened(build(tmp_path)).encode([("lagos lagos lagos lagos", "yes")])
    assert encoded.tokens == ["[CLS]", "lagos", "lagos", "lagos", "lagos", "[SEP]", "yes", "[SEP]"]
    assert encoded.type_ids == [0] * 6 + [1] * 2


def test_the_longer_text_is_cut_first(tmp_path: Path) -> None:
    session = opened(build(tmp_path), max_length=8)
    premise, hypothesis, both = session.encode(
        [("lagos " * 50, "yes no"), ("yes no", "lagos " * 50), ("lagos " * 50, "no " * 50)]
    )
    assert premise.tokens == ["[CLS]", "lagos", "lagos", "lagos", "[SEP]", "yes", "no", "[SEP]"]
    assert hypothesis.tokens == ["[CLS]", "yes", "no", "[SEP]", "lagos", "lagos", "lagos", "[SEP]"]
    assert len(both) == 8
    assert 2 <= both.tokens.count("no") <= 3


def test_logits_are_those_of_the_words_and_padding_adds_nothing(tmp_path: Path) -> None:
    session = opened(build(tmp_path))
    batch = session.encode([("lagos", "yes"), ("lagos " * 20, "no maybe no"), ("yes yes", "")])
    assert session.logits(batch).tolist() == [[4, 0, 0], [0, 3, 4], [0, 0, 0]]


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize("type_ids", [True, False])
def test_a_graph_gets_the_inputs_it_has_in_the_type_it_takes(tmp_path: Path, kind: int, type_ids: bool) -> None:
    session = opened(build(tmp_path, kind=kind, type_ids=type_ids))
    logits = session.logits(session.encode([("no", "yes"), ("lagos lagos", "maybe")]))
    assert logits.tolist() == [[4, 0, 0 if type_ids else 2], [0, 3, 0]]


def test_padding_is_the_token_the_configuration_names(tmp_path: Path) -> None:
    session = opened(build(tmp_path, pad_token_id=4))
    seen: list[np.ndarray] = []
    run = session._session.run
    session._session = type(
        "Seen", (), {"run": lambda self, names, fed: (seen.append(fed["input_ids"]), run(names, fed))[1]}
    )()
    session.logits(session.encode([("lagos", "yes"), ("lagos lagos", "yes")]))
    assert seen[0][0].tolist()[-1] == 4


def test_a_graph_with_other_inputs_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match=r"'nli': has a graph whose inputs .*pixel_values: tensor\(float\)"):
        opened(build(tmp_path, extra_input=True))


def test_a_graph_with_another_number_of_classes_is_an_error_that_counts(tmp_path: Path) -> None:
    session = opened(build(tmp_path, words={"yes": (1, 0), "no": (0, 1)}))
    with pytest.raises(UpstreamError, match=r"logits of shape \[1, 2\], not \[1, 3\]"):
        session.logits(session.encode([("lagos", "yes")]))


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"not this", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (build(tmp_path) / name).write_bytes(content)
    with pytest.raises(UpstreamError, match=f"'nli': cannot open {name}: "):
        opened(tmp_path)


def test_a_graph_that_fails_while_it_runs_is_an_upstream_error(tmp_path: Path) -> None:
    build(tmp_path, words={"yes": (4, 0, 0)})
    graph = (tmp_path / "model.onnx").read_bytes()
    build(tmp_path)  # its tokenizer knows words that the smaller graph has no row for
    (tmp_path / "model.onnx").write_bytes(graph)
    session = opened(tmp_path)
    with pytest.raises(UpstreamError, match=r"'nli': failed: .*Gather"):
        session.logits(session.encode([("lagos", "no")]))
