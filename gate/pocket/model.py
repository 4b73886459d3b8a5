"""Run the pocket model: encode a chat, generate with a key-value cache, read hidden states.

Importing this module loads onnxruntime; only what runs the model does. One `PocketModel` serves any number of threads.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gate.errors import UpstreamError
from gate.pocket.growing import Grew, Growth
from gate.pocket.sampling import Ints, Sampling, choose, log_softmax, streams
from gate.pocket.weights import Size, fingerprint, folder
from gate.types import Message, TokenLogprob

CONTROL = ("<pad>", "<q>", "<a>", "<e>")
"""The tokens that are no text, by id. A prompt is ``<q> question <a>``, an answer ends with ``<e>``."""
PAD, QUESTION, ANSWER, END = range(4)
_CACHED_TOKENS = 8192
"""Most tokens of cache that are held at a time (100 MB in the large size); more rows are generated in turns."""

Array = NDArray[np.float32]
_load_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Answer:
    """One generated answer."""

    ids: tuple[int, ...]
    """All that was generated, with the ``<e>`` that ended it: its length is what was computed."""
    text: str
    """Decoded, without the leading space and cut before the first stop string."""
    finish_reason: str
    """``stop`` or ``length``."""
    tokens: tuple[TokenLogprob, ...] | None
    """The tokens of the text as they were generated (the first one with its leading space), without ``<e>``."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What goes on in the model over a sequence."""

    states: Array
    """The residual stream, [layers + 1, time, hidden]. Index 0 is the embeddings, i the output of block i, the last one
    taken before the final norm."""
    attention: Array
    """[layers, time, time]: what each token paid to each, the mean over heads."""


@dataclass(slots=True)
class _Row:
    """An answer under way."""

    ids: list[int] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    cut: int | None = None
    """Where in the text a stop string was found."""


