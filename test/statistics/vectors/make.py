"""Makes scipy.json: values that the statistics are tested against.

python3 -m venv venv && venv/bin/pip install numpy==2.4.6 scipy==1.17.1 && venv/bin/python make.py > scipy.json
"""

import json
import math

import numpy as np
import scipy
from scipy import stats

rng = np.random.default_rng(20260923)
out = {"scipy": scipy.__version__, "numpy": np.__version__}


def plain(x):
    if isinstance(x, (np.floating, float)):
        return None if math.isnan(x) else float(x)
    if isinstance(x, (np.integer, int)):
        return int(x)
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple, np.ndarray)):
        return [plain(v) for v in x]
    return x


def grid(dist, xs, ps):
    return {"x": xs, "cdf": [dist.cdf(x) for x in xs], "sf": [dist.sf(x) for x in xs], "p": ps, "quantile": [dist.ppf(p) for p in ps]}


ps = [1e-6, 0.001, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9999]
out["normal"] = [{"args": [], **grid(stats.norm, [-9.0, -3.0, -1.0, -0.1, 0.0, 0.5, 1.96, 6.0], ps)}]
out["t"] = [{"args": [df], **grid(stats.t(df), [-30.0, -3.5, -1.0, 0.0, 0.01, 2.0, 12.0], ps)} for df in (1, 2.5, 7, 42, 6979)]
out["chi2"] = [{"args": [df], **grid(stats.chi2(df), [0.0, 0.01, 1.0, 5.0, 30.0, 152.0, 215.8], ps)} for df in (1, 2, 5, 8, 100)]
out["f"] = [{"args": list(a), **grid(stats.f(*a), [0.0, 0.1, 1.0, 2.5, 9.0, 60.0], ps)} for a in ((1, 10), (5, 265), (40, 3.5))]
out["range"] = []
for k, df in ((2, 3), (2, 40), (3, 1), (3, 12), (6, 40), (6, 265), (9, 20), (20, 120), (2, math.inf), (3, math.inf), (6, math.inf), (9, math.inf), (20, math.inf)):
    d = stats.studentized_range(k, df)
    xs = [0.1, 1.0, 2.0, 3.5, 5.0, 8.0]
    qs = [0.5, 0.9, 0.95, 0.99]
    out["range"].append({"args": [k, df if df < math.inf else None], "x": xs, "cdf": [d.cdf(x) for x in xs], "p": qs, "quantile": [d.ppf(q) for q in qs]})


def pair(n, kind):
    a = rng.beta(2, 2, n)
    b = np.clip(a + rng.normal(0.03, 0.15, n), 0, 1)
    if kind == "ties":
        a, b = np.round(a * 5) / 5, np.round(b * 5) / 5
    if kind == "zeros":
        b = np.where(rng.random(n) < 0.3, a, b)
    return a, b


out["paired"] = []
for n, kind in ((5, "plain"), (9, "plain"), (12, "ties"), (13, "zeros"), (14, "ties"), (16, "plain"), (25, "plain"), (40, "ties"), (50, "plain"), (51, "plain"), (54, "zeros"), (300, "ties")):
    a, b = pair(n, kind)
    d = a - b
    t = stats.ttest_rel(a, b)
    wx = stats.wilcoxon(a, b)
    exact = None
    if n <= 16:
        exact = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    out["paired"].append({
        "kind": kind, "a": a, "b": b,
        "t": {"statistic": t.statistic, "p": t.pvalue, "df": t.df, "interval": list(t.confidence_interval(0.95))},
        "wilcoxon": {"statistic": wx.statistic, "p": wx.pvalue},
        "wilcoxonNormal": stats.wilcoxon(a, b, method="approx").pvalue,
        "wilcoxonCorrected": stats.wilcoxon(a, b, method="approx", correction=True).pvalue,
        "randomisation": exact,
        "kendall": list(stats.kendalltau(a, b)),
    })

out["friedman"] = []
for n, k, digits in ((10, 3, 9), (54, 6, 2), (36, 9, 3)):
    m = np.round(rng.random((n, k)) + np.arange(k) * 0.05, digits)
    r = stats.friedmanchisquare(*m.T)
    ranks = np.mean([stats.rankdata(-row) for row in m], axis=0)
    out["friedman"].append({"blocks": m, "statistic": r.statistic, "p": r.pvalue, "averageRanks": ranks})

# Unused draws, so that the vectors below keep the values they have.
rng.normal(size=12 * 3 + 8 + 15 + 11 + 20 + 43 * 6)

out["corrections"] = []
for n in (1, 4, 9):
    p = rng.random(n) ** 3
    out["corrections"].append({"p": p, "benjaminiHochberg": stats.false_discovery_control(p)})

out["chiSquare"] = {
    "fit": [{"observed": o, "shares": s, "result": list(stats.chisquare(o, np.array(s) * sum(o) / sum(s)))} for o, s in (([5012, 4988], [1, 1]), ([905, 1105], [1, 1]), ([30, 14, 34, 45, 57, 20], [3, 2, 3, 4, 6, 2]))],
}

out["bootstrap"] = []
for n in (12, 54):
    x = rng.beta(2, 5, n)
    entry = {"values": x}
    for method in ("percentile", "BCa"):
        r = stats.bootstrap((x,), np.mean, n_resamples=499, method=method, vectorized=True, rng=np.random.default_rng(7))
        entry["distribution"] = r.bootstrap_distribution
        entry[method.lower()] = list(r.confidence_interval)
    out["bootstrap"].append(entry)

# Queries (rows) x systems: SciPy's own test for independent samples, and the same range for queries as blocks.
out["tukey"] = []
for n, k, digits in ((8, 2, 12), (25, 3, 12), (43, 6, 3), (200, 4, 12)):
    m = np.round(rng.random((n, 1)) * 0.5 + rng.random((n, k)) * 0.5 + np.arange(k) * 0.04, digits)
    groups = stats.tukey_hsd(*m.T)
    low, high = groups.confidence_interval(0.95)
    residuals = m - m.mean(axis=1, keepdims=True) - m.mean(axis=0) + m.mean()
    df = (n - 1) * (k - 1)
    error = math.sqrt((residuals**2).sum() / df / n)
    q = stats.studentized_range(k, df)
    d = m.mean(axis=0)[:, None] - m.mean(axis=0)[None, :]
    out["tukey"].append({
        "values": m,
        "oneWay": {"p": groups.pvalue, "low": low, "high": high},
        "twoWay": {"df": df, "p": q.sf(np.abs(d) / error), "reach": q.ppf(0.95) * error},
    })

print(json.dumps(plain(out)))
