"""Records what tritonclient sends into test/http/recorded/tritonclient.json.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install 'tritonclient[http]==2.73.0' aiohttp
    /tmp/v/bin/python test/clients/record-tritonclient.py
"""
import asyncio
import json
import pathlib
import platform
import socket
import threading
from importlib.metadata import version

import numpy as np
import tritonclient.http as sync
import tritonclient.http.aio as aio

ANSWER = b'{"model_name":"m","model_version":"1","outputs":[]}'
recorded = []


def answer(connection):
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            chunk = connection.recv(65536)
            if not chunk:
                return
            buffer += chunk
        head, buffer = buffer.split(b"\r\n\r\n", 1)
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        length = int(lengths[0]) if lengths else 0
        while len(buffer) < length:
            buffer += connection.recv(65536)
        recorded.append(head + b"\r\n\r\n" + buffer[:length])
        buffer = buffer[length:]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))


def listen():
    server = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"127.0.0.1:{server.getsockname()[1]}"


def inputs(binary):
    query = sync.InferInput("query", [1], "BYTES")
    query.set_data_from_numpy(np.array(["how do magnets work"], dtype=object), binary_data=binary)
    passages = sync.InferInput("passages", [3], "BYTES")
    texts = np.array(["magnets attract iron", "Käse ist rund 🧀", ""], dtype=object)
    passages.set_data_from_numpy(texts, binary_data=binary)
    return [query, passages]


def output(name, **options):
    return sync.InferRequestedOutput(name, **options)


def calls(c):
    """What is called, by name; the client is synchronous or asyncio's."""
    return {
        "infer-binary": lambda: c.infer("tiny", inputs(True)),
        "infer-json": lambda: c.infer("tiny", inputs(False), outputs=[output("scores", binary_data=False)]),
        "infer-binary-out-json": lambda: c.infer(
            "tiny", inputs(True), outputs=[output("scores", binary_data=False)], request_id="r-1"
        ),
        "infer-json-out-binary": lambda: c.infer("tiny", inputs(False), model_version="1", request_id="r-2"),
        "infer-outputs": lambda: c.infer(
            "tiny",
            inputs(True),
            outputs=[output("scores"), output("indices", binary_data=False)],
            priority=1,
            timeout=20_000_000,
            parameters={"raw_scores": True},
        ),
        "infer-gzip": lambda: c.infer(
            "tiny", inputs(True), request_compression_algorithm="gzip", response_compression_algorithm="gzip"
        ),
        "infer-deflate": lambda: c.infer("tiny", inputs(True), request_compression_algorithm="deflate"),
        "infer-unknown-output": lambda: c.infer("tiny", inputs(True), outputs=[output("logits")]),
        "infer-classification": lambda: c.infer("tiny", inputs(True), outputs=[output("scores", class_count=2)]),
        "metadata": lambda: c.get_model_metadata("tiny"),
        "config": lambda: c.get_model_config("tiny"),
        "stats": lambda: c.get_inference_statistics("tiny"),
        "stats-all": lambda: c.get_inference_statistics(),
        "server": lambda: c.get_server_metadata(),
        "live": lambda: c.is_server_live(),
        "server-ready": lambda: c.is_server_ready(),
        "ready": lambda: c.is_model_ready("tiny"),
        "index": lambda: c.get_model_repository_index(),
        "load": lambda: c.load_model("tiny"),
        "load-config": lambda: c.load_model("tiny", config="{}"),
        "unload": lambda: c.unload_model("tiny"),
    }


def main():
    address = listen()
    requests = {}
    for name, call in calls(sync.InferenceServerClient(address)).items():
        call()
        requests[name] = recorded[-1].decode("latin1")

    async def record():
        async with aio.InferenceServerClient(address) as client:
            for name in ["infer-binary", "infer-json", "index", "load"]:
                await calls(client)[name]()
                requests[f"aio-{name}"] = recorded[-1].decode("latin1")

    asyncio.run(record())
    client = f"tritonclient {version('tritonclient')} (Python {platform.python_version()}; aio-*: its asyncio client)"
    out = pathlib.Path(__file__).parent.parent / "http" / "recorded" / "tritonclient.json"
    out.write_text(json.dumps({"client": client, "encoding": "latin1", "requests": requests}, indent=2) + "\n")


main()
