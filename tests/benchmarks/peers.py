"""Score rows with the scorers of uqlm and lm-polygraph that need no download. Run by `peer_environment`, in its Python.

    build/peers/bin/python tests/benchmarks/peers.py rows.jsonl scores.jsonl
    build/peers/bin/python tests/benchmarks/peers.py --about

A row to be scored is a line of JSON::

    {"id": …, "question": "…", "answer": "…", "samples": ["…", …], "sample_logprobs": […] | null,
     "answer_logprobs": […] | null}

``sample_logprobs`` holds for each sample its log-probability, whole (a number) or token by token (a list);
``answer_logprobs``, which may be left out, those of the answer's tokens. A scored row::

    {"id": …, "scores": {"uqlm.exact_match": 0.9, …}, "cpu_seconds": {…}, "skipped": {"uqlm.min_probability": "why", …}}

Scores are oriented: higher = more likely correct. uqlm's are so already; lm-polygraph measures uncertainty, and each of
its numbers has its sign flipped here, which `--about` also says. CPU seconds are those of the whole process around the
one call of the library's own class, each of which was run on the first rows before; `peer_environment` holds numpy to
one thread, for a pool of them would count as CPU time and gain nothing.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lm_polygraph.estimators import (
    DegMat,
    Eccentricity,
    EigValLaplacian,
    LexicalSimilarity,
    MaximumSequenceProbability,
    MonteCarloNormalizedSequenceEntropy,
    MonteCarloSequenceEntropy,
    Perplexity,
)
from uqlm.black_box import match
from uqlm.white_box import SampledLogprobsScorer, SingleLogprobsScorer

WARM_UP = 3
Row = Mapping[str, Any]
Score = Callable[[Row], float]


@dataclass(frozen=True)
class Scorer:
    """One number of a library."""

    name: str
    score: Score
    lacks: Callable[[Row], str]
    """What a row must hold and does not; nothing when it can be scored."""
    flipped: bool
    """Whether the library's own number is an uncertainty."""


# --- what a row holds --------------------------------------------------------------------------------------------


def few_samples(least: int) -> Callable[[Row], str]:
    return lambda row: "" if len(row["samples"]) >= least else f"needs at least {least} sample{'s' * (least > 1)}"


def no_answer_tokens(row: Row) -> str:
    return "" if row.get("answer_logprobs") else "needs answer_logprobs"


def no_sample_logprobs(row: Row) -> str:
    """A list without tokens says nothing of its sample: its sum would be a probability of 1."""
    given = row.get("sample_logprobs") or []
    told = [one for one in given if one != [] and one is not None]
    return "" if told and len(told) == len(row["samples"]) else "needs sample_logprobs of every sample"


def no_sample_tokens(row: Row) -> str:
    by_token = all(isinstance(one, list) for one in row.get("sample_logprobs") or [])
    return no_sample_logprobs(row) or ("" if by_token else "needs sample_logprobs token by token")


def no_tokens_at_all(row: Row) -> str:
    return no_answer_tokens(row) or no_sample_tokens(row)


# --- uqlm: confidence, as it is ----------------------------------------------------------------------------------

# evaluate() sleeps for a tenth of a second so that its progress bar can be seen; here there is none
match.time = SimpleNamespace(sleep=lambda seconds: None)


def as_tokens(logprobs: list[float]) -> list[dict[str, Any]]:
    """The shape in which chat models give log-probabilities, which uqlm reads."""
    return [{"token": "", "logprob": value} for value in logprobs]


def uqlm_scorers() -> Iterator[Scorer]:
    exact = match.MatchScorer()
    yield Scorer(
        "uqlm.exact_match",
        lambda row: exact.evaluate(responses=[row["answer"]], sampled_responses=[row["samples"]])[0],
        few_samples(1),
        flipped=False,
    )
    for name, scorer, normalized in (
        ("uqlm.min_probability", "min_probability", True),
        ("uqlm.sequence_probability", "sequence_probability", False),
        ("uqlm.normalized_probability", "sequence_probability", True),
    ):
        single = SingleLogprobsScorer([scorer], length_normalize=normalized)
        yield Scorer(
            name,
            lambda row, single=single, scorer=scorer: single.evaluate([as_tokens(row["answer_logprobs"])])[scorer][0],
            no_answer_tokens,
            flipped=False,
        )
    sampled = SampledLogprobsScorer(["monte_carlo_probability"])
    yield Scorer(
        "uqlm.monte_carlo_probability",
        lambda row: sampled.evaluate(
            responses=[row["answer"]],
            sampled_responses=[row["samples"]],
            logprobs_results=[as_tokens(row["answer_logprobs"])],
            sampled_logprobs_results=[[as_tokens(one) for one in row["sample_logprobs"]]],
        )["monte_carlo_probability"][0],
        no_tokens_at_all,
        flipped=False,
    )


# --- lm-polygraph: uncertainty, with the sign flipped ------------------------------------------------------------


def estimated(
    name: str, estimator: Any, stats: Callable[[Row], Mapping[str, Any]], lacks: Callable[[Row], str]
) -> Scorer:
    return Scorer(name, lambda row: -estimator(stats(row))[0], lacks, flipped=True)


