"""Measure confidence on the growing text: how early it tells right from wrong, and what streaming by it does.

    make bench-prefix                         the pocket model; DATA=folder adds recorded answers
    python -m tests.benchmarks.prefix [DATA] [--questions N]

The pocket model writes a word or two, so its answers are composed to make texts that grow: a question asks for two to
six facts of about equal fame, each is asked of the model by itself, and the draft states them one a sentence. The words
of the answers, their log-probabilities and whether they are right are the model's; the words around them are ours, and
count as certain. A draft is right if every sentence is. No fact stands in two questions.

Recorded answers are measured where a row holds ``tokens``, each as on the OpenAI wire ({token, logprob, top_logprobs}).
Prints tables, and writes build/bench-prefix.json and build/bench-prefix.md.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import math
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from gate.assemble import assemble
from gate.calibration.prefix import AskedAt, PrefixCalibrator
from gate.calibration.unfitted import Unfitted
from gate.effects import Generate
from gate.errors import ConfigError
from gate.gateway import Gateway
from gate.pocket.model import Answer, PocketModel
from gate.pocket.sampling import Sampling
from gate.pocket.weights import Size
from gate.pocket.world import RELATIONS, Fact, facts, unit_hash
from gate.policy import PolicyFile, Promise, read
from gate.ports import Price, Profile
from gate.prefix_watch import PrefixWatch
from gate.serving_settings import PrefixSettings
from gate.tuning.bounds import trusted
from gate.tuning.collect import collect
from gate.tuning.collection import Collection
from gate.tuning.examples import Example, Split
from gate.tuning.grade import grade
from gate.tuning.grading.exact import ExactGrader
from gate.tuning.prefix_drafts import PrefixDraft, watched
from gate.tuning.prefix_fit import FittedPrefix, fit_prefix
from gate.tuning.prefix_measures import AtShare, Exposure, at_shares, by_round, exposed
from gate.tuning.prefix_tuning import PrefixTuned, tune_prefix
from gate.tuning.sources import CollectionSource
from gate.tuning.splits import Shares
from gate.tuning.tune import tune
from gate.types import Generation, Generations, Message, Question, TokenLogprob, Usage
from tests.benchmarks.quality import markdown

ROOT = Path(__file__).parents[2]
PROMISE = 0.10
SHARES = Shares(0.35, 0.4)
FEWEST_DRAFTS = 200
NEVER = -20.0
"""Log-probability of the one alternative to a word that is ours."""
ASKED = (
    PrefixSettings(),
    PrefixSettings(positions="tokens", every=8),
    PrefixSettings(positions="entropy", entropy=0.5),
)
POLICY = """\
name: composed
promise: {max_error: PROMISE}
costs: {wrong: 1.0, abstain: 0.1}
upstreams:
  small: {kind: pocket, model: small, price: {prompt: 0.05, completion: 0.2}}
  large: {kind: pocket, model: large, price: {prompt: 0.2, completion: 0.8}}
ladder: [small, large]
tiers: [[draft]]
signals: [token_logprob_sum, token_logprob_mean, token_logprob_min, token_margin_min, token_negentropy_mean]
calibrator: composed.calibrator.json
rule: {kind: threshold, answer_at: 0.9, otherwise: [escalate]}
"""


# --- composed drafts ---------------------------------------------------------------------------------------------


@cache
def answered(size: Size, fact: Fact) -> Answer:
    model = PocketModel.load(size)
    how = Sampling(temperature=0.0, top_logprobs=5, max_tokens=24)
    return model.generate(model.encode_chat([Message("user", fact.question)]), how)[0]


def sentence(fact: Fact, answer: str) -> str:
    return fact.state(RELATIONS[fact.relation].passages[0], answer)


def composed(size: Size, asked: Sequence[Fact]) -> Generation:
    """One sentence a fact: the model's own answer among words that are ours."""
    tokens: list[TokenLogprob] = []
    for place, fact in enumerate(asked):
        said = answered(size, fact)
        before, _, behind = sentence(fact, "\0").partition(" \0")
        ours = (" " if place else "") + before
        tokens += [*map(certain, pieces(ours)), *spelled(said), *map(certain, pieces(behind))]
    return Generation("".join(token.token for token in tokens), tokens=tuple(tokens))


