from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, expect
from mixedbread_ai.client import MixedbreadAI

call = driver("mixedbread-ai")


@call("reranking, return_input", want=2)
def _():
    client = MixedbreadAI(api_key=KEY, base_url=f"{URL}/")
    answer = client.reranking(model=MODEL, query=QUERY, input=DOCUMENTS, top_k=2, return_input=True)
    expect(answer.data[0].input == DOCUMENTS[answer.data[0].index], f"got input {answer.data[0].input}")
    return [(item.index, item.score) for item in answer.data]
