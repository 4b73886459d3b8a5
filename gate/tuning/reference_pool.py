"""Fit a reference pool from labelled answers, and read it: what `gate.evidence.neighbours` looks up at run time.

Use it so that nothing learns from what it is judged on::

    pool = fit(training, encoder)                       # LabelledAnswer rows: any number of upstreams and answers
    seen = facts_of(pool, training, encoder)            # out of fold: fit a calibrator on these
    new = facts_of(pool, test, encoder)                 # and judge it on those

`facts_of` reads a question that is in the pool without itself: it is none of its neighbours, whichever upstream
answered, and the models asked are those of its fold, fitted without it. Cluster shares come from fit data alone; a new
question belongs to the cluster of its nearest neighbour.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.effects import Embed
from gate.errors import ConfigError
from gate.evidence.nearest import CROWD, Sought, distance, look_up, ranked, run_length, skill
from gate.evidence.neighbours import LONGEST_TEXT, Neighbours, facts
from gate.evidence.reference_pool import WHOLE, Floats, ReferencePool, question_key
from gate.ports import LocalEndpoint, Missing
from gate.tuning import skills, text_regressor
from gate.tuning.clusters import LINKS, clusters
from gate.tuning.skills import Skills
from gate.types import Cost, Vectors

Array = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
FOLDS = 5
FEWEST = 20
"""Questions a pool must have, and labels each upstream must have."""
_BATCH = 256
_PAIRS = tuple((one, other) for one in range(FOLDS) for other in range(FOLDS))


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer of an upstream to a question."""

    question: str
    answer: str
    upstream: str