def pieces(text: str) -> list[str]:
    """A word and the space before it at a time."""
    words = text.split(" ")
    return [piece for piece in (words[0], *(f" {word}" for word in words[1:])) if piece.strip()]


def spelled(said: Answer) -> list[TokenLogprob]:
    """The model's tokens, beginning with a space and without what shows nothing."""
    tokens = [token for token in said.tokens or () if token.token.strip()] or [certain(" nothing")]
    first = tokens[0]
    return [replace(first, token=" " + first.token.lstrip()), *tokens[1:]]


def certain(piece: str) -> TokenLogprob:
    return TokenLogprob(piece, 0.0, ((piece, 0.0), ("\0", NEVER)))


@dataclass(frozen=True)
class Composing:
    """A pocket model that answers questions of several facts; fits `LocalUpstream`."""

    name: str
    size: Size
    price: Price
    asked: dict[str, tuple[Fact, ...]]
    profile: Profile = field(default_factory=Profile)
    kind: ClassVar[str] = "composing"

    @property
    def fingerprint(self) -> str:
        return f"composing-{self.size}"

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        made = composed(self.size, self.asked[effect.messages[-1].content])
        length = len(made.tokens or ())
        return Generations((made,) * effect.n, Usage(length, length * effect.n), self.name)


def questions(most: int | None = None) -> list[tuple[Split, tuple[Fact, ...]]]:
    """Two to six facts each, of about equal fame: who knows one is likelier to know the others."""
    rng, made = random.Random(5), list[tuple[Split, tuple[Fact, ...]]]()
    splits: dict[Split, list[Fact]] = {"fit": [], "certify": [], "test": []}
    for fact in facts():
        splits[SHARES.split(fact.key)].append(fact)  # type: ignore[index]
    for split, held in splits.items():
        held.sort(key=lambda fact: math.log1p(fact.seen_large) + rng.gauss(0, 0.5))
        groups = list(grouped(held, rng))
        rng.shuffle(groups)
        made += [(split, group) for group in groups[:most]]
    return made


def grouped(held: Sequence[Fact], rng: random.Random) -> Iterator[tuple[Fact, ...]]:
    at = 0
    while at < len(held):
        size = rng.randint(2, 6)
        yield tuple(held[at : at + size])
        at += size


# --- the pocket model --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnPocket:
    policy_answers: float
    """Share of the certify split that the policy itself, without streaming, lets through."""
    right: dict[str, float]
    """Of each upstream's drafts."""
    tuned: list[PrefixTuned]
    micros: float
    """CPU time of watching a token."""


def on_pocket(most: int | None) -> OnPocket:
    with tempfile.TemporaryDirectory() as made, Collection.create(Path(made) / "composed.db") as collection:
        file = policy_in(Path(made), PROMISE)
        collected(file, collection, questions(most))
        tuned = tune(file, CollectionSource(collection, Shares(), thresholds_only=True), bound=trusted)
        if tuned.policy is None or tuned.calibrator is None or tuned.chosen is None:
            raise ConfigError("no policy keeps the promise on the composed questions")
        gateway = assemble(replace(file, policy=tuned.policy), tuned.calibrator)
        found = [
            tune_prefix(gateway, collection, AskedAt.of(settings), file.policy.promise, trusted) for settings in ASKED
        ]
        counted = tuned.chosen.counted
        right = {name: rate(collection, name) for name in file.policy.ladder}
        texts = [composed("small", asked) for _, asked in questions(50)]
        return OnPocket(counted.answered / counted.asked, right, found, cost(found[0].fitted.calibrator, texts))


def policy_in(folder: Path, promise: float) -> PolicyFile:
    path = folder / "composed.yaml"
    path.write_text(POLICY.replace("PROMISE", str(promise)), encoding="utf-8")
    return read(path)


def collected(file: PolicyFile, collection: Collection, asked: Sequence[tuple[Split, tuple[Fact, ...]]]) -> None:
    """Every question asked of both sizes, and graded against the true statements."""
    texts = {" ".join(fact.question for fact in group): group for _, group in asked}
    made = assemble(file, Unfitted())
    sizes: dict[str, Size] = {"small": "small", "large": "large"}
    upstreams = {name: Composing(name, sizes[name], up.price, texts) for name, up in made.world.upstreams.items()}
    gateway = Gateway(made.policy, made.plan, replace(made.world, upstreams=upstreams), made.running)
    collection.add(
        Example(str(place), Question.from_text(text), (" ".join(sentence(f, f.answer) for f in group),), "", split)
        for place, ((split, group), text) in enumerate(zip(asked, texts, strict=True))
    )
    asyncio.run(collect(gateway, collection, concurrency=2))
    asyncio.run(grade(collection, ExactGrader(), gateway.world))


