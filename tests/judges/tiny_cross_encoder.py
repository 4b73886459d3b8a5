"""A cross-encoder small enough to read: a real ONNX graph and a real tokenizer whose verdicts can be told in advance.

Every word adds its own row of logits when it stands in the hypothesis; words of the premise count for nothing. Padding
would add a hundred to every class but the first, were it not masked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LABELS = ("entailment", "neutral", "contradiction")
WORDS: Mapping[str, Sequence[float]] = {"yes": (4, 0, 0), "maybe": (0, 3, 0), "no": (0, 0, 2), "lagos": (0, 0, 0)}
"""What each word of a hypothesis adds to the logits of LABELS."""


def build(
    folder: Path,
    *,
    labels: Sequence[str] = LABELS,
    words: Mapping[str, Sequence[float]] = WORDS,
    type_ids: bool = True,
    kind: int = TensorProto.INT64,
    extra_input: bool = False,
    graph: str = "model.onnx",
    **config: Any,
) -> Path:
    """Write the folder. Without ``type_ids`` the graph cannot tell the texts apart, and every word counts."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: place for place, word in enumerate((*SPECIAL, *words))}
    classes = len(next(iter(words.values())))
    table = np.zeros((len(vocabulary), classes), dtype=np.float32)
    table[0, 1:] = 100.0
    for word, row in words.items():
        table[vocabulary[word]] = row
    model = _graph(table, type_ids=type_ids, kind=kind, extra_input=extra_input)
    (folder / graph).parent.mkdir(exist_ok=True)
    onnx.save(model, folder / graph)
    _tokenizer(vocabulary).save(str(folder / "tokenizer.json"))
    named = {str(place): label for place, label in enumerate(labels)}
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "id2label": named, **config}))
    return folder


def _graph(table: np.ndarray[Any, Any], *, type_ids: bool, kind: int, extra_input: bool) -> onnx.ModelProto:
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if type_ids else [])]
    inputs = [helper.make_tensor_value_info(name, kind, ["batch", "time"]) for name in names]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", "time"]))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["looked_up"]),
        helper.make_node("Cast", ["attention_mask"], ["counted"], to=TensorProto.FLOAT),
    ]
    counted = "counted"
    if type_ids:
        nodes.append(helper.make_node("Cast", ["token_type_ids"], ["second"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", ["counted", "second"], ["counted_in_second"]))
        counted = "counted_in_second"
    nodes += [
        helper.make_node("Unsqueeze", [counted, "last"], ["weights"]),
        helper.make_node("Mul", ["looked_up", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "over_time"], ["logits"], keepdims=0),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", table.shape[1]])]
    held = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "over_time"),
    ]
    made = helper.make_graph(nodes, "tiny", inputs, outputs, held)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")],
    )
    # as in the files of many models: fixed lengths, which whoever judges pairs has to set aside
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=6)
    return tokenizer
