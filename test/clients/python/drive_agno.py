import cohere
from agno.knowledge.document import Document
from agno.knowledge.reranker.cohere import CohereReranker
from agno.knowledge.reranker.infinity import InfinityReranker
from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, expect, index_of

call = driver("agno")


def pairs(ranker):
    # Agno gives the documents back as they were, without scores, where the request failed.
    ranked = ranker.rerank(query=QUERY, documents=[Document(content=text) for text in DOCUMENTS])
    expect(all(document.reranking_score is not None for document in ranked), "no scores")
    return [(index_of(document.content), document.reranking_score) for document in ranked]


@call("InfinityReranker")
def _():
    return pairs(InfinityReranker(model=MODEL, url=URL))


@call("InfinityReranker, api_key, top_n", want=2)
def _():
    return pairs(InfinityReranker(model=MODEL, url=URL, api_key=KEY, top_n=2))


@call("CohereReranker, top_n", want=2)
def _():
    return pairs(CohereReranker(model=MODEL, cohere_client=cohere.Client(api_key=KEY, base_url=URL), top_n=2))