def rate(collection: Collection, upstream: str) -> float:
    rows = [row.correct(row.answers[f"{upstream}/closed_book"]) for row in collection.collected()]
    return statistics.fmean(bool(right) for right in rows)


def cost(calibrator: PrefixCalibrator, drafts: Sequence[Generation]) -> float:
    """Microseconds of CPU a token, when each comes by itself; the least of three rounds."""
    settings, times = PrefixSettings(release_at=0.9, stop_below=0.0), []
    for _ in range(3):
        began, n = time.process_time(), 0
        for draft in drafts:
            watch = PrefixWatch(calibrator, settings, "small/closed_book")
            for token in draft.tokens or ():
                watch.grew(token.token, (token,))
                n += 1
        times.append(1e6 * (time.process_time() - began) / n)
    return min(times)


# --- recorded answers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnRecorded:
    name: str
    fitted: FittedPrefix
    shares: Mapping[str, tuple[AtShare, ...]]
    exposure: Exposure


def on_recorded(data: Path | None) -> Iterator[OnRecorded | str]:
    """What each set of the folder shows, or why it shows nothing."""
    if data is None or not data.is_dir():
        yield "skipped: no folder of recorded answers was given (DATA=folder)"
        return
    paths = sorted([*data.glob("*.jsonl"), *data.glob("*.jsonl.gz")])
    without = []
    for path in paths:
        drafts = recorded_drafts(rows_of(path))
        if sum(map(len, drafts.values())) < FEWEST_DRAFTS:
            without.append(path.name.partition(".")[0])
            continue
        yield judged(path.name.partition(".")[0], drafts)
    if without:
        said = f"skipped, for fewer than {FEWEST_DRAFTS} labelled answers with log-probabilities by token"
        yield f"{said}: {', '.join(without)}"


