import asyncio

from harness import DOCUMENTS, MODEL, QUERY, URL, driver, expect
from infinity_client import Client
from infinity_client.api.default import health, rerank
from infinity_client.models import HTTPValidationError, RerankInput

call = driver("infinity-client")
client = Client(base_url=URL, raise_on_unexpected_status=True)


def pairs(answer):
    return [(item.index, item.relevance_score) for item in answer.results]


@call("rerank.sync, return_documents", want=2)
def _():
    body = RerankInput(query=QUERY, documents=DOCUMENTS, model=MODEL, return_documents=True, top_n=2)
    answer = rerank.sync(client=client, body=body)
    expect(answer.results[0].document == DOCUMENTS[answer.results[0].index], "the document is another")
    expect(answer.usage.total_tokens > 0, f"got {answer.usage}")
    return pairs(answer)


@call("rerank.sync")
def _():
    return pairs(rerank.sync(client=client, body=RerankInput(query=QUERY, documents=DOCUMENTS, model=MODEL)))


@call("rerank.asyncio, raw_scores")
def _():
    async def ask():
        body = RerankInput(query=QUERY, documents=DOCUMENTS, model=MODEL, raw_scores=True)
        return await rerank.asyncio(client=Client(base_url=URL), body=body)

    return pairs(asyncio.run(ask()))


@call("health.sync")
def _():
    status = health.sync(client=client).additional_properties["status"]
    expect(status == "ready", f"got {status}")
    return status


@call("rerank.sync, a refusal is a HTTPValidationError")
def _():
    body = RerankInput(query=QUERY, documents=DOCUMENTS, model=MODEL, top_n=-3)
    answer = rerank.sync(client=client, body=body)
    expect(isinstance(answer, HTTPValidationError), f"got {answer}")
    return "; ".join(item.msg for item in answer.detail)
