import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["NO_PROXY"] = "127.0.0.1"

import litellm
from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, expect

call = driver("litellm")
litellm.suppress_debug_info = True


def ask(model, base, **options):
    answer = litellm.rerank(model=model, query=QUERY, documents=DOCUMENTS, api_base=base, api_key=KEY, num_retries=0, **options)
    return [(item["index"], item["relevance_score"]) for item in answer.results]


@call("rerank, cohere/, top_n", want=2)
def _():
    return ask(f"cohere/{MODEL}", URL, top_n=2)


@call("rerank, infinity/")
def _():
    return ask(f"infinity/{MODEL}", f"{URL}/infinity")


@call("rerank, infinity/, return_documents=False at the plain address")
def _():
    return ask(f"infinity/{MODEL}", URL, return_documents=False)


@call("rerank, hosted_vllm/")
def _():
    return ask(f"hosted_vllm/{MODEL}", URL)


@call("rerank, nvidia_nim/")
def _():
    return ask(f"nvidia_nim/{MODEL}", URL)


@call("rerank, nvidia_nim/ranking/")
def _():
    return ask(f"nvidia_nim/ranking/{MODEL}", URL)


@call("rerank, jina_ai/, top_n", want=2)
def _():
    return ask(f"jina_ai/{MODEL}", URL, top_n=2)


@call("rerank, huggingface/")
def _():
    return ask(f"huggingface/{MODEL}", URL)


@call("rerank, voyage/")
def _():
    return ask(f"voyage/{MODEL}", f"{URL}/v1/rerank")