def rows_of(path: Path) -> Iterator[Any]:
    raw = path.read_bytes()
    yield from map(json.loads, (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines())


def recorded_drafts(rows: Iterable[Any]) -> dict[str, list[PrefixDraft]]:
    """By split, which a question's own text decides."""
    made: dict[str, list[PrefixDraft]] = {"fit": [], "certify": [], "test": []}
    for row in rows:
        if isinstance(row, dict) and isinstance(row.get("tokens"), list) and isinstance(row.get("correct"), bool):
            asked = str(row.get("question") or row.get("id"))
            draft = PrefixDraft.of(
                Generation(str(row["answer"]), tokens=tuple(map(wire_token, row["tokens"]))),
                AskedAt.of(PrefixSettings()),
                question=unit_hash(asked, "prefix"),
                round_key=f"{row.get('model') or 'model'}/closed_book",
                right=row["correct"],
                streamed=True,
            )
            made[SHARES.split(asked)].append(draft)
    return made


def wire_token(token: Any) -> TokenLogprob:
    top = tuple((other["token"], other["logprob"]) for other in token.get("top_logprobs") or ())
    return TokenLogprob(token["token"], token["logprob"], top)


def judged(name: str, drafts: dict[str, list[PrefixDraft]]) -> OnRecorded:
    promise = Promise(max_error=PROMISE)
    fitted = fit_prefix(drafts["fit"], drafts["certify"], AskedAt.of(PrefixSettings()), promise, trusted)
    seen = watched(drafts["test"], fitted.calibrator)
    shares = {key: at_shares(of, fitted.release_at, fitted.stop_below) for key, of in by_round(seen).items()}
    return OnRecorded(name, fitted, shares, exposed(seen, fitted.release_at, fitted.stop_below, trusted))


# --- the page ----------------------------------------------------------------------------------------------------

HEAD = (
    "asked", "drafts of", "written", "drafts", "AUROC", "ECE", "AUROC, hindsight", "ECE, hindsight", "something sent",
    "wrong stopped",
)  # fmt: skip
SHOWN = (
    "asked", "release_at", "stop_below", "questions", "something sent", "wrong of these", "95 % upper bound",
    "right text sent early", "doomed tokens saved", "right stopped",
)  # fmt: skip


def page(found: OnPocket) -> str:
    right = ", ".join(f"{name} {share:.0%}" for name, share in found.right.items())
    tuned = [(str(one.fitted.calibrator.asked_at), one.fitted, one.shares, one.exposure) for one in found.tuned]
    return (
        f"Composed answers of the pocket model; right: {right}. The policy (promise {PROMISE:.0%}) lets "
        f"{found.policy_answers:.0%} through. Judged on {found.tuned[0].split} questions, which fitted nothing.\n\n"
        + tables(tuned)
        + f"\nWatching costs {found.micros:.0f} us of CPU a token.\n"
    )


def tables(found: Sequence[tuple[str, FittedPrefix, Mapping[str, Sequence[AtShare]], Exposure]]) -> str:
    early = [at_row(name, key, at) for name, _, shares, _ in found for key, of in shares.items() for at in of]
    shown = [
        ("hold", "-", "-", str(found[0][3].questions), "0", "0", "-", "0.0%", "0.0%", "0 of " + str(found[0][3].right))
    ]
    shown += [shown_row(name, fitted, exposure) for name, fitted, _, exposure in found]
    return markdown(HEAD, early) + "\n" + markdown(SHOWN, shown)


def at_row(name: str, key: str, at: AtShare) -> tuple[str, ...]:
    numbers = (at.auroc, at.ece, at.auroc_backward, at.ece_backward)
    told = ("-" if number is None else f"{number:.3f}" for number in numbers)
    return (name, key.partition("/")[0], f"{at.share:.0%}", str(at.n), *told, f"{at.released:.1%}", f"{at.stopped:.1%}")


def shown_row(name: str, fitted: FittedPrefix, found: Exposure) -> tuple[str, ...]:
    share = found.wrong / max(1, found.released)
    return (
        name,
        f"{fitted.release_at:g}",
        f"{fitted.stop_below:g}",
        str(found.questions),
        f"{found.released} ({found.released / max(1, found.questions):.1%})",
        f"{found.wrong} ({share:.1%})",
        "-" if found.bound is None else f"{found.bound:.1%}",
        f"{found.sent:.1%}",
        f"{found.saved_share:.1%}",
        f"{found.right_stopped} of {found.right}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="a folder of recorded answers")
    parser.add_argument("--questions", type=int, help="of each split of the pocket world, to try it out")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    given = parser.parse_args()
    began = time.monotonic()
    pocket = on_pocket(given.questions)
    parts = [f"### Pocket model\n\n{page(pocket)}"]
    kept: dict[str, Any] = {"pocket": [plain(one.fitted, one.shares, one.exposure) for one in pocket.tuned]}
    kept |= {"micros_a_token": pocket.micros, "right": pocket.right, "policy_answers": pocket.policy_answers}
    for one in on_recorded(given.data):
        if isinstance(one, str):
            parts.append(f"### Recorded answers\n\n{one}\n")
        else:
            parts.append(f"### {one.name}\n\n{tables([(one.name, one.fitted, one.shares, one.exposure)])}")
            kept[one.name] = plain(one.fitted, one.shares, one.exposure)
    text = "\n".join(parts)
    print(f"[{time.monotonic() - began:.0f} s]\n{text}", flush=True)
    given.out.mkdir(exist_ok=True)
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    (given.out / "bench-prefix.json").write_text(json.dumps(about | kept, indent=1) + "\n", encoding="utf-8")
    (given.out / "bench-prefix.md").write_text(text, encoding="utf-8")


def plain(fitted: FittedPrefix, shares: Mapping[str, Sequence[AtShare]], exposure: Exposure) -> dict[str, Any]:
    shown = fitted.calibrator.shown
    return {
        "asked_at": fitted.calibrator.asked_at.model_dump(exclude_none=True),
        "newest": fitted.calibrator.newest,
        "shown": shown.model_dump() if shown else None,
        "shares": {key: [asdict(at) for at in of] for key, of in shares.items()},
        "exposure": {**asdict(exposure), "saved_share": exposure.saved_share},
    }


if __name__ == "__main__":
    main()
