"""Measure what is found by words, by vectors and by both, and how fast.

    python -m tests.benchmarks.routing.retrieval [--passages N] [--half choose|report]

Sets: questions of the pocket world, asked for the passage that states their fact, and hand-made queries that ask for
something by name, by number and in other words (`passages.jsonl`, `queries.jsonl`). Every other hand-made query and
question was there to choose weights by; what is reported is of the rest. Then an index of many passages: how long it
takes to make, and to search.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.embedders import HashedNgrams
from gate.pocket import world
from gate.retrieval import IndexRetriever
from gate.retrieval.folders import listed
from gate.retrieval.index import IndexOptions
from gate.retrieval.index_file import EmbedderRecord, IndexFile
from gate.retrieval.indexing import Indexed, brought_up_to_date
from tests.benchmarks.quality import markdown

HERE = Path(__file__).parent
K = 10
MANY = 100_000
AIMS = {"behind": 0.01, "seconds": 300.0, "p95": 20.0}
"""How far hybrid may be behind the better of both; to index MANY passages; of a query, in ms."""
WAYS: Mapping[str, Mapping[str, Any]] = {"BM25": {"vectors": False}, "dense": {"lexical": 0.0}, "hybrid": {}}


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and the ids of the passages that answer it."""

    kind: str
    text: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over the queries of a set."""

    set: str
    way: str
    n: int
    ndcg: float
    recall: float


def ndcg(found: Sequence[str], relevant: frozenset[str], k: int = K) -> float:
    """Normalised discounted cumulative gain with gains of 0 and 1: sum of 1 / log2(1 + rank), by the best there is."""
    gained = sum(1 / math.log2(1 + rank) for rank, id_ in enumerate(found[:k], 1) if id_ in relevant)
    return gained / sum(1 / math.log2(1 + rank) for rank in range(1, min(k, len(relevant)) + 1))


def recall(found: Sequence[str], relevant: frozenset[str], k: int = K) -> float:
    return len(relevant & set(found[:k])) / len(relevant)


def indexed(file: Path, to: Path, *, vectors: bool = True) -> Indexed:
    embedder = HashedNgrams("mine")
    with IndexFile.open(to) as index:
        index.choose(EmbedderRecord(embedder.kind, {}, embedder.fingerprint) if vectors else None)
        embed = embedder.embed if vectors else None
        return brought_up_to_date(index, listed([file]), embed, max_bytes=64_000_000, advance=lambda: None)


def pocket(folder: Path) -> tuple[Path, list[Query]]:
    """The passages of the world, and its test questions that one of them answers, in the facts' order."""
    file = folder / "pocket.jsonl"
    rows = ({"id": key, "text": text} for key, text in world.passages())
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    facts = [fact for fact in world.facts_of("test") if fact.has_passage]
    return file, [Query("pocket world", fact.question, frozenset({fact.key})) for fact in facts]


def hand_made() -> tuple[Path, list[Query]]:
    rows = map(json.loads, (HERE / "queries.jsonl").read_text(encoding="utf-8").splitlines())
    return HERE / "passages.jsonl", [Query(r["kind"], r["query"], frozenset(r["relevant"])) for r in rows]


def halves(queries: Sequence[Query], half: str) -> list[Query]:
    """Every other query of each kind: those to choose by, or those to report."""
    kinds = dict.fromkeys(query.kind for query in queries)
    start = {"choose": 0, "report": 1}[half]
    return [query for kind in kinds for query in [q for q in queries if q.kind == kind][start::2]]


def qualities(folder: Path, half: str) -> Iterator[Quality]:
    for file, queries in (pocket(folder), hand_made()):
        chosen = halves(queries, half)
        for way, settings in WAYS.items():
            options = dict(settings)
            vectors = options.pop("vectors", True)
            to = folder / f"{file.stem}-{'dense' if vectors else 'words'}.index"
            if not to.exists():
                indexed(file, to, vectors=vectors)
            retriever = IndexRetriever("mine", IndexOptions(path=str(to), **options))
            for kind in dict.fromkeys(query.kind for query in chosen):
                asked = [query for query in chosen if query.kind == kind]
                found = [[passage.id for passage in retriever.search(query.text, K)] for query in asked]
                pairs = list(zip(found, (query.relevant for query in asked), strict=True))
                mean = [sum(measure(*pair) for pair in pairs) / len(pairs) for measure in (ndcg, recall)]
                yield Quality(kind, way, len(asked), *mean)
            retriever.close()


# --- many --------------------------------------------------------------------------------------------------------

_SYLLABLES = "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu bran cest dol fenn gral hurst".split()  # noqa: SIM905


