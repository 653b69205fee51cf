import asyncio

import numpy
from harness import DOCUMENTS, MODEL, QUERY, URL, driver, expect
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

call = driver("kserve")


def ask(use):
    async def run():
        return await use(InferenceRESTClient(RESTConfig(protocol="v2", retries=0)))

    return asyncio.run(run())


def infer(binary):
    inputs = []
    for name, texts in (("query", [QUERY]), ("passages", DOCUMENTS)):
        tensor = InferInput(name, [len(texts)], "BYTES")
        tensor.set_data_from_numpy(numpy.array(texts, dtype=object), binary_data=binary)
        inputs.append(tensor)
    request = InferRequest(model_name=MODEL, infer_inputs=inputs)
    answer = ask(lambda client: client.infer(URL, request, model_name=MODEL))
    scores = next(output for output in answer.outputs if output.name == "scores").as_numpy()
    return [(int(index), float(scores[index])) for index in numpy.argsort(-scores)]


@call("is_server_ready, is_model_ready")
def _():
    expect(ask(lambda client: client.is_server_ready(URL)), "the server is not ready")
    expect(ask(lambda client: client.is_model_ready(URL, MODEL)), "the model is not ready")
    return "ready"


@call("infer, binary")
def _():
    return infer(binary=True)


@call("infer, JSON")
def _():
    return infer(binary=False)