@dataclass(frozen=True, slots=True)
class LabelledAnswer(Answered):
    """… and whether it was right."""

    correct: bool


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes vectors of texts for fitting. ``fingerprint`` is that of the embedder that will run."""

    fingerprint: str
    vectors: Callable[[tuple[str, ...]], Vectors]

    @classmethod
    def of(cls, embedder: LocalEndpoint[Embed, Vectors]) -> Encoder:
        """Of an embedder in this process."""
        return cls(embedder.fingerprint, lambda texts: embedder.complete(Embed(embedder.name, texts), lambda: False))

    def rows(self, texts: Sequence[str]) -> Floats:
        """[n, d], of unit length; a row of nan for a text the embedder can make nothing of."""
        made: list[Floats] = []
        for start in range(0, len(texts), _BATCH):
            batch = tuple(text[:LONGEST_TEXT] for text in texts[start : start + _BATCH])
            rows = np.array(self.vectors(batch).rows, dtype=np.float32)
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            made.append(np.where(np.abs(lengths - 1) < 0.01, rows / np.maximum(lengths, 1e-9), np.nan))
        return np.concatenate(made).astype(np.float32)


def fit(
    rows: Sequence[LabelledAnswer], encoder: Encoder, second: Encoder | None = None, *, seed: int = 0
) -> ReferencePool:
    """A pool of all questions in ``rows``; several labels of one question and upstream are averaged.

    Takes seconds for thousands of questions. A question an embedder makes nothing of is left out. Raises ValueError
    with fewer than `FEWEST` labels of an upstream.
    """
    if not rows:
        raise ValueError(f"a reference pool needs {FEWEST} labelled questions of each upstream, and has none")
    upstreams = tuple(dict.fromkeys(row.upstream for row in rows))
    keys, vectors, others, place = _questions(rows, encoder, second)
    correct = _labels(rows, place, upstreams)
    _check_enough(upstreams, correct)
    folds = _folds(correct, seed)
    order, near = ranked(keys, vectors, keys, vectors, np.zeros(len(keys), np.float32), np.ones(len(keys), np.bool_))
    labels = clusters(order[:, :LINKS])
    rank, penalty = skills.choose(vectors, correct, folds)

    def without(*left_out: int) -> Skills:
        kept = ~np.isin(folds, left_out)
        return skills.fit(vectors[kept], correct[kept], rank, penalty)

    whole, there = without(), ~np.isnan(correct)
    models = {pair: without(*pair).levelled(whole, vectors, there) for pair in _PAIRS if pair[0] <= pair[1]}
    logits = {pair: models[min(pair), max(pair)].logits(vectors) for pair in _PAIRS}
    parts = [whole, *(models[fold, fold] for fold in range(FOLDS))]
    texts = _texts(rows, upstreams, place, vectors, labels, folds, encoder)
    draft = _Draft(
        upstreams=upstreams,
        embedder=encoder.fingerprint,
        second_embedder=None if second is None else second.fingerprint,
        keys=keys,
        folds=folds,
        vectors=vectors,
        second=others,
        crowding=np.where(np.isfinite(near[:, :CROWD]), near[:, :CROWD], 0).mean(1),
        clusters=labels,
        correct=correct,
        predicted_right=_foretold(logits, folds, correct),
        skill_projection=np.array([part.projection for part in parts]),
        skill_loadings=np.array([part.loadings for part in parts]),
        skill_intercepts=np.array([part.intercepts for part in parts]),
        text_weights=texts[0],
        text_intercepts=texts[1],
    )
    return draft.finished()


def with_upstream(pool: ReferencePool, rows: Sequence[LabelledAnswer], encoder: Encoder) -> ReferencePool:
    """The pool with one more upstream, of which ``rows`` are labelled answers. What is known of the others stays.

    Only its own row of the skill model is fitted. Rows of questions that the pool does not hold are left out. Raises
    ValueError when fewer than `FEWEST` labels are left, or ``rows`` are not of one new upstream.
    """
    _check_encoder(pool, encoder)
    names = tuple(dict.fromkeys(row.upstream for row in rows))
    if len(names) != 1 or names[0] in pool.upstreams:
        raise ValueError(f"the rows must be of one upstream that is not in the pool, not of {list(names)}")
    place = {int(key): row for row, key in enumerate(pool.keys)}
    known = [row for row in rows if question_key(row.question) in place]
    correct = _labels(known, place, names)
    _check_enough(names, correct)
    parts, logits = _rows_of_another(pool, correct)
    texts = _texts(known, names, place, pool.vectors, pool.clusters, pool.folds, encoder)
    draft = _Draft(
        upstreams=(*pool.upstreams, *names),
        embedder=pool.embedder,
        second_embedder=pool.second_embedder,
        keys=pool.keys,
        folds=pool.folds,
        vectors=pool.vectors,
        second=pool.second,
        crowding=pool.crowding,
        clusters=pool.clusters,
        correct=np.hstack([pool.correct, correct]),
        predicted_right=np.concatenate([pool.predicted_right, _foretold(logits, pool.folds, correct)], axis=2),
        skill_projection=pool.skill_projection,
        skill_loadings=np.concatenate([pool.skill_loadings, [part.loadings for part in parts]], axis=1),
        skill_intercepts=np.concatenate([pool.skill_intercepts, [part.intercepts for part in parts]], axis=1),
        text_weights=np.concatenate([pool.text_weights, texts[0]], axis=1),
        text_intercepts=np.concatenate([pool.text_intercepts, texts[1]], axis=1),
    )
    return draft.finished()


def facts_of(
    pool: ReferencePool, rows: Sequence[Answered], encoder: Encoder, second: Encoder | None = None, *, k: int = 10
) -> list[Neighbours | Missing]:
    """What `NeighboursSource` would gather for each row, at no cost. Out of fold where the pool holds the question."""
    _check_encoder(pool, encoder)
    if second is not None and second.fingerprint != pool.second_embedder:
        raise ConfigError(f"the pool's second embedder is {pool.second_embedder!r}, not {second.fingerprint!r}")
    made: list[Neighbours | Missing] = [Missing("the embedder makes nothing of the question")] * len(rows)
    for upstream in dict.fromkeys(row.upstream for row in rows):
        mine = np.array([place for place, row in enumerate(rows) if row.upstream == upstream])
        column = pool.column(upstream)
        if column is None:
            for place in mine:
                made[place] = Missing(f"the reference pool holds no labels for the upstream {upstream!r}")
            continue
        vectors = encoder.rows([rows[place].question for place in mine])
        mine, vectors = mine[~np.isnan(vectors[:, 0])], vectors[~np.isnan(vectors[:, 0])]
        sought = Sought(
            np.array([question_key(rows[place].question) for place in mine], dtype=np.uint64),
            vectors,
            encoder.rows([rows[place].answer for place in mine]),
            None if second is None else second.rows([rows[place].question for place in mine]),
        )
        for place, fact in zip(mine, facts(pool, column, look_up(pool, column, sought, k), Cost()), strict=True):
            made[place] = fact or Missing("the reference pool holds no other question")
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A pool but for what follows of the rest: how its questions lie to each other."""

    upstreams: tuple[str, ...]
    embedder: str
    second_embedder: str | None
    keys: Keys
    folds: npt.NDArray[np.int8]
    vectors: Floats
    second: Floats
    crowding: Floats
    clusters: npt.NDArray[np.int32]
    correct: npt.NDArray[Any]
    predicted_right: npt.NDArray[np.int8]
    skill_projection: npt.NDArray[Any]
    skill_loadings: npt.NDArray[Any]
    skill_intercepts: npt.NDArray[Any]
    text_weights: npt.NDArray[Any]
    text_intercepts: npt.NDArray[Any]

    def finished(self) -> ReferencePool:
        own = self.folds.astype(np.intp) + 1
        leaning = skill(self.vectors, self.skill_projection, self.skill_loadings, self.skill_intercepts, own) >= 0
        labelled, right = ~np.isnan(self.correct), self.correct >= 0.5
        similarity = np.full(labelled.shape, -1, dtype=np.int32)
        nearest = np.full(labelled.shape, np.nan, dtype=np.float32)
        for columns in _alike(labelled):
            usable = labelled[:, columns[0]]
            order, near = ranked(self.keys, self.vectors, self.keys, self.vectors, self.crowding, usable)
            for column in columns:
                speaks = (self.predicted_right[own[:, None], order, column] == 1) & (
                    right[order, column] == leaning[:, column, None]
                )
                run = run_length(speaks & np.isfinite(near))
                similarity[usable, column] = run[usable]
                nearest[usable, column] = distance(near.max(1))[usable]
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        floats = {name: value.astype(np.float32) for name, value in given.items() if _is_float(value)}
        return ReferencePool(**(given | floats), similarity=similarity, nearest=nearest)


