import voyageai
from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, index_of
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
from haystack_integrations.components.rankers.jina import JinaRanker
from haystack_integrations.components.rankers.nvidia import NvidiaRanker
from haystack_integrations.components.rankers.voyage import VoyageRanker

key = Secret.from_token(KEY)


def pairs(ranker):
    if hasattr(ranker, "warm_up"):
        ranker.warm_up()
    ranked = ranker.run(query=QUERY, documents=[Document(content=text) for text in DOCUMENTS])["documents"]
    return [(index_of(document.content), document.score) for document in ranked]


@driver("cohere-haystack")("CohereRanker", want=3)
def _():
    return pairs(CohereRanker(model=MODEL, api_key=key, api_base_url=URL, top_k=3))


@driver("jina-haystack")("JinaRanker", want=3)
def _():
    return pairs(JinaRanker(model=MODEL, api_key=key, base_url=f"{URL}/v1/rerank", top_k=3))


@driver("nvidia-haystack")("NvidiaRanker", want=3)
def _():
    return pairs(NvidiaRanker(model=MODEL, api_key=key, api_url=f"{URL}/v1", top_k=3))


@driver("huggingface-api-haystack")("HuggingFaceTEIRanker", want=3)
def _():
    return pairs(HuggingFaceTEIRanker(url=URL, top_k=3, token=key))


@driver("huggingface-api-haystack")("HuggingFaceTEIRanker, raw_scores")
def _():
    return pairs(HuggingFaceTEIRanker(url=URL, raw_scores=True, token=key))


@driver("voyage-embedders-haystack")("VoyageRanker, its client replaced by one with an address", want=3)
def _():
    ranker = VoyageRanker(model=MODEL, api_key=key, top_k=3)
    if hasattr(ranker, "warm_up"):
        ranker.warm_up()
    for name, value in vars(ranker).items():
        if isinstance(value, voyageai.Client):
            setattr(ranker, name, voyageai.Client(api_key=KEY, base_url=f"{URL}/v1"))
    return pairs(ranker)