class PocketModel:
    """The pocket model of one size, ready to run. Use `load`, which opens each size once a process."""

    def __init__(self, path: Path, size: Size) -> None:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        self.size = size
        self.name = f"pocket-{size}"
        self.context: int = config["max_position_embeddings"]
        self.layers: int = config["num_hidden_layers"]
        self._cache_shape = (self.layers, 1, config["num_attention_heads"], 0, config["head_dim"])
        self._tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        self._tokenizer.encode_special_tokens = True  # "<a>" typed by a user is three characters, not the control token
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        self._longest = max(map(len, vocabulary))
        self._pieces = [self._tokenizer.decode([i], skip_special_tokens=False) for i in range(config["vocab_size"])]
        self._session = _open(path / "model.onnx")

    @classmethod
    def load(cls, size: Size) -> PocketModel:
        """The model of this size, opened on first use. Raises `ConfigError` when its files are not there."""
        with _load_lock:  # functools.cache alone would let two threads open it twice
            return _opened(size)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.size)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """The prompt of a conversation: its last user message, as the folder's chat template puts it.

        Raises `UpstreamError` with status 400 when there is no user message or when it leaves no room for an answer.
        """
        asked = self.asked(messages)
        if len(asked) > self._longest * self.context:  # cannot fit: spare the tokenizer the work
            raise self._too_long(f"at least {len(asked) // self._longest}")
        ids = [QUESTION, *self._tokenizer.encode(asked).ids, ANSWER]
        if len(ids) >= self.context:
            raise self._too_long(str(len(ids)))
        return ids

    def asked(self, messages: Sequence[Message]) -> str:
        """The text that is read of a conversation: its last user message, on one line. Errors: `encode_chat`."""
        asked = next((m.content for m in reversed(messages) if m.role == "user"), None)
        if asked is None:
            raise self._refusal("the conversation holds no user message; the pocket model answers the last one")
        return one_line(asked)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters [from, to) of each token of a text from `asked`. In a prompt they begin after one more."""
        return list(self._tokenizer.encode(text).offsets)

    def encode_answer(self, text: str) -> list[int]:
        """The tokens of an answer that stands there already."""
        return list(self._tokenizer.encode(one_line(text.strip())).ids)

    def generate(
        self,
        prompt: Sequence[int],
        how: Sampling,
        cancelled: Callable[[], bool] = lambda: False,
        grew: Grew | None = None,
    ) -> tuple[Answer, ...]:
        """``how.n`` answers to a prompt from `encode_chat`. The prompt is computed once for all of them.

        Greedy answers are equal, so one is computed. Raises `UpstreamError`: status 400 for options out of range or a
        prompt that leaves no room, and without status once ``cancelled()`` is true, which is asked at every token.
        ``grew`` is told of a single answer at every token, and ends it, as if it might be no longer, by being false.
        """
        if broken := how.broken_rules():
            raise self._refusal("; ".join(broken))
        room = self.context - len(prompt)
        if room < 1:
            raise self._too_long(str(len(prompt)))
        limit = room if how.max_tokens is None else min(room, how.max_tokens)
        if cancelled():
            raise self._cancelled()
        logits, _, keys, values, _ = self._prefill(prompt)
        first = logits[:, -1]
        rows = 1 if how.temperature == 0 else how.n
        draws = streams(how.seed, rows)
        batch = max(1, _CACHED_TOKENS // (len(prompt) + limit))
        answers: list[Answer] = []
        for start in range(0, rows, batch):
            some = draws[start : start + batch]
            growth = Growth(grew, how.stop) if grew is not None and how.n == 1 else None
            answers += self._decode((first, keys, values), some, how, limit, cancelled, growth)
        return tuple(answers * how.n if rows < how.n else answers)

    def hidden_states(self, ids: Sequence[int]) -> Array:
        """`Inside.states` over ``ids``. Errors: `inside`."""
        return self.inside(ids).states

    def inside(self, ids: Sequence[int]) -> Inside:
        """What goes on over ``ids``. Raises `UpstreamError` with status 400 beyond the context length."""
        _, states, _, _, attention = self._prefill(ids)
        return Inside(states[:, 0], attention[:, 0])

    def log_probabilities(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """Log-probability of every next token after each of ``ids``: [time, vocabulary]. Errors: `inside`."""
        return log_softmax(self._prefill(ids)[0][0])

    def _decode(
        self,
        prefix: tuple[Array, Array, Array],
        draws: list[np.random.Generator],
        how: Sampling,
        limit: int,
        cancelled: Callable[[], bool],
        growth: Growth | None,
    ) -> list[Answer]:
        """One answer a generator in ``draws``, side by side; a row that has ended leaves the batch."""
        logits, keys, values = (np.repeat(x, len(draws), axis=axis) for x, axis in zip(prefix, (0, 1, 1), strict=True))
        rows = [_Row() for _ in draws]
        alive = list(range(len(rows)))
        for step in range(limit):
            if cancelled():
                raise self._cancelled()
            allowed = logits.copy()
            allowed[:, [PAD, QUESTION, ANSWER]] = -np.inf  # no text and no end: an answer cannot hold them
            chosen = choose(allowed, how.temperature, how.top_p, [draws[i] for i in alive])
            self._note(rows, alive, chosen, logits, how)
            going = [j for j, i in enumerate(alive) if rows[i].ids[-1] != END and rows[i].cut is None]
            if not going or (growth is not None and not growth.step(self._text(rows[0].ids), rows[0].tokens)):
                break
            if step + 1 == limit:
                break
            if len(going) < len(alive):
                alive, chosen, keys, values = [alive[j] for j in going], chosen[going], keys[:, going], values[:, going]
            logits, _, keys, values, _ = self._run(chosen[:, None], keys, values)
            logits = logits[:, -1]
        answers = [self._finish(row, how) for row in rows]
        if growth is not None and not growth.stopped:
            growth.end(answers[0].text, answers[0].tokens or ())
        return answers

    def _note(self, rows: list[_Row], alive: list[int], chosen: Ints, logits: Array, how: Sampling) -> None:
        """Write what was chosen into the rows that are alive."""
        raw = log_softmax(logits) if how.top_logprobs is not None else None
        for j, i in enumerate(alive):
            row, token = rows[i], int(chosen[j])
            row.ids.append(token)
            if token == END:
                continue
            if raw is not None:
                row.tokens.append(self._logprob(raw[j], token, how.top_logprobs or 0))
            if how.stop:
                text = self._text(row.ids)
                row.cut = min((at for at in map(text.find, how.stop) if at >= 0), default=None)

    def _logprob(self, raw: NDArray[np.float64], token: int, count: int) -> TokenLogprob:
        best = np.argsort(-raw, kind="stable")[:count]
        top = tuple((self._pieces[k], float(raw[k])) for k in best)
        return TokenLogprob(self._pieces[token], float(raw[token]), top)

    def _finish(self, row: _Row, how: Sampling) -> Answer:
        ended = row.ids[-1] == END or row.cut is not None
        text, tokens = self._text(row.ids)[: row.cut], row.tokens
        if row.cut is not None:  # keep the tokens that begin before the cut
            tokens = [token for k, token in enumerate(tokens) if len(self._text(row.ids[:k])) < row.cut]
        logged = None if how.top_logprobs is None else tuple(tokens)
        return Answer(tuple(row.ids), text, "stop" if ended else "length", logged)

    def _text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids).removeprefix(" ")

    def _run(self, ids: Ints, keys: Array, values: Array) -> list[Array]:
        """logits, hidden states, keys, values and attention, with the shapes in examples/pocket/export_onnx.py."""
        feed = {"input_ids": ids, "past_keys": keys, "past_values": values}
        return self._session.run(None, feed)  # type: ignore[no-any-return]

    def _prefill(self, ids: Sequence[int]) -> list[Array]:
        """`_run` on one whole sequence, from an empty cache."""
        if len(ids) > self.context:
            raise self._too_long(str(len(ids)))
        empty = np.zeros(self._cache_shape, np.float32)
        return self._run(np.array([ids], np.int64), empty, empty)

    def _refusal(self, cause: str) -> UpstreamError:
        return UpstreamError(self.name, cause, status=400)

    def _too_long(self, tokens: str) -> UpstreamError:
        return self._refusal(
            f"the context length is {self.context} tokens, answer included, and the prompt has {tokens}: shorten it"
        )

    def _cancelled(self) -> UpstreamError:
        return UpstreamError(self.name, "cancelled by the caller")


def one_line(text: str) -> str:
    """Without line breaks; half a surrogate pair becomes "?"."""
    return text.replace("\n", " ").encode("utf-8", "replace").decode("utf-8")


@cache
def _opened(size: Size) -> PocketModel:
    return PocketModel(folder(size), size)


def _open(path: Path) -> onnxruntime.InferenceSession:
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # requests run side by side on the caller's threads; a pool would fight them
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
