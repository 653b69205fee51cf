"""Makes more.json: infAP, 11pt_avg and gm_map of trec_eval's own C code (through pytrec_eval), ERR of TREC's gdeval.pl (through ir_measures,
which runs the script; it needs perl), and the measures that ir_measures reads in trec_eval's names.

python3 -m venv venv && venv/bin/pip install pytrec_eval-terrier==0.5.11 ir_measures==0.4.3 && venv/bin/python make-more.py > more.json

Every query is in the run, and scores have three decimals, so that trec_eval 9's 32-bit scores order them as 64-bit ones do. gdeval prints five
decimals, and no query without a relevant document: the test expects 0 there. gm_map of trec_eval is the exponential of the mean of the logarithms
that pytrec_eval gives for each query.
"""

import contextlib
import json
import math
import random
import sys

import ir_measures
import pytrec_eval

rng = random.Random(20261128)
NAMES = ["ndcg_cut", "map_cut", "P", "recall", "success", "iprec_at_recall", "ndcg_cut.5,10", "P.5,10", "recall.100,1000", "ndcg_cut_10", "map_cut_10", "P_20", "success_5", "iprec_at_recall_0.10", "set_F.0.5", "set_F", "set_P", "set_recall", "set_map", "ndcg", "map", "recip_rank", "Rprec", "bpref", "infAP", "num_ret", "num_rel", "num_rel_ret", "num_q", "official"]


def case(queries, docs, grades, scale):
    ids = [f"d{i}" for i in range(docs * 2)]
    qrels = {str(q + 1): {d: rng.choice(grades) for d in rng.sample(ids, rng.randrange(1, docs))} for q in range(queries)}
    run = {q: {d: round(rng.random() * scale, 3 if scale != 4 else 0) for d in rng.sample(ids, rng.randrange(1, docs))} for q in qrels}
    values = {}
    for rel in (1, 2):
        found = pytrec_eval.RelevanceEvaluator(qrels, {"infAP", "11pt_avg", "gm_map"}, relevance_level=rel).evaluate(run)
        inside = "" if rel == 1 else "(rel=2)"
        for ours, theirs in (("infAP", "infAP"), ("IPrecAvg", "11pt_avg")):
            values[ours + inside] = {q: v[theirs] for q, v in found.items()}
        values["GMAP" + inside] = {"mean": math.exp(sum(v["gm_map"] for v in found.values()) / len(found))}
    if min(grades) >= 0:
        for at in (1, 3, 20):
            err = ir_measures.providers.registry["gdeval"].iter_calc([ir_measures.ERR @ at], qrels, run)
            values[f"ERR@{at}"] = {m.query_id: m.value for m in err}
    return {"qrels": qrels, "run": run, "values": values}


cases = [
    case(6, 12, [0, 1], 4),
    case(6, 30, [0, 0, 1, 2, 3, 4], 4),
    case(6, 30, [0, 0, 1, 2, 3, 4], 900),
    case(6, 40, [-2, -2, -1, 0, 1, 2], 900),
]
with contextlib.redirect_stdout(sys.stderr):
    names = {n: sorted(str(m) for m in ir_measures.parse_trec_measure(n)) for n in NAMES}
print(json.dumps({"pytrec_eval_terrier": "0.5.11", "ir_measures": ir_measures.__version__, "names": names, "cases": cases}, separators=(",", ":")))
