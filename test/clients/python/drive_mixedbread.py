from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, expect
from mixedbread import Mixedbread

call = driver("mixedbread")
client = Mixedbread(api_key=KEY, base_url=URL)


@call("rerank")
def _():
    return [(item.index, item.score) for item in client.rerank(model=MODEL, query=QUERY, input=DOCUMENTS).data]


@call("rerank, return_input, top_k", want=2)
def _():
    answer = client.rerank(model=MODEL, query=QUERY, input=DOCUMENTS, return_input=True, top_k=2)
    expect(answer.data[0].input == DOCUMENTS[answer.data[0].index], f"got input {answer.data[0].input}")
    expect(answer.usage.total_tokens > 0, f"got {answer.usage}")
    return [(item.index, item.score) for item in answer.data]


@call("rerank, objects with rank_fields")
def _():
    documents = [{"title": "a title", "body": text} for text in DOCUMENTS]
    answer = client.rerank(model=MODEL, query=QUERY, input=documents, rank_fields=["body"])
    return [(item.index, item.score) for item in answer.data]
