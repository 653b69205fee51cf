from harness import DOCUMENTS, KEY, MODEL, QUERY, URL, driver, expect
from pinecone import Pinecone

call = driver("pinecone")
client = Pinecone(api_key=KEY, host=URL)


@call("inference.rerank")
def _():
    answer = client.inference.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
    expect(answer.data[0].document["text"] == DOCUMENTS[answer.data[0].index], "the document is another")
    return [(item.index, item.score) for item in answer.data]


@call("inference.rerank, rank_fields, top_n", want=2)
def _():
    documents = [{"id": str(i), "body": text} for i, text in enumerate(DOCUMENTS)]
    answer = client.inference.rerank(
        model=MODEL, query=QUERY, documents=documents, rank_fields=["body"], top_n=2, return_documents=False
    )
    return [(item.index, item.score) for item in answer.data]
