"""Tokenizer definitions for make_gold.py. "bytes" and "ends" are vocabularies that show a normalized text and its pre-tokens as they are."""

import random


def byte_characters():
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    moved = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(moved)) for b in range(256)]


BYTE_CHARACTERS = byte_characters()
# English clitics, letters, digits, marks, blanks, as exporters of byte-level models write them.
LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"


def part(kind, **settings):
    return {"type": kind, **settings}


def bert(**settings):
    return part("BertNormalizer", **{"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True, **settings})


def steps(*normalizers):
    return part("Sequence", normalizers=list(normalizers))


def then(*pre_tokenizers):
    return part("Sequence", pretokenizers=list(pre_tokenizers))


def replace(content, **pattern):
    return part("Replace", pattern=pattern, content=content)


def split(behavior="Isolated", invert=False, **pattern):
    return part("Split", pattern=pattern, behavior=behavior, invert=invert)


def metaspace(scheme="always", whole=False):
    return part("Metaspace", replacement="▁", prepend_scheme=scheme, split=not whole)


def byte_level(regex=False, prefix=False):
    return part("ByteLevel", add_prefix_space=prefix, trim_offsets=True, use_regex=regex)


PRECOMPILED = part("Precompiled", precompiled_charsmap="@charsmap")
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]

NORMALIZERS = {
    "BertNormalizer": bert(),
    "BertNormalizer, cased": bert(lowercase=False),
    "BertNormalizer, cased, without accents": bert(lowercase=False, strip_accents=True),
    "BertNormalizer, with accents": bert(strip_accents=False),
    "BertNormalizer, without clean_text": bert(clean_text=False),
    "BertNormalizer, without ideographs": bert(handle_chinese_chars=False),
    "BertNormalizer, all off": bert(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False),
    "Lowercase": part("Lowercase"),
    "NFC": part("NFC"),
    "NFD": part("NFD"),
    "NFKC": part("NFKC"),
    "NFKD": part("NFKD"),
    "StripAccents": part("StripAccents"),
    "Strip": part("Strip", strip_left=True, strip_right=True),
    "Strip left": part("Strip", strip_left=True, strip_right=False),
    "Strip right": part("Strip", strip_left=False, strip_right=True),
    "Nmt": part("Nmt"),
    "Prepend": part("Prepend", prepend="▁"),
    "Precompiled": PRECOMPILED,
    "Replace text": replace("Σ", String="a."),
    "Replace blanks": replace(" ", Regex=r"\s+"),
    "Replace letters": replace("x", Regex=r"(?i:[a-e])|\p{Lu}"),
    "Replace beginnings of words": replace("_", Regex=r"\b\w"),
    "Replace by nothing": replace("", Regex=r"[^\w\s]|\d"),
    "Replace by marks": steps(replace("\u0301", String="a"), part("NFC")),
    "Replace ends of lines": replace("|", Regex=r"^.|.$"),
    "NFD, Lowercase, StripAccents": steps(part("NFD"), part("Lowercase"), part("StripAccents")),
    "like ALBERT": steps(
        replace('"', String="``"), replace('"', String="''"), part("NFKD"), part("StripAccents"), part("Lowercase"), PRECOMPILED,
        replace(" ", Regex=" {2,}")),
    "like T5": steps(PRECOMPILED, part("Strip", strip_left=False, strip_right=True), replace("▁", Regex=" {2,}")),
    "like Llama 2": steps(part("Prepend", prepend="▁"), replace("▁", String=" ")),
}

PRE_TOKENIZERS = {
    "BertPreTokenizer": part("BertPreTokenizer"),
    "Whitespace": part("Whitespace"),
    "WhitespaceSplit": part("WhitespaceSplit"),
    **{f"Punctuation, {b}": part("Punctuation", behavior=b) for b in BEHAVIORS},
    "Digits": part("Digits", individual_digits=False),
    "Digits, single": part("Digits", individual_digits=True),
    **{f"Split at blanks, {b}": split(b, String=" ") for b in BEHAVIORS},
    "Split into words": split("Removed", True, Regex=r"\w+"),
    "Split into words, MergedWithPrevious": split("MergedWithPrevious", True, Regex=r"\w+"),
    "Split at letters, MergedWithNext": split("MergedWithNext", Regex="[ab]"),
    "Split like Llama 3": split(Regex=LLAMA_3),
    "Split like o200k": split(Regex=O200K),
    "Split like DeepSeek": split(Regex=DEEPSEEK),
    "Split like BLOOM": split(Regex=BLOOM),
    "Split at ideographs": split(Regex="[一-龥぀-ゟ゠-ヿ]+"),
    "Split at classes": split(Regex=r"[[:punct:]]+|[\p{Han}\-\]]|[^[:alpha:]\s]{2,}|\h"),
    "CharDelimiterSplit": part("CharDelimiterSplit", delimiter="b"),
    "FixedLength": part("FixedLength", length=3),
    **{f"Metaspace, {s}": metaspace(s) for s in ["always", "first", "never"]},
    "Metaspace, whole": metaspace(whole=True),
    "WhitespaceSplit, Metaspace": then(part("WhitespaceSplit"), metaspace("first")),
    "Whitespace, Digits, Punctuation": then(part("Whitespace"), part("Digits", individual_digits=True), part("Punctuation", behavior="Contiguous")),
}

# The others differ from these in how they split, not in where.
SWEPT = {
    "BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation, Isolated", "Digits, single", "Split into words", "Split like Llama 3",
    "Split like o200k", "Split like DeepSeek", "Split like BLOOM", "Split at ideographs", "Split at classes", "Metaspace, always",
}

WORDS = "<unk> <pad> <s> </s> [A] [B] new [C] a b c ab abc x é ä 中 # ##b ##c ##x ▁ ▁a ▁ab Σ σ ς 𠮷".split()
VOCABULARY = {word: i for i, word in enumerate(WORDS)}
BYTES = {f"<0x{b:02X}>": 100 + b for b in range(256)}
PIECES = [[word, -0.5 * i - (0 if i % 3 else 1)] for word, i in VOCABULARY.items()]
MERGES = [["a", "b"], ["ab", "c"], ["▁", "a"], ["▁a", "b"]]
WORD_PIECE = part("WordPiece", unk_token="<unk>", continuing_subword_prefix="##", max_input_chars_per_word=6, vocab=VOCABULARY)


def bpe(**settings):
    off = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
           "byte_fallback": False, "ignore_merges": False}
    return part("BPE", **{**off, "vocab": VOCABULARY, "merges": MERGES, **settings})


