"""Makes trec_eval.json: values of trec_eval's own C code (through pytrec_eval) and of ir_measures on random runs.

python3 -m venv venv && venv/bin/pip install pytrec_eval-terrier==0.5.11 ir_measures==0.4.3 && venv/bin/python make.py > trec_eval.json

Scores have three decimals, so that trec_eval 9's 32-bit scores order them as 64-bit ones do. trec_eval leaves queries out that the run
leaves out, and divides 0 by 0 where no judged document is left (NaN); the test expects 0 for both. Every value is of one query.
"""

import json
import random

import ir_measures
import pytrec_eval

rng = random.Random(20260923)
WORDS = ["d", "D", "doc-", "é", "ß", "\uffee", "\U0001d11e", "\U0001f600", "中", "0", "10", "9", "z"]
BASE = {"map": "AP", "recip_rank": "RR", "Rprec": "Rprec", "bpref": "Bpref", "set_P": "SetP", "set_recall": "SetR", "set_F": "SetF", "set_map": "SetAP", "num_rel_ret": "NumRet"}
CUT = {"map_cut": "AP", "P": "P", "recall": "R", "success": "Success"}


def name(kind, params, at=None):
    inside = ",".join(p for p in params if p)
    return kind + (f"({inside})" if inside else "") + (f"@{at}" if at else "")


def trec_eval(qrels, run, rel, judged_only):
    supported = {"map", "recip_rank", "Rprec", "bpref", "set_P", "set_recall", "set_F", "set_map", "num_rel_ret", "num_ret", "ndcg", "map_cut.1,5,10,100", "P.1,5,10,100", "recall.1,5,10,100", "success.1,5,10", "ndcg_cut.1,3,5,10,100", "iprec_at_recall.0.0,0.1,0.5,1.0"}
    found = pytrec_eval.RelevanceEvaluator(qrels, supported, relevance_level=rel, judged_docs_only_flag=judged_only).evaluate(run)
    r = f"rel={rel}" if rel != 1 else ""
    j = "judged_only=True" if judged_only else ""
    out = {}
    for qid, values in found.items():
        for key, value in values.items():
            kind, _, at = key.rpartition("_")
            if key in BASE:
                plain = {"bpref", "set_recall", "num_rel_ret"}
                if judged_only and key in plain:
                    continue
                measure = name(BASE[key], [r if key != "num_rel_ret" else f"rel={rel}", j])
            elif key == "ndcg":
                measure = name("nDCG", [j])
            elif key == "num_ret" and not judged_only:
                measure = "NumRet"
            elif kind == "ndcg_cut":
                measure = name("nDCG", [j], at)
            elif kind == "iprec_at_recall":
                measure = name("IPrec", [r, j], str(float(at)))
            elif kind in CUT:
                measure = name(CUT[kind], [r, j], at)
            else:
                continue
            if value == value:
                out.setdefault(measure, {})[qid] = value
    return out


def others(qrels, run, negative):
    wanted = {
        "nDCG(gains={1:4})": "nDCG(gains={1:4})",
        "nDCG(gains={1:1,2:3,3:7})@10": "nDCG(gains=exp)@10",
        "Compat(p=0.8)": "Compat(p=0.8)",
        "Compat": "Compat",
    }
    if not negative:
        wanted["Judged@10"] = "Judged(ties=ascending)@10"
        wanted["Judged@5"] = "Judged(ties=ascending)@5"
    out = {}
    for theirs, ours in wanted.items():
        for metric in ir_measures.iter_calc([ir_measures.parse_measure(theirs)], qrels, run):
            scores = run.get(metric.query_id, {}).values()
            if ours.startswith("Compat") and (len(set(scores)) < len(scores) or 0 in scores):
                continue  # its ideal ranking takes ties in the order of the qrels, not of the run
            if metric.query_id in run:
                out.setdefault(ours, {})[metric.query_id] = metric.value
    marco = ir_measures.providers.registry["msmarco"]
    for rel, ours in ((1, "RR(ties=ascending)@10"), (2, "RR(rel=2,ties=ascending)@10")):
        for metric in marco.iter_calc([ir_measures.RR(rel=rel) @ 10], qrels, run):
            if metric.query_id in run:
                out.setdefault(ours, {})[metric.query_id] = metric.value
    return out


def case(queries, docs, grades, ties, share):
    ids = sorted({rng.choice(WORDS) + rng.choice(["", "x", "y", str(rng.randrange(40))]) for _ in range(docs * 3)})
    qrels, run = {}, {}
    for q in range(queries):
        qid = f"q{q}"
        judged = rng.sample(ids, min(len(ids), rng.randrange(1, docs)))
        qrels[qid] = {d: rng.choice(grades) for d in judged}
        if rng.random() < 0.15:
            continue
        retrieved = rng.sample(ids, rng.randrange(1, min(docs, len(ids))))
        scale = rng.choice(ties)
        run[qid] = {d: round(rng.random() * scale, 0 if scale == 4 else 3) for d in retrieved}
    run["unjudged"] = {ids[0]: 1.0}
    values = {}
    for rel in (1, 2):
        for judged_only in (False, True):
            for measure, per_query in trec_eval(qrels, run, rel, judged_only).items():
                values.setdefault(measure, {}).update(per_query)
    for measure, per_query in others(qrels, run, min(grades) < 0).items():
        values[measure] = per_query
    return {"share": share, "unstored": [q for q in run if len(set(run[q].values())) < len(run[q]) or 0 in run[q].values()], "qrels": qrels, "run": run, "values": values}


cases = [
    case(6, 8, [0, 1], [4], "binary, few documents, many ties"),
    case(5, 30, [0, 0, 1, 2, 3], [4, 1], "graded, ties"),
    case(5, 60, [-2, -1, 0, 0, 1, 2], [4, 1], "negative grades"),
    case(3, 140, [0, 0, 0, 1, 2, 3], [1, 900], "longer rankings"),
    case(8, 25, [0, 1, 2], [900], "no ties"),
]
print(json.dumps({"pytrec_eval_terrier": "0.5.11", "ir_measures": ir_measures.__version__, "cases": cases}, ensure_ascii=True, separators=(",", ":")))
