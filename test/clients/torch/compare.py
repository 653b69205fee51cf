"""Opens published folders as transformers and sentence-transformers do, and compares their scores with Winnow's.

Reads one JSON object a line: {"folder", "pairs": [[query, passage]], "scores": [float], "isClassifier": bool}.
Prints the largest difference of a folder's scores, a line each; ends with 1 where one is above 1e-5 of the largest score.
"""

import json
import sys

import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def by_transformers(folder, pairs):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encoded = tokenizer([q for q, _ in pairs], [p for _, p in pairs], padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        return model(**encoded).logits[:, 0].tolist()


def by_cross_encoder(folder, pairs):
    model = CrossEncoder(folder, device="cpu")
    assert isinstance(model.activation_fn, torch.nn.Sigmoid), model.activation_fn
    return model.predict(pairs, activation_fn=torch.nn.Identity(), convert_to_numpy=True).tolist()


failed = False
for line in sys.stdin:
    case = json.loads(line)
    folder, pairs, wanted = case["folder"], case["pairs"], case["scores"]
    ways = {"CrossEncoder": by_cross_encoder}
    if case["isClassifier"]:
        ways["AutoModelForSequenceClassification"] = by_transformers
    for name, score in ways.items():
        try:
            found = score(folder, pairs)
        except Exception as error:
            failed = True
            print(f"WRONG {folder} {name}: {str(error).splitlines()[-1]}", flush=True)
            continue
        off = max(abs(a - b) for a, b in zip(found, wanted, strict=True))
        limit = 1e-5 * max(1, *map(abs, wanted))
        failed |= not off <= limit
        print(f"{'ok' if off <= limit else 'WRONG'} {folder} {name}: largest difference {off:.1e} of scores up to {max(map(abs, wanted)):.3f}", flush=True)
sys.exit(1 if failed else 0)