WITH_UNKNOWN = bpe(unk_token="<unk>")
MODELS = {
    "Unigram": (part("Unigram", vocab=PIECES, unk_id=0, byte_fallback=False), None, metaspace()),
    "Unigram with byte fallback": (
        part("Unigram", vocab=PIECES + [[b, -60.0] for b in BYTES], unk_id=0, byte_fallback=True), None, metaspace()),
    "BPE that drops unknown characters": (bpe(), None, metaspace()),
    "BPE with unknown token": (WITH_UNKNOWN, None, metaspace()),
    "BPE that joins unknown characters": (bpe(unk_token="<unk>", fuse_unk=True), None, metaspace()),
    "BPE with byte fallback": (bpe(unk_token="<unk>", byte_fallback=True, vocab={**VOCABULARY, **BYTES}), None, metaspace()),
    "BPE with some bytes": (
        bpe(unk_token="<unk>", fuse_unk=True, byte_fallback=True,
            vocab={**VOCABULARY, **{b: i for b, i in BYTES.items() if b not in ("<0xCE>", "<0xF0>")}}), None, metaspace()),
    "BPE that takes whole words": (
        bpe(unk_token="<unk>", ignore_merges=True, vocab={**VOCABULARY, "cab": 400}), None, part("Whitespace")),
    "BPE with ends of words": (
        bpe(unk_token="<unk>", end_of_word_suffix="</w>", vocab={**VOCABULARY, "a</w>": 400, "b</w>": 401, "c</w>": 402, "ab</w>": 403},
            merges=[["a", "b</w>"], ["a", "b"]]), None, part("Whitespace")),
    "BPE with continued words": (
        bpe(unk_token="<unk>", continuing_subword_prefix="##", vocab={**VOCABULARY, "##ab": 400}, merges=[["a", "##b"], ["ab", "##c"]]),
        None, part("Whitespace")),
    "WordPiece": (WORD_PIECE, bert(), part("BertPreTokenizer")),
    "WordPiece, cased": (WORD_PIECE, bert(lowercase=False), part("BertPreTokenizer")),
    "WordPiece after other steps": (
        WORD_PIECE, steps(part("NFKC"), part("Lowercase")), then(part("WhitespaceSplit"), part("Punctuation", behavior="Isolated"))),
}


def token(content, **flags):
    off = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": VOCABULARY.get(content, len(VOCABULARY)), "content": content, **off, **flags}


