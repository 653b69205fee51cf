"""Makes scipy.json: values that the analysis of experiments is tested against, none by the formulas the analysis uses where there is another way.

python3 -m venv venv && venv/bin/pip install numpy==2.4.6 scipy==1.17.1 && venv/bin/python make.py > scipy.json
"""

import json

import numpy as np
import scipy
from scipy import integrate, optimize, stats

rng = np.random.default_rng(20261123)
out = {"scipy": scipy.__version__, "numpy": np.__version__}


def arm(n, shift):
    """Whole numbers, so that the file stays small and the means are exact."""
    habit = rng.poisson(4, n)
    requests = 1 + rng.poisson(1 + habit / 4, n)
    clicks = rng.binomial(requests, np.clip(0.15 + 0.05 * habit + shift, 0, 0.95))
    return clicks, requests, habit


arms = [arm(60, 0.0), arm(45, 0.12)]
out["arms"] = [{"y": y.tolist(), "x": x.tolist(), "c": c.tolist()} for y, x, c in arms]
(y0, x0, c0), (y1, x1, c1) = arms

# Means: Welch's t-test as SciPy has it.
welch = stats.ttest_ind(y1, y0, equal_var=False)
interval = welch.confidence_interval(0.95)
out["mean"] = {"difference": float(y1.mean() - y0.mean()), "error": float((y1.mean() - y0.mean()) / welch.statistic), "p": float(welch.pvalue), "interval": [float(interval.low), float(interval.high)]}


# Ratios: Taylor's coefficients by numerical differentiation of R(mean y, mean x) instead of the closed form.
def ratio(y, x):
    gradient = optimize.approx_fprime(np.array([y.mean(), x.mean()]), lambda m: m[0] / m[1], 1e-7)
    covariance = np.cov(np.vstack([y, x]))
    return y.sum() / x.sum(), gradient @ covariance @ gradient / len(y)


(r0, v0), (r1, v1) = ratio(y0, x0), ratio(y1, x1)
out["ratio"] = {"values": [float(r0), float(r1)], "errors": [float(np.sqrt(v0)), float(np.sqrt(v1))]}

# Relative lift: the same, of treatment / control - 1.
m = np.array([y0.mean(), y1.mean()])
g = optimize.approx_fprime(m, lambda a: a[1] / a[0] - 1, 1e-8)
out["lift"] = {"value": float(m[1] / m[0] - 1), "error": float(np.sqrt(g[0] ** 2 * y0.var(ddof=1) / 60 + g[1] ** 2 * y1.var(ddof=1) / 45))}

# CUPED with one coefficient within arms is analysis of covariance: least squares of y on arm and covariate.
y, c, t = np.concatenate([y0, y1]), np.concatenate([c0, c1]), np.repeat([0.0, 1.0], [60, 45])
beta = np.linalg.lstsq(np.column_stack([np.ones_like(t), t, c]), y, rcond=None)[0]
residuals = [arm_y - beta[2] * (arm_c - c.mean()) for arm_y, _, arm_c in arms]
cuped = stats.ttest_ind(residuals[1], residuals[0], equal_var=False)
out["cuped"] = {"theta": float(beta[2]), "difference": float(beta[1]), "p": float(cuped.pvalue)}

# Sample ratio.
out["srm"] = []
for counts, weights in (([5000, 5150], [1, 1]), ([821, 1588], [1, 2]), ([1000, 1010, 1180], [1, 1, 1])):
    share = np.array(weights) / sum(weights)
    test = stats.chisquare(counts, share * sum(counts))
    out["srm"].append({"counts": counts, "weights": weights, "statistic": float(test.statistic), "p": float(test.pvalue)})


# The boundary of Robbins' normal mixture: where the mixed likelihood ratio reaches 1 / alpha, by integration and root finding.
def mixed(s, n, rho2):
    density = lambda l: np.exp(l * s - l * l * n / 2) * stats.norm.pdf(l, scale=np.sqrt(rho2))
    center = s / (n + 1 / rho2)
    width = 1 / np.sqrt(n + 1 / rho2)
    return integrate.quad(density, center - 12 * width, center + 12 * width, epsabs=0, epsrel=1e-11)[0]


out["sequential"] = []
for n, rho2, alpha in ((10, 0.01, 0.05), (200, 0.002, 0.05), (10_000, 0.0009, 0.05), (5000, 0.0009, 0.01), (250_000, 0.0009, 0.05)):
    reach = optimize.brentq(lambda z: np.log(mixed(z * np.sqrt(n), n, rho2)) - np.log(1 / alpha), 0.5, 20, xtol=1e-12)
    out["sequential"].append({"n": n, "rho2": rho2, "alpha": alpha, "reach": float(reach)})

# Cluster bootstrap of a ratio, with SciPy's own resampling of pairs.
score, requests = rng.integers(-2, 4, 200), rng.integers(1, 5, 200)
boot = stats.bootstrap((score, requests), lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis), paired=True, vectorized=True, n_resamples=20000, method="percentile", rng=rng)
out["bootstrap"] = {"score": score.tolist(), "requests": requests.tolist(), "interval": [float(boot.confidence_interval.low), float(boot.confidence_interval.high)]}

# Power of the two-sided z-test, by SciPy's normal distribution at a simulated standard error.
out["power"] = []
for n, deviation, effect, shares in ((2000, 1.0, 0.1, (1, 1)), (5000, 3.0, 0.2, (4, 1))):
    a, b = (n * s / sum(shares) for s in shares)
    z = effect / (deviation * np.sqrt(1 / a + 1 / b))
    reach = stats.norm.ppf(0.975)
    out["power"].append({"n": n, "deviation": deviation, "effect": effect, "shares": list(shares), "power": float(1 - stats.norm.cdf(reach, z) + stats.norm.cdf(-reach, z))})

print(json.dumps(out))
