"""sentence-transformers' CrossEncoder on texts, by `predict` in batches of 32: a side of `npm run bench:peers`.

    python cross_encoder.py JOB      JOB: {"file": folder, "precision": "float32" or "bfloat16", "threads", "pairs": [[query, passage]], batches}
"""
import importlib.metadata
import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from sentence_transformers import CrossEncoder

from side import serve

job = json.loads(pathlib.Path(sys.argv[1]).read_text())
torch.set_num_threads(job["threads"])
model = CrossEncoder(job["file"], device="cpu", max_length=job["maxLength"], model_kwargs={"dtype": getattr(torch, job["precision"])})
raw = torch.nn.Identity()


def score(batch):
    pairs = [job["pairs"][i] for i in batch]
    return model.predict(pairs, batch_size=32, show_progress_bar=False, activation_fn=raw)


serve(" ".join(f"{name} {importlib.metadata.version(name)}" for name in ("sentence-transformers", "torch")), score, job)
