"""Writes what other engines need of a cross-encoder that Winnow published in `model.safetensors`, for `npm run bench:peers`.

    python prepare.py FOLDER OUT [PAIRS]

OUT gets, each unless it is there: the Hugging Face files of FOLDER, `onnx/model.onnx` (exported by PyTorch: the plain graph, which no
program has rewritten), `onnx/model_quantized.onnx` (onnxruntime's dynamic int8, a scale per column) and `openvino/int8.xml` (NNCF's
post-training quantization for transformers, calibrated on PAIRS, a JSON list of [query, passage]).

Prints one JSON line: {"made": [...], "failed": {"onnx": reason, "dynamic": reason, "nncf": reason}}.
"""
import json
import pathlib
import shutil
import sys

FOLDER, OUT = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
PLAIN = OUT / "onnx/model.onnx"
DYNAMIC = OUT / "onnx/model_quantized.onnx"
NNCF = OUT / "openvino/int8.xml"
NAMES = ["input_ids", "attention_mask", "token_type_ids"]


def copy() -> None:
    (OUT / "onnx").mkdir(parents=True, exist_ok=True)
    for file in FOLDER.iterdir():
        if file.suffix in (".json", ".txt", ".safetensors") and file.name != "model.json":
            shutil.copy(file, OUT / file.name)


def export() -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(OUT, attn_implementation="eager").eval()
    ids = torch.ones(2, 16, dtype=torch.int64)
    axes = {name: {0: "batch", 1: "sequence"} for name in NAMES}
    torch.onnx.export(model, (ids, ids, ids * 0), str(PLAIN), input_names=NAMES, output_names=["logits"],
                      dynamic_axes=axes | {"logits": {0: "batch"}}, opset_version=17, dynamo=False)


def dynamic() -> None:
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(PLAIN, DYNAMIC, weight_type=QuantType.QInt8, per_channel=True, reduce_range=False,
                     extra_options={"DefaultTensorType": TensorProto.FLOAT})


def nncf_int8() -> None:
    import nncf
    import numpy as np
    import openvino as ov
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(OUT / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)

    def feed(pair):
        found = tokenizer.encode(*pair)
        return dict(zip(NAMES, (np.array([x]) for x in (found.ids, found.attention_mask, found.type_ids))))

    pairs = json.loads(pathlib.Path(sys.argv[3]).read_text())
    model = nncf.quantize(ov.Core().read_model(PLAIN), nncf.Dataset([feed(pair) for pair in pairs]),
                          model_type=nncf.ModelType.TRANSFORMER, subset_size=len(pairs), fast_bias_correction=True)
    NNCF.parent.mkdir(exist_ok=True)
    ov.save_model(model, NNCF, compress_to_fp16=False)


copy()
made, failed = [], {}
for name, path, make in (("onnx", PLAIN, export), ("dynamic", DYNAMIC, dynamic), ("nncf", NNCF, nncf_int8)):
    if path.exists():
        continue
    try:
        make()
        made.append(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
print(json.dumps({"made": made, "failed": failed}), flush=True)