def _is_float(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _alike(labelled: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Columns with labels on the same questions, together: their neighbours are the same."""
    groups: dict[bytes, list[int]] = {}
    for column in range(labelled.shape[1]):
        groups.setdefault(labelled[:, column].tobytes(), []).append(column)
    return list(groups.values())


def _questions(
    rows: Sequence[LabelledAnswer], encoder: Encoder, second: Encoder | None
) -> tuple[Keys, Floats, Floats, dict[int, int]]:
    """The distinct questions that have a vector: keys, vectors, vectors of the second embedder, key → place."""
    texts: dict[int, str] = {}
    for row in rows:
        texts.setdefault(question_key(row.question), row.question)
    vectors = encoder.rows(list(texts.values()))
    others = np.zeros((len(texts), 0), dtype=np.float32) if second is None else second.rows(list(texts.values()))
    there = ~np.isnan(np.hstack([vectors, others])).any(1)
    keys = np.array(list(texts), dtype=np.uint64)[there]
    return keys, vectors[there], others[there], {int(key): place for place, key in enumerate(keys)}


def _labels(rows: Sequence[LabelledAnswer], place: Mapping[int, int], upstreams: tuple[str, ...]) -> Array:
    """[n, m]: the mean label of each question and upstream, nan where there is none."""
    sums, counts = np.zeros((2, len(place), len(upstreams)))
    for row in rows:
        at = place.get(question_key(row.question))
        if at is not None:
            column = upstreams.index(row.upstream)
            sums[at, column] += row.correct
            counts[at, column] += 1
    return np.where(counts > 0, sums / np.maximum(1, counts), np.nan)


def _check_enough(upstreams: tuple[str, ...], correct: Array) -> None:
    counts = dict(zip(upstreams, (~np.isnan(correct)).sum(0).tolist(), strict=True))
    if not counts or min(counts.values()) < FEWEST:
        raise ValueError(f"a reference pool needs {FEWEST} labelled questions of each upstream, and has {counts}")


def _check_encoder(pool: ReferencePool, encoder: Encoder) -> None:
    if encoder.fingerprint != pool.embedder:
        raise ConfigError(f"the pool was fitted with the embedder {pool.embedder!r}, not {encoder.fingerprint!r}")


def _folds(correct: Array, seed: int) -> npt.NDArray[np.int8]:
    """A fold for each question: at random, but each with its share of hard and easy ones."""
    chance = np.random.default_rng(seed).random(len(correct))
    ranks = np.lexsort((chance, np.nanmean(correct, axis=1)))
    folds = np.empty(len(correct), dtype=np.int8)
    folds[ranks] = np.arange(len(correct)) % FOLDS
    return folds


def _foretold(
    logits: Mapping[tuple[int, int], Array], folds: npt.NDArray[np.int8], correct: Array
) -> npt.NDArray[np.int8]:
    """`ReferencePool.predicted_right` of log-odds [n, m] by models that saw neither of two folds."""
    made = np.full((FOLDS + 1, *correct.shape), -1, dtype=np.int8)
    for part in range(FOLDS + 1):
        for fold in range(FOLDS):
            rows = folds == fold
            said = logits[fold if part == WHOLE else part - 1, fold][rows] >= 0
            made[part, rows] = np.where(np.isnan(correct[rows]), -1, said == (correct[rows] >= 0.5))
    return made


def _rows_of_another(pool: ReferencePool, correct: Array) -> tuple[list[Skills], dict[tuple[int, int], Array]]:
    """The skill models [p] of one more upstream on the traits of the pool, and log-odds for `_foretold`."""

    def without(part: int, *left_out: int) -> Skills:
        kept = ~np.isin(pool.folds, left_out)
        projection = pool.skill_projection[part].astype(np.float64)
        loadings, intercept = skills.fit_row(pool.vectors[kept], correct[kept, 0], projection)
        return Skills(projection, loadings[None], np.array([intercept]))

    whole, there = without(WHOLE), ~np.isnan(correct)
    models = {pair: without(pair[0] + 1, *pair).levelled(whole, pool.vectors, there) for pair in _PAIRS}
    parts = [whole, *(models[fold, fold] for fold in range(FOLDS))]
    return parts, {pair: model.logits(pool.vectors) for pair, model in models.items()}


def _texts(
    rows: Sequence[LabelledAnswer],
    upstreams: tuple[str, ...],
    place: Mapping[int, int],
    vectors: Floats,
    labels: npt.NDArray[np.int32],
    folds: npt.NDArray[np.int8],
    encoder: Encoder,
) -> tuple[Array, Array]:
    """Weights [p, m, 2 d] and intercepts [p, m] of the text models; an intercept of nan where none can be fitted."""
    weights = np.zeros((FOLDS + 1, len(upstreams), 2 * vectors.shape[1]))
    intercepts = np.full((FOLDS + 1, len(upstreams)), np.nan)
    for column, upstream in enumerate(upstreams):
        mine = [row for row in rows if row.upstream == upstream and question_key(row.question) in place]
        answers = encoder.rows([row.answer for row in mine])
        there = ~np.isnan(answers[:, 0])
        at = np.array([place[question_key(row.question)] for row in mine])[there]
        correct = np.array([row.correct for row in mine], dtype=np.float64)[there]
        if len(correct) < text_regressor.FEWEST or correct.min() == correct.max():
            continue
        both = np.hstack([vectors[at], answers[there]])
        model = text_regressor.fit(both, correct, labels[at], folds[at], FOLDS + 1)
        weights[:, column], intercepts[:, column] = model.weights, model.intercepts
    return weights, intercepts
