"""Tune and certify the shipped policies on the pocket world.

    python examples/pocket/tune.py [policy ...]          (needs: pip install '.[tune]'; some ten minutes for all)

What 'gate collect', 'gate grade' and 'gate tune' do for a file of questions, done here for the facts of the world,
which come with their splits: the fit split teaches, the certify split, which taught nothing, certifies. The test split
is not touched: tests/benchmarks measures on it. Policies are tuned as they are: only thresholds are searched.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from gate.assemble import assemble
from gate.calibration.unfitted import Unfitted
from gate.pocket.world import facts
from gate.policy import find, read
from gate.tuning.bounds import trusted
from gate.tuning.collect import collect
from gate.tuning.collection import Collection
from gate.tuning.examples import Example
from gate.tuning.grade import grade
from gate.tuning.grading.exact import ExactGrader
from gate.tuning.sources import CollectionSource
from gate.tuning.splits import Shares
from gate.tuning.tune import tune
from gate.tuning.tuned_files import Paths, write
from gate.types import Question

POLICIES = ("balanced", "strict", "cost-saver", "rag", "agents")
SEGMENT = "questions about the pocket world, certify split"


def examples() -> list[Example]:
    """The facts of the two splits that policies are made of."""
    return [
        Example(fact.key, Question.from_text(fact.question), (fact.answer,), fact.relation, fact.split)
        for fact in facts()
        if fact.split in ("fit", "certify")
    ]


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for name in sys.argv[1:] or POLICIES:
            file = read(find(name), certificate=False)
            gateway = assemble(file, Unfitted())
            collection = stack.enter_context(Collection.create(folder / f"{name}.collection"))
            collection.add(examples())
            asyncio.run(collect(gateway, collection))
            asyncio.run(grade(collection, ExactGrader(), gateway.world))
            paths = Paths(file.path)
            tuned = tune(
                file,
                CollectionSource(collection, Shares(), thresholds_only=True),
                bound=trusted,
                labels="all by exact match",
                segment=SEGMENT,
                calibrator=paths.calibrator.name,
            )
            if tuned.policy is None or tuned.policy.certificate is None:
                print(f"{name}: no policy keeps the promise; the best bound is {tuned.best_bound:.4f}", file=sys.stderr)
                sys.exit(1)
            write(tuned, file, paths, overwrite=True)
            paths.record.unlink()  # for reports on one's own policies; nothing that ships needs it
            held = tuned.policy.certificate
            print(
                f"{name}: {held.errors} of {held.answered} answers were wrong: by itself at most {held.bound:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
