import numpy
import tritonclient.http as triton
from harness import DOCUMENTS, MODEL, QUERY, URL, driver, expect

call = driver("tritonclient")
client = triton.InferenceServerClient(URL.removeprefix("http://"))


def ask(binary, outputs=None):
    inputs = []
    for name, texts in (("query", [QUERY]), ("passages", DOCUMENTS)):
        tensor = triton.InferInput(name, [len(texts)], "BYTES")
        tensor.set_data_from_numpy(numpy.array(texts, dtype=object), binary_data=binary)
        inputs.append(tensor)
    answer = client.infer(MODEL, inputs, outputs=outputs)
    scores = answer.as_numpy("scores")
    expect(scores.dtype == numpy.float32, f"got {scores.dtype}")
    return [(int(index), float(scores[index])) for index in numpy.argsort(-scores)]


@call("is_server_ready, is_model_ready")
def _():
    expect(client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL), "not ready")
    return "ready"


@call("get_model_metadata")
def _():
    names = [tensor["name"] for tensor in client.get_model_metadata(MODEL)["inputs"]]
    expect(names == ["query", "passages"], f"got {names}")
    return ", ".join(names)


@call("get_model_config")
def _():
    return client.get_model_config(MODEL)["name"]


@call("get_inference_statistics")
def _():
    return f"{len(client.get_inference_statistics(MODEL)['model_stats'])} versions"


@call("get_model_repository_index")
def _():
    names = {entry["name"] for entry in client.get_model_repository_index()}
    expect(MODEL in names, f"got {names}")
    return f"{len(names)} models"


@call("infer")
def _():
    return ask(binary=True)


@call("infer, JSON in, binary out")
def _():
    return ask(binary=False, outputs=[triton.InferRequestedOutput("scores", binary_data=True)])


@call("infer, JSON in and out")
def _():
    return ask(binary=False, outputs=[triton.InferRequestedOutput("scores", binary_data=False)])
