import warnings

from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, expect, index_of
from infinity_client import Client
from langchain_cohere import CohereRerank
from langchain_community.document_compressors.infinity_rerank import InfinityRerank
from langchain_core.documents import Document
from langchain_nvidia_ai_endpoints import NVIDIARerank
from langchain_voyageai import VoyageAIRerank

warnings.simplefilter("ignore")
documents = [Document(page_content=text) for text in DOCUMENTS]


def pairs(compressed):
    return [(index_of(document.page_content), document.metadata["relevance_score"]) for document in compressed]


nvidia = driver("langchain-nvidia-ai-endpoints")


@nvidia("NVIDIARerank, the model taken from the list")
def _():
    ranker = NVIDIARerank(base_url=f"{URL}/v1", api_key=KEY)
    expect(ranker.model == MODEL, f"expected {MODEL}, got {ranker.model}")
    return pairs(ranker.compress_documents(documents=documents, query=QUERY))


@nvidia("NVIDIARerank, model, truncate, top_n", want=2)
def _():
    ranker = NVIDIARerank(base_url=f"{URL}/v1", api_key=KEY, model=MODEL, truncate="END", top_n=2)
    return pairs(ranker.compress_documents(documents=documents, query=QUERY))


@driver("langchain-community")("InfinityRerank", want=3)
def _():
    ranker = InfinityRerank(client=Client(base_url=URL), model=MODEL, top_n=3)
    return pairs(ranker.compress_documents(documents=documents, query=QUERY))


@driver("langchain-cohere")("CohereRerank", want=3)
def _():
    ranker = CohereRerank(cohere_api_key=KEY, base_url=URL, model=MODEL, top_n=3)
    return pairs(ranker.compress_documents(documents=documents, query=QUERY))


@driver("langchain-voyageai")("VoyageAIRerank", want=3)
def _():
    ranker = VoyageAIRerank(voyage_api_key=KEY, base_url=f"{URL}/v1", model=MODEL, top_k=3)
    return pairs(ranker.compress_documents(documents=documents, query=QUERY))
