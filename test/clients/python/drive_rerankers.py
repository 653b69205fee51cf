from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver
from rerankers.models.api_rankers import APIRanker

call = driver("rerankers")

PATHS = {
    "cohere": "/v1/rerank",
    "jina": "/v1/rerank",
    "voyage": "/v1/rerank",
    "mixedbread.ai": "/v1/reranking",
    "pinecone": "/rerank",
    "text-embeddings-inference": "/rerank",
}

for provider, path in PATHS.items():

    @call(f"APIRanker, {provider}")
    def _():
        ranked = APIRanker(MODEL, KEY, provider, url=URL + path).rank(query=QUERY, docs=DOCUMENTS)
        return [(result.document.doc_id, result.score) for result in ranked.results]
