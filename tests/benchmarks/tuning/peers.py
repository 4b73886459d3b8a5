"""What other libraries make of the same signals and labels. Run by `calibration` in the Python of the peers.

    build/peers/bin/python tests/benchmarks/tuning/peers.py given.npz said.npz

``given.npz`` holds for set i and re-split j: ``values_i`` [n, k], nan where missing, ``right_i`` [n], ``train_i_j`` and
``test_i_j``, places in them. ``said.npz`` holds ``i|j|method``: p of the test answers, and as ``lacking`` a line for
each library that could not be had. All get missing values as the median of the training answers.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

UQLM_RESPLITS = 3
"""Its search of weights takes seconds: it is run on the first re-splits only."""
Fit = Callable[[Any, Any, Any], Any]
"""Of training signals [m, k], training labels [m] and test signals [n, k], p of the test answers [n]."""


def filled(values: Any, train: Any, test: Any) -> tuple[Any, Any]:
    """Signals with medians where they are missing; a signal that no training answer has is left out."""
    some = ~np.isnan(values[train]).all(0)
    middle = np.nanmedian(values[train][:, some], axis=0)
    return tuple(np.where(np.isnan(part), middle, part) for part in (values[train][:, some], values[test][:, some]))


def scaled(seen: Any, unseen: Any) -> tuple[Any, Any]:
    """To [0, 1] by the range of the training answers; what goes beyond is cut off."""
    low, high = seen.min(0), seen.max(0)
    width = np.where(high > low, high - low, 1.0)
    return tuple(np.clip((part - low) / width, 0.0, 1.0) for part in (seen, unseen))


# --- methods -----------------------------------------------------------------------------------------------------


def scikit_learn() -> dict[str, Fit]:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def of(method: str) -> Fit:
        def fit(seen: Any, right: Any, unseen: Any) -> Any:
            folds = int(min(5, right.sum(), (~right).sum()))
            one = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            if folds < 2:
                return np.full(len(unseen), right.mean())
            return CalibratedClassifierCV(one, method=method, cv=folds).fit(seen, right).predict_proba(unseen)[:, 1]

        return fit

    return {f"scikit-learn, {method}": of(method) for method in ("sigmoid", "isotonic")}


def uqlm() -> dict[str, Fit]:
    from uqlm.utils.tuner import Tuner

    def of(objective: str) -> Fit:
        def fit(seen: Any, right: Any, unseen: Any) -> Any:
            one, other = scaled(seen, unseen)
            if one.shape[1] < 2:
                return other[:, 0]
            weights = Tuner().tune_params(list(one.T), list(right), weights_objective=objective)["weights"]
            return np.clip(other @ np.array(weights), 0.0, 1.0)

        return fit

    return {"uqlm, tuned for AUROC": of("roc_auc"), "uqlm, tuned for Brier": of("brier_score")}


def netcal() -> dict[str, Fit]:
    from netcal.binning import BBQ, IsotonicRegression
    from netcal.scaling import BetaCalibration, TemperatureScaling
    from sklearn.metrics import roc_auc_score

    def of(method: Callable[[], Any]) -> Fit:
        def fit(seen: Any, right: Any, unseen: Any) -> Any:
            best = int(np.argmax([roc_auc_score(right, column) for column in seen.T]))
            one, other = scaled(seen[:, best], unseen[:, best])
            calibrator = method()
            calibrator.fit(one, right.astype(int))
            return np.clip(np.asarray(calibrator.transform(other)).ravel(), 0.0, 1.0)

        return fit

    kinds = {"temperature": TemperatureScaling, "beta": BetaCalibration, "isotonic": IsotonicRegression, "BBQ": BBQ}
    return {f"netcal, {name} of the best signal": of(kind) for name, kind in kinds.items()}


LIBRARIES = {"scikit-learn": scikit_learn, "uqlm": uqlm, "netcal": netcal}


# --- running -----------------------------------------------------------------------------------------------------


def methods() -> tuple[dict[str, Fit], list[str]]:
    found: dict[str, Fit] = {}
    lacking = []
    for name, of in LIBRARIES.items():
        try:
            found |= of()
        except ImportError as error:
            lacking.append(f"{name} could not be had: {error}")
    return found, lacking


def said(given: Any) -> Iterator[tuple[str, Any]]:
    known, lacking = methods()
    yield "lacking", np.array(lacking, dtype=str)
    for key in given.files:
        kind, _, place = key.partition("_")
        if kind != "train":
            continue
        one, split = place.split("_")
        train, right = given[key], given[f"right_{one}"]
        seen, unseen = filled(given[f"values_{one}"].astype(np.float64), train, given[f"test_{place}"])
        for name, fit in known.items():
            if name.startswith("uqlm") and int(split) % 1000 >= UQLM_RESPLITS:
                continue
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                try:
                    p = fit(seen, right[train], unseen)
                except (ValueError, np.linalg.LinAlgError, RuntimeError):
                    p = np.full(len(unseen), np.nan)
            yield f"{one}|{split}|{name}", np.asarray(p, dtype=np.float32)


def main(given: str, to: str) -> None:
    warnings.simplefilter("ignore")
    with np.load(given) as arrays:
        np.savez(to, **dict(said(arrays)))


if __name__ == "__main__":
    main(*sys.argv[1:])