def many(count: int, seed: int = 7) -> Iterator[tuple[str, str]]:
    """Passages with the words of real text: those of the pocket world and the hand-made ones, put together anew with
    invented names, some 60 words each. Words come about as often as in English: few of them everywhere, most seldom."""
    rng = random.Random(seed)
    facts = [text for _, text in world.passages()]
    hand = [json.loads(line)["text"] for line in (HERE / "passages.jsonl").read_text(encoding="utf-8").splitlines()]
    names = ["".join(rng.choices(_SYLLABLES, k=3)).capitalize() for _ in range(20_000)]
    for number in range(count):
        parts = rng.sample(hand, 1)[0].split(". ")
        name, other = rng.choice(names), names[min(len(names) - 1, int(rng.paretovariate(0.7)))]
        said = f"{name} {number % 9973} is named after {other}."
        yield (
            f"many-{number}",
            f"{said} {rng.choice(facts)} {'. '.join(rng.sample(parts, len(parts)))} {rng.choice(facts)}",
        )


def scale(folder: Path, count: int, searches: int = 400) -> dict[str, float]:
    """Seconds to index so many passages, and milliseconds of a query: p50, p95, worst."""
    file, to = folder / "many.jsonl", folder / "many.index"
    with file.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps({"id": id_, "text": text}) + "\n" for id_, text in many(count))
    began = time.perf_counter()
    done = indexed(file, to)
    seconds = time.perf_counter() - began
    retriever = IndexRetriever("mine", IndexOptions(path=str(to)))
    asked = [query.text for queries in (pocket(folder)[1], hand_made()[1]) for query in halves(queries, "report")]
    asked = random.Random(1).sample(asked, min(searches, len(asked)))
    began = time.perf_counter()
    retriever.search(asked[0], K)
    first = time.perf_counter() - began
    took = []
    for text in asked:
        began = time.perf_counter()
        retriever.search(text, K)
        took.append(1000 * (time.perf_counter() - began))
    took.sort()
    return {
        "passages": done.passages,
        "seconds": seconds,
        "megabytes": to.stat().st_size / 1e6,
        "first_ms": 1000 * first,
        "p50": took[len(took) // 2],
        "p95": took[int(0.95 * len(took))],
        "worst": took[-1],
    }


# --- said --------------------------------------------------------------------------------------------------------


def behind(found: Sequence[Quality]) -> dict[str, float]:
    """By how much hybrid is behind the better of both, by set: the larger of nDCG and recall. Negative: ahead."""
    by = {(each.set, each.way): each for each in found}
    return {
        name: max(
            max(getattr(by[name, way], measure) for way in ("BM25", "dense")) - getattr(by[name, "hybrid"], measure)
            for measure in ("ndcg", "recall")
        )
        for name in dict.fromkeys(each.set for each in found)
    }


def verdict(aim: str, met: bool, saw: str) -> str:
    return f"Aim: {aim}. **{'Met' if met else 'Not met'}**: {saw}.\n"


def of_quality(found: Sequence[Quality]) -> str:
    by = {(each.set, each.way): each for each in found}
    rows = [
        (name, str(by[name, "BM25"].n), *(f"{by[name, way].ndcg:.3f} / {by[name, way].recall:.3f}" for way in WAYS))
        for name in dict.fromkeys(each.set for each in found)
    ]
    worst = max(behind(found).items(), key=lambda pair: pair[1])
    table = markdown(("queries", "n", *(f"{way}: nDCG@{K} / recall@{K}" for way in WAYS)), rows)
    aim = f"hybrid never behind the better of both by more than {AIMS['behind']}"
    return f"{table}\n{verdict(aim, worst[1] <= AIMS['behind'], f'at worst {worst[1]:+.3f} ({worst[0]})')}"


def of_scale(found: Mapping[str, float]) -> str:
    said = f"{found['seconds']:.0f} s for {found['passages']:.0f} ({found['megabytes']:.0f} MB)"
    text = verdict(f"{MANY} passages indexed in {AIMS['seconds']:.0f} s", found["seconds"] <= AIMS["seconds"], said)
    said = f"p50 {found['p50']:.1f} ms, p95 {found['p95']:.1f} ms, worst {found['worst']:.1f} ms"
    return text + verdict(f"query p95 under {AIMS['p95']:.0f} ms", found["p95"] < AIMS["p95"], said)


def measured(*, passages: int = MANY, half: str = "report") -> dict[str, Any]:
    """All of it, with the page that says it."""
    with tempfile.TemporaryDirectory() as folder:
        quality = list(qualities(Path(folder), half))
        sized = scale(Path(folder), passages) if passages else {}
    rows = [{"set": q.set, "way": q.way, "n": q.n, "ndcg": q.ndcg, "recall": q.recall} for q in quality]
    page = of_quality(quality) + (of_scale(sized) if sized else "")
    return {"quality": rows, "behind": behind(quality), "scale": sized, "page": page}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--passages", type=int, default=MANY, help="0 leaves the large index out")
    parser.add_argument("--half", choices=("choose", "report"), default="report", help="which queries")
    asked = parser.parse_args()
    print(measured(passages=asked.passages, half=asked.half)["page"])


if __name__ == "__main__":
    main()
