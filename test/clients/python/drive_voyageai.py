import asyncio

import voyageai
from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, expect

call = driver("voyageai")
client = voyageai.Client(api_key=KEY, base_url=f"{URL}/v1")


def pairs(answer):
    expect(answer.total_tokens > 0, f"got {answer.total_tokens} tokens")
    for item in answer.results:
        expect(item.document == DOCUMENTS[item.index], "the document is another")
    return [(item.index, item.relevance_score) for item in answer.results]


@call("Client.rerank")
def _():
    return pairs(client.rerank(QUERY, DOCUMENTS, model=MODEL))


@call("Client.rerank, top_k", want=2)
def _():
    return pairs(client.rerank(QUERY, DOCUMENTS, model=MODEL, top_k=2))


@call("AsyncClient.rerank, truncation=False")
def _():
    with_loop = voyageai.AsyncClient(api_key=KEY, base_url=f"{URL}/v1")
    return pairs(asyncio.run(with_loop.rerank(QUERY, DOCUMENTS, model=MODEL, truncation=False)))


@call("an unknown model is an InvalidRequestError")
def _():
    try:
        client.rerank(QUERY, DOCUMENTS, model="no-such-model")
    except voyageai.error.VoyageError as error:
        expect(MODEL in str(error), f"got {error}")
        return f"{type(error).__name__}, its message names the models there are"
    raise AssertionError("no error")
