import os

import voyageai
from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, index_of
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.mixedbreadai_rerank import MixedbreadAIRerank
from llama_index.postprocessor.nvidia_rerank import NVIDIARerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank
from llama_index.postprocessor.xinference_rerank import XinferenceRerank

os.environ["MIXEDBREAD_BASE_URL"] = URL


def pairs(ranker):
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in DOCUMENTS]
    return [(index_of(ranked.node.text), ranked.score) for ranked in ranker.postprocess_nodes(nodes, query_str=QUERY)]


def of(package):
    return driver(f"llama-index-postprocessor-{package}-rerank")


@of("cohere")("CohereRerank", want=3)
def _():
    return pairs(CohereRerank(api_key=KEY, base_url=URL, model=MODEL, top_n=3))


@of("jinaai")("JinaRerank", want=3)
def _():
    return pairs(JinaRerank(api_key=KEY, base_url=f"{URL}/v1", model=MODEL, top_n=3))


@of("voyageai")("VoyageAIRerank, its client replaced by one with an address", want=3)
def _():
    ranker = VoyageAIRerank(api_key=KEY, model=MODEL, top_n=3)
    ranker._client = voyageai.Client(api_key=KEY, base_url=f"{URL}/v1")
    return pairs(ranker)


@of("nvidia")("NVIDIARerank, the model taken from the list", want=3)
def _():
    return pairs(NVIDIARerank(base_url=f"{URL}/v1", top_n=3))


@of("nvidia")("NVIDIARerank, model, truncate", want=3)
def _():
    return pairs(NVIDIARerank(base_url=f"{URL}/v1", model=MODEL, truncate="END", top_n=3))


@of("tei")("TextEmbeddingInference", want=3)
def _():
    return pairs(TextEmbeddingInference(base_url=URL, top_n=3))


@of("mixedbreadai")("MixedbreadAIRerank", want=3)
def _():
    return pairs(MixedbreadAIRerank(api_key=KEY, model=MODEL, top_n=3))


@of("xinference")("XinferenceRerank", want=3)
def _():
    return pairs(XinferenceRerank(base_url=URL, model=MODEL, top_n=3))
