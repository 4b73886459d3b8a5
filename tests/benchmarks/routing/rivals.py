"""Published ways of choosing among upstreams, as far as recorded answers allow, chosen and judged as gate is.

Each reads what its original reads and decides by what its original decides by. What is not reproduced is the scorer
itself where that is a fine-tuned network: all of them get the text regressor that gate has (ridge regression on hashed
n-grams), fitted on the fit half, read out of fold there.

- FrugalGPT (Chen et al. 2023): a scorer of question and answer for each upstream, one threshold a stage, all ladders of
  up to three. Not reproduced: DistilBERT as the scorer, ladders against the order of prices, completion caches.
- AutoMix (Madaan et al. 2023): what a model says of its own answer, as recorded, with one threshold, or with a second
  below which a question is given up as hopeless and keeps the small model's answer; all pairs, and with one threshold
  all ladders of three. Not reproduced: few-shot verification against a context, the POMDP.
- RouteLLM (Ong et al. 2024): from the question alone how likely the stronger one wins, a quantile of it for a
  threshold, all pairs; only the one that is chosen is paid for. Not reproduced: training on preferences of the Arena,
  matrix factorisation.
- At random: lots between two upstreams, in steps of a fortieth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from gate.tuning import text_regressor
from gate.tuning.reference_pool import Encoder
from tests.benchmarks.recorded import EMBEDDER
from tests.benchmarks.routing.frontier import Ends, Method, Outcome, Policy
from tests.benchmarks.tuning.cascades import labels_and_money
from tests.benchmarks.tuning.rungs import Rungs
from tests.benchmarks.tuning.sets import Array, Bools, Places

SCORER = "text_regressor"
VERIFICATION = ("p_true", "p_true_votes", "vote_share", "token_logprob_sum")
"""What counts as a model's word on its own answer: the first of these that a recording has."""
QUANTILES = np.linspace(0, 1, 41)
COARSE = np.linspace(0, 1, 21)
"""For each of two thresholds."""
_FOLDS = 5


@dataclass(frozen=True)
class Answers:
    """The upstreams' answers, [upstreams, n]: who was right, and what each cost."""

    right: Array
    money: Array
    fit: Places
    test: Places

    @classmethod
    def of(cls, rungs: Rungs) -> Answers:
        return cls(*labels_and_money(rungs.table), rungs.fit, rungs.test)

    def policy(self, said: str, of: Callable[[], tuple[Array, Array]]) -> Policy:
        """``of`` makes the share of each question that ends with, and that asks, each upstream: [upstreams, n]."""

        def outcome(questions: Places) -> Outcome:
            ended, asked = of()
            return Outcome(
                (ended * self.right)[:, questions].sum(0),
                (asked * self.money)[:, questions].sum(0),
            )

        return Policy.of(said, lambda: outcome(self.fit), lambda: outcome(self.test))

    def alone(self, upstream: int, questions: Places) -> Outcome:
        return Outcome(self.right[upstream, questions], self.money[upstream, questions])

    def ends(self) -> Ends:
        seen, judged = ((self.alone(0, some), self.alone(-1, some)) for some in (self.fit, self.test))
        return Ends(seen, judged)

    def cascade(self, ladder: Sequence[int], accepted: Sequence[Bools], more: str = "") -> Policy:
        """Each of ``accepted`` [n] says who is answered at that rung of the ladder; the last answers all."""
        return self.policy(" > ".join(f"m{i}" for i in ladder) + more, lambda: self._went(ladder, accepted))

    def _went(self, ladder: Sequence[int], accepted: Sequence[Bools]) -> tuple[Array, Array]:
        ended, asked = np.zeros((2, *self.right.shape))
        left = np.ones(self.right.shape[1], np.bool_)
        for upstream, yes in zip(ladder, (*accepted, left), strict=True):
            asked[upstream] = left
            ended[upstream] = left & yes
            left = left & ~yes
        return ended, asked

    def one_of_two(self, weak: int, strong: int, share: Array | float) -> Policy:
        """``share`` of each question goes to the strong one, the rest to the weak one, and each pays for one."""

        def went() -> tuple[Array, Array]:
            ended = np.zeros_like(self.right)
            ended[strong], ended[weak] = share, 1 - share
            return ended, ended

        return self.policy(f"m{weak} or m{strong}", went)


