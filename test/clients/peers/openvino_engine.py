"""OpenVINO alone on token ids: a side of `npm run bench:peers`. Tensors are made before the clock starts.

    python openvino_engine.py JOB      JOB: {"file", "precision": "f32" or "bf16", "threads", "rows": [[ids, second segment]], batches}
"""
import json
import pathlib
import sys

import numpy as np
import openvino as ov

from side import serve

job = json.loads(pathlib.Path(sys.argv[1]).read_text())
core = ov.Core()
threads = job["threads"]
compiled = core.compile_model(core.read_model(job["file"]), "CPU", {
    "INFERENCE_PRECISION_HINT": job["precision"], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False})
request = compiled.create_infer_request()
names = [next(iter(port.names)) for port in compiled.inputs]


def feed(batch):
    rows = [job["rows"][i] for i in batch]
    shape = (len(rows), max(len(ids) for ids, _ in rows))
    all_ = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    for at, (ids, second) in enumerate(rows):
        all_["input_ids"][at, : len(ids)] = ids
        all_["attention_mask"][at, : len(ids)] = 1
        all_["token_type_ids"][at, second : len(ids)] = 1
    return {name: all_[name] for name in names}


feeds = {tuple(batch): feed(batch) for name in ("speed", "all", "alone", "mixed") for batch in job[name]}
serve(f"openvino {ov.__version__.split('-')[0]}", lambda batch: request.infer(feeds[tuple(batch)])[compiled.outputs[0]][:, 0], job)
