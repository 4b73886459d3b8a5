"""An NLI cross-encoder from a local folder, run by onnxruntime: it reads premise and hypothesis together.

The folder is what export tools for Hugging Face models write: ``model.onnx`` (or ``onnx/model.onnx``),
``tokenizer.json`` and ``config.json``, whose ``id2label`` names the classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gate.effects import Entail
from gate.errors import UpstreamError
from gate.judges.cross_encoder_folder import CrossEncoderFolder
from gate.ports import Price
from gate.types import Entailment, Entailments, Usage

if TYPE_CHECKING:
    from gate.judges.cross_encoder_session import CrossEncoderSession

_LONGEST = 512
"""Tokens of a pair unless ``max_length`` asks for more: what NLI models are trained on."""
_MOST = 20_000
"""Characters of a text that are looked at: a bound on work, far above what fits into a model."""


class OnnxCrossEncoderOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1)
    """The folder; in a policy, relative to the policy."""
    max_length: int | None = Field(default=None, ge=8, le=65_536)
    """The most tokens of a pair; the longer text is cut first. Default: what the model takes, at most 512."""
    temperature: float = Field(default=1.0, ge=0.01, le=100)
    """Logits are divided by it: above 1 softens the verdicts of a model that is too sure."""
    batch: int = Field(default=16, ge=1, le=1024)
    """Pairs that are judged at a time."""
    threads: int = Field(default=1, ge=1, le=256)
    """Cores one batch may use. One leaves the others to requests that run side by side."""


@dataclass(frozen=True)
class OnnxCrossEncoder:
    """Fits `EntailmentJudge`, in this process. The model is opened by the first pair, and shared by all threads.

    A model with two labels tells entailment from all else; all else is then taken for neutral.
    """

    kind: ClassVar[str] = "onnx_cross_encoder"
    Options: ClassVar[type[BaseModel]] = OnnxCrossEncoderOptions

    name: str
    options: OnnxCrossEncoderOptions
    folder: CrossEncoderFolder
    price: Price = field(default_factory=Price)
    _opening: Lock = field(default_factory=Lock, repr=False, compare=False)

    @classmethod
    def from_options(cls, name: str, options: OnnxCrossEncoderOptions, price: Price) -> Self:
        """Raises `ConfigError` when the folder misses a file or its labels are none of entailment."""
        return cls(name, options, CrossEncoderFolder.read(Path(options.path)), price)

    @property
    def max_length(self) -> int:
        return self.options.max_length or min(self.folder.positions or _LONGEST, _LONGEST)

    @cached_property
    def fingerprint(self) -> str:
        """Of graph, tokenizer, labels and what bears on a verdict; the first look reads the files."""
        told = f"1\0{self.max_length}\0{self.options.temperature!r}\0{','.join(self.folder.labels)}"
        return f"{self.kind}-{self.folder.path.name}:{self.folder.digest(told)}"

    def complete(self, effect: Entail, cancelled: Callable[[], bool]) -> Entailments:
        """Verdicts in the order of the pairs; a pair that stands several times is judged once.

        ``cancelled()`` is asked between batches. Usage counts the tokens the model read.
        """
        self._go_on(cancelled)
        session = self._session()
        asked = [(_readable(premise), _readable(hypothesis)) for premise, hypothesis in effect.pairs]
        pairs = list(dict.fromkeys(asked))
        encoded = session.encode(pairs)
        logits = np.zeros((len(pairs), len(self.folder.labels)))
        by_length = sorted(range(len(pairs)), key=lambda place: len(encoded[place]))  # little is then spent on padding
        for start in range(0, len(pairs), self.options.batch):
            self._go_on(cancelled)
            places = by_length[start : start + self.options.batch]
            logits[places] = session.logits([encoded[place] for place in places])
        verdicts = dict(zip(pairs, self._verdicts(logits), strict=True))
        return Entailments(tuple(verdicts[pair] for pair in asked), Usage(prompt_tokens=sum(map(len, encoded))))

    def _go_on(self, cancelled: Callable[[], bool]) -> None:
        if cancelled():
            raise UpstreamError(self.name, "was cancelled")

    def _session(self) -> CrossEncoderSession:
        with self._opening:  # functools.cached_property alone would let two threads open it twice
            return self._opened

    @cached_property
    def _opened(self) -> CrossEncoderSession:
        # loads onnxruntime and tokenizers: a few tenths of a second that only who judges pays
        from gate.judges.cross_encoder_session import CrossEncoderSession

        return CrossEncoderSession(self.name, self.folder, self.max_length, self.options.threads)

    def _verdicts(self, logits: npt.NDArray[np.float64]) -> list[Entailment]:
        """Softmax over each row of logits, [pairs, classes]."""
        if not np.isfinite(logits).all():
            raise UpstreamError(self.name, "gave logits that hold NaN or infinity")
        labels = self.folder.labels
        raised = np.exp((logits - logits.max(axis=1, keepdims=True)) / self.options.temperature)
        shares = raised / raised.sum(axis=1, keepdims=True)
        entailed = shares[:, labels.index("entailment")]
        against = shares[:, labels.index("contradiction")] if "contradiction" in labels else np.zeros(len(shares))
        neither = np.clip(1.0 - entailed - against, 0.0, 1.0)
        return [Entailment(*row) for row in np.stack([entailed, neither, against], axis=1).tolist()]


def _readable(text: str) -> str:
    """The part of a text that is looked at; half of a surrogate pair, which no tokenizer takes, becomes "?"."""
    return text[:_MOST].encode("utf-8", "replace").decode("utf-8")
