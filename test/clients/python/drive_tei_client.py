from harness import DOCUMENTS, QUERY, URL, driver, expect
from tei_client import HttpClient

call = driver("tei-client")
client = HttpClient(URL)


@call("health")
def _():
    expect(client.health(), "unhealthy")
    return "healthy"


@call("info, rerank")
def _():
    return [(rank.index, rank.score) for rank in client.rerank(query=QUERY, texts=DOCUMENTS).ranks]
