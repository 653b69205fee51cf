"""Makes test/fixtures/parquet: small Parquet files as Hugging Face's hub holds them, written by Apache Arrow.

    python3 -m venv /tmp/gold && /tmp/gold/bin/pip install pyarrow==26.0.1
    /tmp/gold/bin/python test/clients/parquet/make_gold.py

gold.json holds what Arrow reads from each file again, as text: bytes that are not UTF-8 as hexadecimal digits.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TARGET = Path(__file__).resolve().parents[3] / "test/fixtures/parquet"
LARGE = 2**53
CODECS = ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]


def shown(value):
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def corpus(count, start=0):
    rows = range(start, start + count)
    texts = [f"passage {i}: " + ("Käse 東京 👩 " if i % 3 == 0 else "words ") * (1 + i % 5) for i in rows]
    return pa.table({
        "_id": [f"d{i}" for i in rows],
        "title": [None if i % 7 == 0 else f"title {i % 4}" for i in rows],
        "text": texts,
        "metadata": [{"url": f"https://example.org/{i}"} for i in rows],
        "embedding": [[0.5 * i, 1.0] for i in rows],
    })


def judgements(kind=pa.int64()):
    return pa.table({
        "query-id": pa.array([LARGE + 1, LARGE + 3, LARGE + 3], pa.int64()),
        "corpus-id": ["d1", "d2", "d3"],
        "score": pa.array([1, 2, 0], kind),
    })


def queries():
    ids = pa.array([LARGE + 1, LARGE + 2, LARGE + 3], pa.int64())
    return pa.table({"_id": ids, "text": ["first", "second", "third Käse"]})


def files():
    for codec in CODECS:
        yield f"hub-{codec}/corpus/corpus-00000-of-00002.parquet", corpus(20), {"compression": codec, "row_group_size": 8}
        yield f"hub-{codec}/corpus/corpus-00001-of-00002.parquet", corpus(5, 20), {"compression": codec, "data_page_version": "2.0"}
        yield f"hub-{codec}/queries/queries-00000-of-00001.parquet", queries(), {"compression": codec}
        yield f"hub-{codec}/data/test-00000-of-00001.parquet", judgements(), {"compression": codec}
    # NanoBEIR: everything is named train, and its pairs are all relevant.
    yield "nano/corpus/train-00000-of-00001.parquet", pa.table({"_id": ["d1", "d2"], "text": ["one", "two"]}), {}
    yield "nano/queries/train-00000-of-00001.parquet", pa.table({"_id": ["q1"], "text": ["first"]}), {}
    yield "nano/qrels/train-00000-of-00001.parquet", pa.table({"query-id": ["q1"], "corpus-id": ["d2"]}), {}
    ids = [1, LARGE - 1, LARGE, LARGE + 1, 2**62 + 1]
    for kind in ["int32", "int64", "uint32", "uint64"]:
        fits = [i for i in ids if i < 2**31] if kind.endswith("32") else [*ids, *([2**64 - 1] if kind == "uint64" else [-LARGE - 1])]
        if kind == "uint32":
            fits.append(2**32 - 1)
        yield f"ids-{kind}.parquet", pa.table({"_id": pa.array(fits, kind), "text": [f"q {i}" for i in fits]}), {"use_dictionary": kind == "uint64"}
    for encoding in ["DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"]:
        table = pa.table({"_id": pa.array([*ids, -1], pa.int64()), "text": [f"q {i}" for i in range(6)]})
        text = "DELTA_BYTE_ARRAY" if encoding == "DELTA_BINARY_PACKED" else "DELTA_LENGTH_BYTE_ARRAY"
        options = {"use_dictionary": False, "column_encoding": {"_id": encoding, "text": text}}
        yield f"ids-{encoding.lower()}.parquet", table, options
    yield "grades-double.parquet", judgements(pa.float64()), {}
    yield "grades-half.parquet", pa.table({"query-id": ["q1"], "corpus-id": ["d1"], "score": [0.5]}), {}
    yield "grades-null.parquet", pa.table({"query-id": ["q1", "q1"], "corpus-id": ["d1", "d2"], "score": pa.array([1, None], pa.int64())}), {}
    yield "ids-double.parquet", pa.table({"_id": [1.0, 2.0], "text": ["a", "b"]}), {}
    yield "ids-null.parquet", pa.table({"_id": ["a", None], "text": ["a", "b"]}), {"row_group_size": 1}
    yield "text-null.parquet", pa.table({"_id": ["a", "b", "c"], "text": ["a", "b", None]}), {"row_group_size": 2}
    yield "text-list.parquet", pa.table({"_id": ["a"], "text": [["a", "b"]]}), {}
    yield "twice.parquet", pa.table({"_id": ["a", "b", "a"], "text": ["a", "b", "c"]}), {"row_group_size": 2}
    yield "latin1.parquet", pa.table({"_id": pa.array([b"a", b"caf\xe9"]), "text": ["a", "b"]}), {}
    yield "binary.parquet", pa.table({"_id": pa.array([b"a", "café".encode()]), "text": ["a", "b"]}), {}
    yield "large-string.parquet", pa.table({"_id": pa.array(["a"], pa.large_string()), "text": pa.array(["x" * 100], pa.large_string())}), {}
    yield "empty.parquet", pa.table({"_id": pa.array([], pa.string()), "text": pa.array([], pa.string())}), {}


def main():
    gold = {}
    for name, table, options in files():
        path = TARGET / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, **{"compression": "snappy", **options})
        assert path.stat().st_size < 20_000, name
        plain = [c for c in table.column_names if c not in ("metadata", "embedding")]
        read = pq.ParquetFile(path).read(columns=plain).to_pylist()
        gold[name] = [{key: shown(value) for key, value in row.items()} for row in read]
    (TARGET / "gold.json").write_text(json.dumps(gold, ensure_ascii=False, indent=1) + "\n")


main()
