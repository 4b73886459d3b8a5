"""A cross-encoder that is loaded: pairs of texts to tokens, tokens to logits.

Importing this module loads onnxruntime; only what judges does. One session serves any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures
from tokenizers import Encoding, Tokenizer

from gate.errors import UpstreamError
from gate.judges.cross_encoder_folder import CrossEncoderFolder

_FAILURES = (
    failures.EPFail,
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoSuchFile,
    failures.NotImplemented,
    failures.RuntimeException,
)
"""What onnxruntime raises; they share no root below Exception."""
_FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""What a graph may ask for, and where an encoding holds it."""
_KINDS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_CAUSE = 300


class CrossEncoderSession:
    """The graph and the tokenizer of a folder. Raises `UpstreamError` when either cannot be opened or do not fit."""

    def __init__(self, judge: str, folder: CrossEncoderFolder, max_length: int, threads: int = 1) -> None:
        self._judge = judge
        self._classes = len(folder.labels)
        self._padding = folder.padding
        self._tokenizer = _tokenizer(judge, folder, max_length)
        self._session = _session(judge, folder, threads)
        self._inputs = {given.name: _KINDS.get(given.type) for given in self._session.get_inputs()}
        strange = [name for name, kind in self._inputs.items() if name not in _FIELDS or kind is None]
        if strange or "input_ids" not in self._inputs:
            wanted = ", ".join(f"{given.name}: {given.type}" for given in self._session.get_inputs())
            raise UpstreamError(judge, f"has a graph whose inputs are not those of a cross-encoder: {wanted}")
        outputs = [made.name for made in self._session.get_outputs()]
        self._output = "logits" if "logits" in outputs else outputs[0]

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoding]:
        """Each pair as tokens, cut to the most the model takes."""
        return list(self._tokenizer.encode_batch([*pairs]))

    def logits(self, batch: Sequence[Encoding]) -> npt.NDArray[np.float64]:
        """[pairs, classes]. Raises `UpstreamError` when the graph fails or gives another shape."""
        shape = (len(batch), max(map(len, batch)))
        fed = {}
        for name, kind in self._inputs.items():
            fed[name] = np.full(shape, self._padding if name == "input_ids" else 0, dtype=kind)
            for row, encoding in enumerate(batch):
                fed[name][row, : len(encoding)] = getattr(encoding, _FIELDS[name])
        try:
            (made,) = self._session.run([self._output], fed)
        except _FAILURES as error:
            raise UpstreamError(self._judge, f"failed: {_line(error)}") from error
        logits = np.asarray(made, dtype=np.float64)
        if logits.shape != (len(batch), self._classes):
            expected = [len(batch), self._classes]
            raise UpstreamError(self._judge, f"gave logits of shape {list(logits.shape)}, not {expected}")
        return logits


def _tokenizer(judge: str, folder: CrossEncoderFolder, max_length: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(folder.tokenizer.read_bytes())
    except (OSError, ValueError) as error:
        raise UpstreamError(judge, f"cannot open {folder.tokenizer.name}: {_line(error)}") from error
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    tokenizer.no_padding()  # batches are filled up to their own longest pair, not to a length fixed in the file
    return tokenizer


def _session(judge: str, folder: CrossEncoderFolder, threads: int) -> onnxruntime.InferenceSession:
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal: what fails is raised
    try:
        return onnxruntime.InferenceSession(str(folder.graph), options, providers=["CPUExecutionProvider"])
    except _FAILURES as error:
        raise UpstreamError(judge, f"cannot open {folder.graph.name}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:_CAUSE]
