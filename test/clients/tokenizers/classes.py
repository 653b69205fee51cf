"""Prints the character classes of src/tokenization/character-classes.ts, measured on Hugging Face's tokenizers (Rust).

    /tmp/gold/bin/python test/clients/tokenizers/classes.py     # set-up: make_gold.py

PLAIN_IN_FORMS is not among them: it is where the library's Unicode forms and Node's differ, as the sweep of rust.test.ts shows.
"""

from tokenizers import normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def bert(**on):
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**{**off, **on})


def dropped_by(normalizer):
    return lambda c: normalizer.normalize_str(f"a{chr(c)}b") == "ab"


CLASSES = {
    "UNWANTED": dropped_by(bert(clean_text=True)),
    "NONSPACING_MARKS": dropped_by(bert(strip_accents=True)),
    "COMBINING_MARKS": dropped_by(normalizers.StripAccents()),
    "PUNCTUATION": lambda c: c > 127 and len(pre_tokenizers.Punctuation().pre_tokenize_str(f"a{chr(c)}b")) == 3,
    "DROPPED_BY_NMT": dropped_by(normalizers.Nmt()),
}


def ranges(points):
    found = []
    for c in points:
        if found and c == found[-1][1] + 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in found)


for name, contains in CLASSES.items():
    print(name, ranges(c for c in CODE_POINTS if contains(c)))