def rivals(rungs: Rungs) -> Iterator[Method | str]:
    """Those that the recording allows; a sentence for one that it does not."""
    answers = Answers.of(rungs)
    yield Method("random mixture", tuple(_mixtures(answers)))
    scored = score(rungs, (SCORER,))
    if scored is None:
        yield f"{rungs.name}: FrugalGPT: nothing can be learned from the texts"
    else:
        yield Method("FrugalGPT", tuple(ladders(answers, scored[1])))
    said = score(rungs, VERIFICATION)
    if said is None:
        yield f"{rungs.name}: AutoMix: no model says anything of its own answer"
    else:
        yield Method(f"AutoMix ({said[0]})", (*ladders(answers, said[1]), *_doubtful(answers, said[1])))
    yield Method("RouteLLM", tuple(_routed(answers, question_vectors(rungs))))


def score(rungs: Rungs, names: Sequence[str]) -> tuple[str, Array] | None:
    """The first of the signals that all upstreams have, [upstreams, n]; where one is missing it accepts nothing."""
    for name in names:
        if name in rungs.table.signals:
            place = rungs.table.signals.index(name)
            values = np.array([column.values[:, place] for column in rungs.table.stages.values()], dtype=np.float64)
            if not np.isnan(values[:-1, rungs.fit]).all(axis=1).any():
                return name, np.where(np.isnan(values), -np.inf, values)
    return None


def question_vectors(rungs: Rungs) -> Array:
    return Encoder.of(EMBEDDER).rows([str(row.get("question") or "?") for row in rungs.rows[0]]).astype(np.float64)


def _cuts(values: Array, quantiles: Array) -> list[float]:
    """Thresholds at quantiles of the fit half, and one that nothing reaches."""
    found = values[np.isfinite(values)]
    return [*np.unique(np.quantile(found, quantiles, method="lower")), np.inf] if len(found) else [np.inf]


def ladders(answers: Answers, scored: Array) -> Iterator[Policy]:
    for size in (1, 2, 3):
        cuts = QUANTILES if size == 2 else COARSE
        for ladder in combinations(range(len(scored)), size):
            each = [_cuts(scored[i][answers.fit], cuts) for i in ladder[:-1]]
            for thresholds in product(*each):
                accepted = [scored[i] >= t for i, t in zip(ladder[:-1], thresholds, strict=True)]
                yield answers.cascade(ladder, accepted)


def _doubtful(answers: Answers, scored: Array) -> Iterator[Policy]:
    for small, large in combinations(range(len(scored)), 2):
        for low, high in combinations(_cuts(scored[small][answers.fit], COARSE), 2):
            accepted = (scored[small] >= high) | (scored[small] < low)
            yield answers.cascade((small, large), [accepted], ", hopeless kept")


def _mixtures(answers: Answers) -> Iterator[Policy]:
    for weak, strong in combinations(range(len(answers.right)), 2):
        for share in QUANTILES:
            yield answers.one_of_two(weak, strong, float(share))


def _routed(answers: Answers, vectors: Array) -> Iterator[Policy]:
    for weak, strong in combinations(range(len(answers.right)), 2):
        wins = (answers.right[strong] > answers.right[weak]).astype(np.float64)
        foretold = _foretold(vectors, wins, answers.fit)
        for threshold in _cuts(foretold[answers.fit], QUANTILES):
            yield answers.one_of_two(weak, strong, (foretold >= threshold).astype(np.float64))


def _foretold(vectors: Array, label: Array, fit: Places) -> Array:
    """Log-odds of the label by the question, out of fold on the fit half; level where there is nothing to learn."""
    folds = (np.random.default_rng(0).permutation(len(fit)) % _FOLDS).astype(np.int8)
    try:
        alone: np.ndarray[tuple[int], np.dtype[np.int32]] = np.arange(len(fit), dtype=np.int32)
        model = text_regressor.fit(vectors[fit].astype(np.float32), label[fit], alone, folds, _FOLDS + 1)
    except ValueError:
        return np.zeros(len(label))
    said = vectors @ model.weights[0] + model.intercepts[0]
    said[fit] = (vectors[fit] * model.weights[folds + 1]).sum(1) + model.intercepts[folds + 1]
    return np.asarray(said)
