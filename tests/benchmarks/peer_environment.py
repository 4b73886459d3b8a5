"""An environment of its own for the libraries gate is measured against, and scoring rows in it.

    python -m tests.benchmarks.peer_environment                            install, say where it is and what it took
    python -m tests.benchmarks.peer_environment rows.jsonl scores.jsonl    and score a file in it

It lies in ``build/peers``, is made once and used again. The two libraries cannot be installed side by side as they ask:
lm-polygraph wants packages that come as source only and that none of its scorers needs. It is therefore installed
without what it asks for, and the packages its scorers do import are listed here; of rouge-score the latest release that
comes as a wheel is taken, which lm-polygraph allows. A newer pyarrow than the one listed needs numpy 2, which uqlm does
not allow on this side of Python 3.13. PyTorch comes first, by its bare version, so that whatever build the package
index has for this machine is taken before anything else can ask for another.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "peers"
SCRIPT = Path(__file__).with_name("peers.py")
TORCH = "torch==2.13.0"
WITH_ALL_THEY_ASK_FOR = (
    "uqlm==0.6.7",
    "pyarrow<22",
    "boostedprob",
    "diskcache",
    "nltk>=3.7,<4",
    "omegaconf",
    "openai>=1.52",
    "rouge-score",
    "sacrebleu",
    "spacy>=3.4",
)
ALONE = ("lm-polygraph==0.7.0",)
ONLY_BINARY = ("--only-binary", ":all:")
IF_TO_BE_HAD = (
    (*ONLY_BINARY, TORCH, "numpy<2", "scikit-learn", "gpytorch", "pyro-ppl", "matplotlib", "tensorboard"),
    (*ONLY_BINARY, "--no-deps", "netcal==1.4.0"),
)
"""Without these, `tests.benchmarks.tuning` says what could not be had. netcal asks for numpy 2, which uqlm does not
allow here, and runs without."""
STEPS = (
    (TORCH,),
    (*ONLY_BINARY, TORCH, *WITH_ALL_THEY_ASK_FOR),
    (*ONLY_BINARY, "--no-deps", *ALONE),
)
EVERY_STEP = (*STEPS, *IF_TO_BE_HAD)


class CannotInstall(Exception):
    """The environment could not be made; the message holds the last lines of pip."""


def prepare(folder: Path = FOLDER, steps: Sequence[Sequence[str]] = EVERY_STEP) -> Path:
    """The environment's Python, installed first, step by step, where it is not there yet. Raises `CannotInstall`."""
    python = folder / "bin" / "python"
    if python.is_file() and installed(folder).get("asked") == [list(step) for step in steps]:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    venv.create(folder, with_pip=True)
    for step in steps:
        # no-compile: bytecode of what is never imported would be a fifth of it all
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", *step]
        made = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
        if made.returncode and step not in IF_TO_BE_HAD:
            raise CannotInstall(f"{' '.join(step)}: " + " / ".join(made.stderr.strip().splitlines()[-3:]))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    note = {"asked": steps, "seconds": round(time.monotonic() - began, 1), "megabytes": round(size / 1e6)}
    (folder / "installed.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return python


def installed(folder: Path = FOLDER) -> dict[str, Any]:
    """What was asked for when the environment was made, the seconds that took and its size; empty when not made."""
    try:
        note = json.loads((folder / "installed.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def score_file(rows: Path, scores: Path, folder: Path = FOLDER) -> None:
    """Run `tests/benchmarks/peers.py` on a file. Its own words go to this process's standard error."""
    run(SCRIPT, rows, scores, folder=folder)


def run(script: Path, *arguments: Path, folder: Path = FOLDER) -> None:
    """Run a script of this folder in the environment's Python."""
    command = [str(prepare(folder)), "-P", str(script), *map(str, arguments)]
    subprocess.run(command, env=_environment(), stdout=sys.stderr, check=True)


def score(rows: Iterable[Mapping[str, Any]], folder: Path = FOLDER) -> list[dict[str, Any]]:
    """What the peers make of the rows, in order. For the fields of both, see `tests/benchmarks/peers.py`."""
    with tempfile.TemporaryDirectory() as scratch:
        asked, given = Path(scratch) / "rows.jsonl", Path(scratch) / "scores.jsonl"
        asked.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        score_file(asked, given, folder)
        return [json.loads(line) for line in given.read_text(encoding="utf-8").splitlines()]


def about(folder: Path = FOLDER) -> dict[str, Any]:
    """Versions, scorers with their orientation, and the scorers that cannot run with the reason."""
    command = [str(prepare(folder)), str(SCRIPT), "--about"]
    return dict(json.loads(subprocess.run(command, env=_environment(), capture_output=True, check=True).stdout))


def _environment() -> dict[str, str]:
    """This process's, without what points Python at gate's own packages; the hub is not to be asked for anything."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **one_thread, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def main(arguments: list[str]) -> None:
    python = prepare()
    print(python, json.dumps({**installed(), "asked": None}))
    if arguments:
        score_file(Path(arguments[0]), Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