ADDED = {
    "plain": [token("[A]"), token("[B]")],
    "lstrip": [token("[A]", lstrip=True), token("[B]")],
    "rstrip": [token("[A]", rstrip=True), token("[B]")],
    "both strips": [token("[A]", lstrip=True, rstrip=True), token("[B]", lstrip=True, rstrip=True)],
    "single_word": [token("[A]"), token("new", single_word=True)],
    "normalized": [token("[A]", normalized=True, special=False), token("new", normalized=True, special=False), token("[B]")],
    "normalized single_word": [token("new", normalized=True, single_word=True, special=False), token("[C]", normalized=True)],
    "beginnings of each other": [token("a"), token("ab"), token("abc", lstrip=True)],
    "outside the vocabulary": [token("[A]"), token("[NEW]"), {**token("zz", normalized=True), "id": len(VOCABULARY) + 1}],
}


def definitions():
    """Returns all definitions; those with `sweep` see every code point."""
    found = []

    def add(name, model, normalizer, pre_tokenizer, sweep=False, added=()):
        found.append({"name": name, "sweep": sweep, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "model": model,
                      "added_tokens": list(added)})

    for name, normalizer in NORMALIZERS.items():
        add(name, "bytes", normalizer, byte_level(), True)
    add("ByteLevel as normalizer", "bytes", part("ByteLevel"), None, True)
    add("ByteLevel", "bytes", None, byte_level(True, True), True)
    for name, pre_tokenizer in PRE_TOKENIZERS.items():
        add(name, "ends", None, then(pre_tokenizer, byte_level()), name in SWEPT)
    for name, (model, normalizer, pre_tokenizer) in MODELS.items():
        add(name, model, normalizer, pre_tokenizer)
    for name, added in ADDED.items():
        add(f"added tokens, {name}", WORD_PIECE, bert(), part("BertPreTokenizer"), False, added)
        add(f"added tokens of BPE, {name}", WITH_UNKNOWN, part("Lowercase"), metaspace(), False, added)
        add(f"added tokens, blank before the first word, {name}", WITH_UNKNOWN, None, metaspace("first"), False, added)
    return found


def model_of(name):
    """Returns the model of "bytes" (a token a byte) or "ends" (others for the last byte of a pre-token)."""
    ends = {f"{c}</w>": 256 + b for b, c in enumerate(BYTE_CHARACTERS)} if name == "ends" else {}
    vocabulary = {**{c: b for b, c in enumerate(BYTE_CHARACTERS)}, **ends}
    return bpe(vocab=vocabulary, merges=[], end_of_word_suffix="</w>" if ends else None)


def expanded(value, parts):
    """Returns a definition as the content of a tokenizer.json."""
    def filled(v):
        if isinstance(v, dict):
            return {k: filled(x) for k, x in v.items()}
        if isinstance(v, list):
            return [filled(x) for x in v]
        return parts.get(v, v) if isinstance(v, str) else v
    model = value["model"]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": value["added_tokens"],
            "normalizer": filled(value["normalizer"]), "pre_tokenizer": value["pre_tokenizer"], "post_processor": None, "decoder": None,
            "model": model_of(model) if isinstance(model, str) else model}


PARTS = (
    ["a", "b", "c", "abc", "cab", "ab", "x", "new", "NEW", "[A]", "[B]", "[C]", "[a]", "[NEW]", "zz", "ZZ", "<unk>", "▁", "##b", " ", " ", "  ", "\t", "\n", "\r\n"]
    + ["ΟΔΟΣ", "Σ", "ς", "σΣ.", "İstanbul", "ẞ", "ﬁ", "①", "ǅ", "Ω", "Å", "é", "e\u0301", "\u0301", "\u0323", "\u0345", "\u1abf", "\u0307", "\u05bf", "ä"]
    + ["中", "𠮷", "\u3402", "\uf9d0", "\U0002a6df", "\U0002a6e0", "\U0002b820", "\U0002b920", "\U0002ceb0", "\U0002f800", "\U00030000", "か\u3099", "ｶﾞ", "가", "각", "ᄀ", "ᅡ"]
    + ["\x00", "\x0b", "\x1f", "\x7f", "\x85", "\xa0", "\xad", "\u200b", "\u200d", "\u2028", "\u202e", "\u3000", "\ufeff", "\ufffd", "\ue000", "\U000e0041"]
    + ["👩\u200d👩\u200d👧", "🦙", "🇨🇭", "👍🏽", "٣", "½", "Ⅷ", "2024", "1", ",", ".", "!", "…", "—", "‘", "«", "$", "+", "`", "``", "''", "'s", "'LL", "don't", "_", "-", "~"]
    + ["\U00010ead", "\u2e52", "\u1b7e", "\U00011f41", "\U0001e5ff", "\U00016d68", "\U000105d2\u0307"]
)


def texts():
    """Returns random texts of characters that tokenizers treat in different ways."""
    chance = random.Random(20)
    return ["".join(chance.choice(PARTS) for _ in range(chance.randint(0, 14))) for _ in range(300)]
