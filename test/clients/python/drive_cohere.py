import asyncio

import cohere
from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, expect

call = driver("cohere")
v1 = cohere.Client(api_key=KEY, base_url=URL)
v2 = cohere.ClientV2(api_key=KEY, base_url=URL)


def pairs(answer):
    return [(item.index, item.relevance_score) for item in answer.results]


@call("Client.rerank, return_documents", want=2)
def _():
    answer = v1.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=2, return_documents=True)
    expect(answer.results[0].document.text == DOCUMENTS[answer.results[0].index], "the document is another")
    return pairs(answer)


@call("Client.rerank, documents with rank_fields")
def _():
    documents = [{"title": "a title", "body": text} for text in DOCUMENTS]
    return pairs(v1.rerank(model=MODEL, query=QUERY, documents=documents, rank_fields=["body"]))


@call("ClientV2.rerank")
def _():
    answer = v2.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
    expect(answer.meta.billed_units.search_units == 1, f"got meta {answer.meta}")
    return pairs(answer)


@call("AsyncClientV2.rerank", want=3)
def _():
    client = cohere.AsyncClientV2(api_key=KEY, base_url=URL)
    return pairs(asyncio.run(client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=3)))


@call("models.list")
def _():
    names = [model.name for model in v1.models.list(endpoint="rerank").models]
    expect(MODEL in names, f"expected {MODEL}, got {names}")
    return f"{len(names)} models"


@call("an unknown model is a NotFoundError")
def _():
    try:
        v2.rerank(model="no-such-model", query=QUERY, documents=DOCUMENTS)
    except cohere.NotFoundError as error:
        expect(MODEL in error.body["message"], f"got {error.body}")
        return "its message names the models there are"
    raise AssertionError("no error")
