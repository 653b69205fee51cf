"""Makes test/fixtures/tokenizers/gold.json: the ids of Hugging Face's tokenizers (Rust).

    python3 -m venv /tmp/gold && /tmp/gold/bin/pip install tokenizers==0.23.3 sentencepiece==0.2.3 protobuf
    /tmp/gold/bin/python test/clients/tokenizers/make_gold.py

Its definitions cover the normalizers, pre-tokenizers and models of the library. Each code point is seen alone, inside a word and before
marks; the ids of a block of code points are kept as a CRC-32. Real vocabularies are read from models and ../shared/tokenizers.
"""

import base64
import io
import json
import tempfile
import zlib
from array import array
from pathlib import Path

import sentencepiece
import tokenizers
from definitions import definitions, expanded, metaspace, part, replace, steps, texts, token
from sentencepiece import sentencepiece_model_pb2

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "test/fixtures/tokenizers/gold.json"
BLOCK = 0x2000
TEXT = 0x100
GROUP = 10


def charsmap():
    """A small compiled character map; a model's own has 240 kB."""
    rules = {"ﬁ": "fi", "①": "1", "e\u0301": "é", "か\u3099": "が", "㌀": "アパート", "\u200b": " ", "\u00a0": " ", "\u3000": " ", "ᵢ": "i",
             "\u212b": "\u00c5", "𝐀": "A", "가": "ga", "\u0915\u093c": "\u0958", "\u0307": "'", "👩": "w", "Σ": "s", "\t": " ", "~": "-"}
    lines = [" ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v) for k, v in rules.items()]
    Path("/tmp/rules.tsv").write_text("\n".join(lines) + "\n")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g h i j k l m n o p"] * 10), model_writer=model, vocab_size=24, hard_vocab_limit=False,
        normalization_rule_tsv="/tmp/rules.tsv", minloglevel=2)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()


def from_pieces(folder):
    """A tokenizer.json of a SentencePiece model, as transformers converts that of DeBERTa-v3."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((folder / "spm.model").read_bytes())
    pieces = [[piece.piece, piece.score] for piece in proto.pieces]
    charsmap = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    names = ["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"]
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    return expanded({
        "normalizer": steps(part("Strip", strip_left=True, strip_right=True), part("Precompiled", precompiled_charsmap=charsmap),
                            replace(" ", Regex=" {2,}")),
        "pre_tokenizer": metaspace(),
        "added_tokens": [{**token(name), "id": ids.get(name, len(pieces))} for name in names],
        "model": part("Unigram", vocab=pieces, unk_id=ids["[UNK]"], byte_fallback=proto.trainer_spec.byte_fallback),
    }, {})


def folders():
    """Real vocabularies, by their folder: beside or in the project."""
    shared = ROOT.parent / "shared/tokenizers"
    for folder in [ROOT / "models/minilm-l6-bce/1", shared / "modernbert"]:
        yield folder, tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    roberta = shared / "roberta"
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(roberta / "vocab.json"), str(roberta / "merges.txt")))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>", "<pad>", tokenizers.AddedToken("<mask>", lstrip=True)])
    yield roberta, tokenizer
    yield shared / "deberta-v3", tokenizers.Tokenizer.from_str(json.dumps(from_pieces(shared / "deberta-v3")))


def code_points(block):
    return [c for c in range(block * BLOCK, (block + 1) * BLOCK) if not 0xD800 <= c <= 0xDFFF]


def contexts(c):
    """Of planes of ideographs, private characters or none, each code point is seen once."""
    return f"{chr(c)} a{chr(c)}b e{chr(c)}\u0301\u0323 " if c >> 16 in (0, 1, 14) else chr(c)


def block_texts(block, without):
    points = [c for c in code_points(block) if c not in without]
    for i in range(0, len(points), TEXT):
        yield "".join(contexts(c) for c in points[i : i + TEXT])


def text_checksum(tokenizer, texts):
    crc = 0
    for text in texts:
        crc = zlib.crc32(array("I", tokenizer.encode(text, add_special_tokens=False).ids).tobytes(), crc)
    return f"{crc:08x}"


def grouped(tokenizer, texts):
    return "".join(text_checksum(tokenizer, texts[i : i + GROUP]) for i in range(0, len(texts), GROUP))


def checksum(tokenizer, block, without):
    return text_checksum(tokenizer, block_texts(block, without))


def members(ranges):
    found = set()
    for part in ranges.split():
        first, _, last = part.partition("-")
        found.update(range(int(first, 16), int(last or first, 16) + 1))
    return found


def swept(tokenizer, pins):
    without = members(pins)
    blocks = [checksum(tokenizer, b, without) for b in range(0x110000 // BLOCK)]
    pinned = sorted({c // BLOCK for c in without})
    return {"blocks": "".join(blocks), "differs": pins, "withPins": {str(b): checksum(tokenizer, b, set()) for b in pinned}}


def remembered(definition, tokenizer, pins):
    """Returns the sweep of an earlier run of the same definition; a sweep takes several seconds."""
    key = zlib.crc32(json.dumps([definition, pins, tokenizers.__version__, BLOCK, TEXT]).encode())
    file = Path(tempfile.gettempdir()) / f"tokenizer-gold-{key:08x}.json"
    if not file.exists():
        file.write_text(json.dumps(swept(tokenizer, pins)))
    return json.loads(file.read_text())


def main():
    pins = json.loads((Path(__file__).parent / "pins.json").read_text())
    parts = {"@charsmap": charsmap()}
    gold = {"library": f"tokenizers {tokenizers.__version__}", "block": BLOCK, "text": TEXT, "group": GROUP, "parts": parts, "texts": texts(), "definitions": []}
    for definition in definitions():
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(expanded(definition, parts)))
        entry = dict(definition)
        if entry.pop("sweep"):
            entry["sweep"] = remembered(definition, tokenizer, pins.get(pins["definitions"].get(definition["name"]), ""))
        entry["ids"] = grouped(tokenizer, gold["texts"])
        gold["definitions"].append(entry)
    gold["folders"] = []
    for folder, tokenizer in folders():
        tokenizer.no_padding()
        tokenizer.no_truncation()
        gold["folders"].append({"name": str(folder.relative_to(ROOT.parent if "shared" in folder.parts else ROOT)),
                                "ids": grouped(tokenizer, gold["texts"]), "sweep": swept(tokenizer, "")})
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(gold, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