def polygraph_scorers() -> Iterator[Scorer]:
    def texts(row: Row) -> Mapping[str, Any]:
        return {"sample_texts": [row["samples"]]}

    def sampled(row: Row) -> Mapping[str, Any]:
        given = row["sample_logprobs"]
        whole = [math.fsum(one) if isinstance(one, list) else one for one in given]
        tokens = [list(range(len(one))) if isinstance(one, list) else [0] for one in given]
        return {"sample_log_probs": [whole], "sample_tokens": [tokens]}

    def greedy(row: Row) -> Mapping[str, Any]:
        return {"greedy_log_likelihoods": [row["answer_logprobs"]]}

    for metric in ("rouge1", "rouge2", "rougeL", "BLEU"):
        name = f"lm_polygraph.lexical_similarity_{metric}"
        yield estimated(name, LexicalSimilarity(metric), texts, few_samples(2))
    for name, kind in (("eig_val_laplacian", EigValLaplacian), ("deg_mat", DegMat), ("eccentricity", Eccentricity)):
        yield estimated(f"lm_polygraph.{name}_jaccard", kind(similarity_score="Jaccard_score"), texts, few_samples(2))
    for name, estimator, stats, lacks in (
        ("monte_carlo_sequence_entropy", MonteCarloSequenceEntropy(), sampled, no_sample_logprobs),
        ("monte_carlo_normalized_sequence_entropy", MonteCarloNormalizedSequenceEntropy(), sampled, no_sample_tokens),
        ("maximum_sequence_probability", MaximumSequenceProbability(), greedy, no_answer_tokens),
        ("perplexity", Perplexity(), greedy, no_answer_tokens),
    ):
        yield estimated(f"lm_polygraph.{name}", estimator, stats, lacks)


SCORERS = (*uqlm_scorers(), *polygraph_scorers())

CANNOT_RUN = {
    "needs a download: an NLI model": (
        "uqlm.semantic_negentropy",
        "uqlm.semantic_sets_confidence",
        "uqlm.semantic_density",
        "uqlm.entailment",
        "uqlm.noncontradiction",
        "lm_polygraph.SemanticEntropy",
        "lm_polygraph.NumSemSets",
        "lm_polygraph.LabelProb",
        "lm_polygraph.SemanticDensity",
        "lm_polygraph.KernelLanguageEntropy",
        "lm_polygraph.LUQ",
        "lm_polygraph.EigValLaplacian(NLI_score)",
        "lm_polygraph.DegMat(NLI_score)",
        "lm_polygraph.Eccentricity(NLI_score)",
        "lm_polygraph.ClaimConditionedProbability",
    ),
    "needs a download: an embedding or similarity model": (
        "uqlm.cosine_sim",
        "uqlm.bert_score",
        "uqlm.consistency_and_confidence",
        "lm_polygraph.SAR",
        "lm_polygraph.SentenceSAR",
        "lm_polygraph.TokenSAR",
        "lm_polygraph.CocoaMSP",
        "lm_polygraph.CocoaPPL",
        "lm_polygraph.CocoaMTE",
    ),
    "needs alternatives or the whole distribution at each token, which no row holds": (
        "uqlm.min_token_negentropy",
        "uqlm.mean_token_negentropy",
        "uqlm.probability_margin",
        "lm_polygraph.MeanTokenEntropy",
        "lm_polygraph.SelfCertainty",
        "lm_polygraph.FisherRao",
        "lm_polygraph.RenyiNeg",
        "lm_polygraph.BoostedProbSequence",
    ),
    "needs the model itself: more calls, hidden states or attention": (
        "uqlm.p_true",
        "uqlm.LLMPanel",
        "lm_polygraph.PTrue",
        "lm_polygraph.PTrueSampling",
        "lm_polygraph.PTrueEmpirical",
        "lm_polygraph.Verbalized1S",
        "lm_polygraph.Verbalized2S",
        "lm_polygraph.EigenScore",
        "lm_polygraph.RAUQ",
        "lm_polygraph.CSL",
        "lm_polygraph.Focus",
        "lm_polygraph.AttentionScore",
        "lm_polygraph.MahalanobisDistanceSeq",
        "lm_polygraph.RDESeq",
        "lm_polygraph.MeanPointwiseMutualInformation",
    ),
    "needs a package that comes from no index": ("uqlm.code_bleu",),
}


# --- running -----------------------------------------------------------------------------------------------------


def scored(row: Row) -> dict[str, Any]:
    made: dict[str, Any] = {"id": row["id"], "scores": {}, "cpu_seconds": {}, "skipped": {}}
    for scorer in SCORERS:
        why = scorer.lacks(row)
        if not why:
            began = time.process_time()
            value = float(scorer.score(row))
            seconds = time.process_time() - began
            why = "" if math.isfinite(value) else f"gave {value}"
        if why:
            made["skipped"][scorer.name] = why
        else:
            made["scores"][scorer.name] = value
            made["cpu_seconds"][scorer.name] = seconds
    return made


def about() -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in ("uqlm", "lm-polygraph", "torch", "numpy", "rouge-score", "nltk")},
        "scorers": {scorer.name: {"sign_flipped": scorer.flipped} for scorer in SCORERS},
        "cannot_run": {name: why for why, names in CANNOT_RUN.items() for name in names},
    }


def main(arguments: list[str]) -> None:
    if arguments == ["--about"]:
        print(json.dumps(about(), indent=1))
        return
    warnings.simplefilter("ignore")  # BLEU warns of every short answer; showing that would be counted too
    rows = [json.loads(line) for line in Path(arguments[0]).read_text(encoding="utf-8").splitlines() if line.strip()]
    for row in rows[:WARM_UP]:
        scored(row)
    with Path(arguments[1]).open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(scored(row)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
