"""Writes scikit-learn's numbers for test/statistics/calibration.test.ts: isotonic regression, Platt's curve, log loss, calibration error.

    python test/clients/calibration/make_gold.py > test/statistics/sklearn-calibration.json

Needs scikit-learn (made with 1.9.1).
"""
import json
import sys

import numpy as np
import sklearn
from sklearn.calibration import _sigmoid_calibration, calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss


def case(name, scores, labels):
    scores, labels = np.asarray(scores, float), np.asarray(labels, float)
    isotonic = IsotonicRegression().fit(scores, labels)
    # P(y = 1) = 1 / (1 + exp(A f + B)).
    a, b = _sigmoid_calibration(scores, labels)
    probability = 1 / (1 + np.exp(-scores))
    observed, predicted = calibration_curve(labels, probability, n_bins=10)
    counts = np.histogram(probability, bins=np.linspace(0, 1, 11))[0]
    counts = counts[counts > 0]
    return {
        "name": name,
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "isotonic": isotonic.predict(scores).tolist(),
        "slope": -float(a),
        "intercept": -float(b),
        "logLoss": float(log_loss(labels, probability)),
        "predicted": predicted.tolist(),
        "observed": observed.tolist(),
        "error": float(np.sum(counts / counts.sum() * np.abs(observed - predicted))),
    }


def main():
    rng = np.random.default_rng(7)
    x = np.round(rng.normal(0, 2, 120), 3)
    noisy = (rng.random(120) < 1 / (1 + np.exp(-(1.7 * x - 1)))).astype(int)
    ties = np.round(rng.normal(0, 1, 90) * 2) / 2
    tied = (rng.random(90) < 1 / (1 + np.exp(-ties))).astype(int)
    rare = np.round(rng.normal(-3, 1.5, 150), 3)
    few = (rng.random(150) < 1 / (1 + np.exp(-(rare + 0.5)))).astype(int)
    narrow = np.round(rng.uniform(0.7, 0.9, 80), 4)
    cosine = (rng.random(80) < (narrow - 0.65) * 3).astype(int)
    cases = [
        case("noisy", x, noisy),
        case("ties", ties, tied),
        case("few relevant", rare, few),
        case("cosines", narrow, cosine),
        case("separated", [-2, -1.5, -1, 1, 2, 3], [0, 0, 0, 1, 1, 1]),
        case("one violation", [1, 2, 3, 4, 5], [0, 1, 0, 1, 1]),
        case("falling", [1, 2, 3, 4], [1, 1, 0, 0]),
    ]
    json.dump({"version": sklearn.__version__, "cases": cases}, sys.stdout)
    print()


main()
