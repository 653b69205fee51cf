"""Writes test/training/interaction/pytorch-tops.json: scores and gradients of both forms of an interaction model, in float64.

Needs torch. Weights, states and the loss follow from formulas, so that the file holds two numbers a weight: the length of its gradient and the
product of the gradient with a vector of the same kind. Keys and values of passages are formed here, one pair at a time, which Winnow does not do.

  python test/clients/interaction/make_gold.py
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)

HIDDEN, HEADS, WIDE, LAYERS, VOCABULARY, POSITIONS = 8, 2, 12, 3, 24, 16
CONFIG = {
    "model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_attention_heads": HEADS,
    "intermediate_size": WIDE, "num_hidden_layers": LAYERS, "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0,
}
QUERIES = [[2, 7, 9, 3], [2, 11, 3]]
QUERY_OF = [0, 1, 1]
PASSAGE_TOKENS = [5, 3, 4]
BOTTOM, TOP = 1, 2
SIZE = HIDDEN // HEADS


def linear(name, out, inside):
    return {f"{name}.weight": [out, inside], f"{name}.bias": [out]}


def norms(name):
    return {f"{name}.weight": [HIDDEN], f"{name}.bias": [HIDDEN]}


def layer(at):
    square = [HIDDEN, HIDDEN]
    return {
        **linear(f"{at}attention.self.query", *square), **linear(f"{at}attention.self.key", *square),
        **linear(f"{at}attention.self.value", *square), **linear(f"{at}attention.output.dense", *square),
        **norms(f"{at}attention.output.LayerNorm"), **linear(f"{at}intermediate.dense", WIDE, HIDDEN),
        **linear(f"{at}output.dense", HIDDEN, WIDE), **norms(f"{at}output.LayerNorm"),
    }


def encoder_shapes():
    found = {
        "embeddings.word_embeddings.weight": [VOCABULARY, HIDDEN], "embeddings.position_embeddings.weight": [POSITIONS, HIDDEN],
        "embeddings.token_type_embeddings.weight": [2, HIDDEN], **norms("embeddings.LayerNorm"),
    }
    for i in range(LAYERS):
        found.update(layer(f"encoder.layer.{i}."))
    return found


def shapes(form):
    return {**encoder_shapes(), **own_shapes(form)}


def own_shapes(form):
    found = {}
    for i in range(TOP):
        found.update(layer(f"interaction.{i}.layer."))
        for part in ("query", "key", "value", "output"):
            found.update(linear(f"interaction.{i}.cross.{part}", HIDDEN, HIDDEN))
        found.update({f"interaction.{i}.gate": [HIDDEN]} if form == "cosine" else norms(f"interaction.{i}.norm"))
    if form == "cosine":
        found.update({"interaction.scale": [1], **linear("interaction.head.0", HIDDEN, 2 * HIDDEN), **linear("interaction.head.1", 1, HIDDEN)})
    else:
        found.update({**linear("interaction.pooler", HIDDEN, HIDDEN), **linear("interaction.classifier", 1, HIDDEN)})
    return found


def formula(count, t):
    """float32 numbers between -0.4 and 0.4."""
    return torch.tensor([((j * 7919 + t * 104729 + 13) % 1009 / 1009 - 0.5) * 0.8 for j in range(count)], dtype=torch.float32).double()


def weights_of(form):
    named = {}
    for t, (name, dims) in enumerate(shapes(form).items()):
        shift = 1.0 if "Norm.weight" in name or ".norm.weight" in name or name == "interaction.scale" else 0.0
        named[name] = (formula(math.prod(dims), t).float() + shift).double().reshape(dims).requires_grad_()
    return named


def passages():
    """States as int8 with a scale a token, decoded, and unit vectors."""
    found = []
    for r, tokens in enumerate(PASSAGE_TOKENS):
        whole = torch.tensor([((j * 37 + r * 11 + 5) % 255) - 127 for j in range(tokens * HIDDEN)]).reshape(tokens, HIDDEN).double()
        scales = torch.tensor([(1 + (t + r) % 3) / 127 for t in range(tokens)], dtype=torch.float32).double()
        vector = formula(HIDDEN, 1000 + r)
        found.append((whole * scales[:, None], F.normalize(vector, dim=0).float().double()))
    return found


def lin(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def ln(w, name, x):
    return F.layer_norm(x, (HIDDEN,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)


def heads(x):
    return x.reshape(x.shape[0], HEADS, SIZE).transpose(0, 1)


def attention(q, k, v, hides_first=False):
    scores = heads(q) @ heads(k).transpose(1, 2) / math.sqrt(SIZE)
    if hides_first:
        scores[:, 1:, 0] = -math.inf
    return (scores.softmax(-1) @ heads(v)).transpose(0, 1).reshape(q.shape[0], HIDDEN)


def own(w, at, x, hides_first=False):
    q, k, v = (lin(w, f"{at}attention.self.{part}", x) for part in ("query", "key", "value"))
    return lin(w, f"{at}attention.output.dense", attention(q, k, v, hides_first))


def cross(w, i, x, d):
    at = f"interaction.{i}.cross."
    return lin(w, f"{at}output", attention(lin(w, f"{at}query", x), lin(w, f"{at}key", d), lin(w, f"{at}value", d)))


def rest(w, at, total):
    middle = ln(w, f"{at}attention.output.LayerNorm", total)
    return ln(w, f"{at}output.LayerNorm", middle + lin(w, f"{at}output.dense", F.gelu(lin(w, f"{at}intermediate.dense", middle))))


def embed(w, ids):
    at = torch.arange(len(ids))
    total = w["embeddings.word_embeddings.weight"][torch.tensor(ids)] + w["embeddings.token_type_embeddings.weight"][0]
    return ln(w, "embeddings.LayerNorm", total + w["embeddings.position_embeddings.weight"][at])


def encode(w, ids, layers):
    x = embed(w, ids)
    for i in range(layers):
        x = rest(w, f"encoder.layer.{i}.", x + own(w, f"encoder.layer.{i}.", x))
    return x


def score(w, form, ids, d, v):
    x = encode(w, ids, BOTTOM)
    for i in range(TOP):
        at = f"interaction.{i}.layer."
        if form == "cosine":
            x = rest(w, at, x + own(w, at, x) + w[f"interaction.{i}.gate"] * cross(w, i, x, d))
        else:
            x = ln(w, f"interaction.{i}.norm", x + cross(w, i, x, d))
            x = rest(w, at, x + own(w, at, x, hides_first=True))
    if form == "first":
        return lin(w, "interaction.classifier", torch.tanh(lin(w, "interaction.pooler", x[0])))[0]
    pooled = x.mean(0)
    head = lin(w, "interaction.head.1", F.gelu(lin(w, "interaction.head.0", torch.cat([x[0], pooled]))))[0]
    return w["interaction.scale"][0] * (F.normalize(pooled, dim=0) @ v) + head


def gold(form):
    w = weights_of(form)
    scores = torch.stack([score(w, form, QUERIES[q], d, v) for q, (d, v) in zip(QUERY_OF, passages())])
    factors = torch.tensor([1.0, -0.5, 2.0])
    loss = (factors * scores + 0.25 * scores**2).sum()
    gradients = torch.autograd.grad(loss, list(w.values()), allow_unused=True)
    pairs = [
        None if g is None else [float(f"{x:.7g}") for x in (g.norm().item(), (g.flatten() @ formula(g.numel(), t + 500)).item())]
        for t, g in enumerate(gradients)
    ]
    return {"form": form, "shapes": own_shapes(form), "scores": scores.tolist(), "loss": loss.item(), "gradients": pairs}


def tower():
    """States after the second layer, and the unit vector, of one passage by the encoder alone."""
    w = weights_of("cosine")
    ids = [2, 5, 8, 13, 21, 3]
    return {"ids": ids, "states": encode(w, ids, 2).flatten().tolist(), "vector": F.normalize(encode(w, ids, LAYERS).mean(0), dim=0).tolist()}


if __name__ == "__main__":
    file = pathlib.Path(__file__).resolve().parents[2] / "training" / "interaction" / "pytorch-tops.json"
    short = lambda xs: [float(f"{x:.9g}") for x in xs]
    alone = tower()
    document = {
        "config": CONFIG, "queries": QUERIES, "queryOf": QUERY_OF, "passageTokens": PASSAGE_TOKENS, "bottom": BOTTOM, "top": TOP,
        "encoder": encoder_shapes(),
        "tower": {"ids": alone["ids"], "states": short(alone["states"]), "vector": short(alone["vector"])},
        "forms": [gold(form) for form in ("cosine", "first")],
    }
    file.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(file, file.stat().st_size)
