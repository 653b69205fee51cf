"""Writes PyTorch's numbers for small encoders: make_gold.py OUT.jsonl [RANDOM_CASES SEED FOLDER].

Weights follow from a formula that the test repeats, so that the file holds names and shapes instead of numbers. Needs torch and transformers.
Without a number of random cases, writes the cases of CASES, which test/onnx/encoder-goldens.test.ts reads. Random cases are also saved
below FOLDER as hubs have them: safetensors or pickles, whole or in shards, in three precisions, under new and old names.
"""
import copy
import json
import os
import random
import sys

import torch
import transformers

SMALL = dict(vocab_size=40, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, max_position_embeddings=40)
DEBERTA = dict(SMALL, relative_attention=True, position_buckets=4, norm_rel_ebd='layer_norm', share_att_key=True, pos_att_type=['p2c', 'c2p'],
               position_biased_input=False, type_vocab_size=0)
MODERN = dict(SMALL, num_hidden_layers=3, local_attention=4, pad_token_id=0, bos_token_id=2, eos_token_id=2, cls_token_id=2, sep_token_id=2)

CASES = [
    # name, class, fields of the configuration
    ('deberta-v3', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1)),
    ('deberta-v3 with wide buckets and two labels', 'DebertaV2ForSequenceClassification', dict(DEBERTA, position_buckets=8, pooler_hidden_act='tanh')),
    ('deberta-v2-xlarge: a convolution', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, conv_kernel_size=3, conv_act='gelu')),
    ('deberta-v2: a convolution over five', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, conv_kernel_size=5, type_vocab_size=2)),
    ('deberta-v2 with projections for distances', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, share_att_key=False)),
    ('deberta-v2 without buckets', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, position_buckets=-1, norm_rel_ebd='none', max_relative_positions=5)),
    ('deberta-v2, c2p only', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, pos_att_type='c2p', share_att_key=False)),
    ('deberta-v2, p2c only', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, pos_att_type='p2c')),
    ('deberta-v2 without distances', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, relative_attention=False, position_biased_input=True)),
    ('deberta-v2 with all embeddings, narrow', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, position_biased_input=True, type_vocab_size=2, embedding_size=8)),
    ('deberta-v2, no source of distances', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, pos_att_type=[])),
    ('deberta-v2, an odd number of buckets', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, position_buckets=5)),
    ('deberta-v2, more buckets than positions', 'DebertaV2ForSequenceClassification', dict(DEBERTA, num_labels=1, position_buckets=256)),
    ('deberta-v2 bare', 'DebertaV2Model', DEBERTA),
    ('deberta-v2 masked', 'DebertaV2ForMaskedLM', DEBERTA),
    ('deberta-v2 masked, not legacy', 'DebertaV2ForMaskedLM', dict(DEBERTA, legacy=False)),
    ('bert with three types and silu', 'BertForSequenceClassification', dict(SMALL, num_labels=1, type_vocab_size=3, hidden_act='silu', layer_norm_eps=1e-3)),
    ('bert with one type', 'BertForSequenceClassification', dict(SMALL, num_labels=1, type_vocab_size=1, hidden_act='quick_gelu')),
    ('bert for pretraining', 'BertForPreTraining', dict(SMALL, hidden_act='gelu_new')),
    ('bert for tokens', 'BertForTokenClassification', dict(SMALL, num_labels=3)),
    ('roberta whose padding is 0', 'RobertaForSequenceClassification', dict(SMALL, num_labels=1, pad_token_id=0, type_vocab_size=1, hidden_act='relu')),
    ('xlm-roberta for answers', 'XLMRobertaForQuestionAnswering', dict(SMALL, type_vocab_size=1)),
    ('camembert bare', 'CamembertModel', dict(SMALL, type_vocab_size=1, hidden_act='sigmoid')),
    ('electra, narrow', 'ElectraForSequenceClassification', dict(SMALL, num_labels=1, embedding_size=8, summary_activation='tanh', hidden_act='gelu_fast')),
    ('electra for pretraining', 'ElectraForPreTraining', dict(SMALL, embedding_size=12)),
    ('distilbert with sines for positions', 'DistilBertForSequenceClassification', dict(vocab_size=40, dim=12, n_heads=2, n_layers=2, hidden_dim=20,
        max_position_embeddings=40, sinusoidal_pos_embds=True, activation='relu', num_labels=1)),
    ('albert in groups', 'AlbertForSequenceClassification', dict(SMALL, num_labels=1, embedding_size=8, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2)),
    ('mpnet', 'MPNetForSequenceClassification', dict(SMALL, num_labels=1, hidden_act='tanh')),
    ('modernbert with every bias, mean', 'ModernBertForSequenceClassification', dict(MODERN, num_labels=1, norm_bias=True, attention_bias=True, mlp_bias=True,
        classifier_bias=True, classifier_pooling='mean', hidden_activation='silu', classifier_activation='tanh')),
    ('modernbert, cls, each second layer global', 'ModernBertForSequenceClassification', dict(MODERN, num_labels=1, global_attn_every_n_layers=2, local_attention=5,
        global_rope_theta=1000.0, local_rope_theta=100.0, sparse_prediction=True)),
    ('modernbert for tokens', 'ModernBertForTokenClassification', dict(MODERN, num_labels=3)),
    ('modernbert for answers', 'ModernBertForQuestionAnswering', MODERN),
]


def fill(model):
    """Sets every parameter by the formula of the test; returns their shapes."""
    shapes = {}
    with torch.no_grad():
        for t, (name, p) in enumerate(sorted(model.named_parameters())):
            j = torch.arange(p.numel(), dtype=torch.float64)
            v = ((j * 7919 + t * 104729 + 13) % 1009) / 1009 - 0.5
            is_scale = p.dim() == 1 and name.endswith('weight')
            p.copy_((v * 0.8 + (1 if is_scale else 0)).float().double().reshape(p.shape))
            shapes[name] = list(p.shape)
    return shapes


def rows(vocab, lengths=(5, 17, 11)):
    """Token ids without 0 and 1, which are padding."""
    return [[2 + (7 * i + 3 * n) % (vocab - 2) for i in range(n)] for n in lengths]


def save(model, folder, r):
    """Saves the model in one of the layouts of hubs."""
    os.makedirs(folder)
    model.config.save_pretrained(folder)
    layout = r.choice(['safe', 'safe', 'safe shards', 'bin', 'bin shards', 'legacy bin'])
    if layout.startswith('safe'):
        model.save_pretrained(folder, max_shard_size='4KB' if 'shards' in layout else '50GB')
        return layout
    state = {k: v.clone() for k, v in model.state_dict().items()}
    if r.random() < 0.3:
        layout += ', gamma and beta'
        state = {k.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'): v for k, v in state.items()}
    if r.random() < 0.3:
        layout += ', position ids'
        prefix = (model.base_model_prefix + '.') if model.base_model is not model else ''
        state[prefix + 'embeddings.position_ids'] = torch.arange(8).unsqueeze(0)
    if 'shards' not in layout:
        torch.save(state, f'{folder}/pytorch_model.bin', _use_new_zipfile_serialization='legacy' not in layout)
        return layout
    parts = [{k: v for i, (k, v) in enumerate(state.items()) if i % 3 == n} for n in range(3)]
    names = [f'pytorch_model-{n + 1:05}-of-00003.bin' for n in range(3)]
    for part, file in zip(parts, names):
        torch.save(part, f'{folder}/{file}')
    index = {'metadata': {'total_size': 1}, 'weight_map': {k: f for part, f in zip(parts, names) for k in part}}
    json.dump(index, open(f'{folder}/pytorch_model.bin.index.json', 'w'))
    return layout


def gold(name, cls, fields, folder=None, r=None):
    model_class = getattr(transformers, cls)
    fields = dict(fields)
    if cls.endswith('SequenceClassification'):
        fields.setdefault('num_labels', 2)
    config = model_class.config_class(**fields)
    config.architectures = [cls]
    config._attn_implementation = 'eager'
    torch.manual_seed(0)
    model = model_class(config).double().eval()
    shapes = fill(model)
    if folder:
        kind = r.choice(['float32', 'float32', 'float16', 'bfloat16'])
        name += ', ' + kind + ', ' + save(copy.deepcopy(model).to(getattr(torch, kind)), folder, r)
        with torch.no_grad():
            for p in model.parameters():  # not the rotary frequencies, which stay as they are
                p.copy_(p.to(getattr(torch, kind)).double())
    saved = json.loads(config.to_json_string(use_diff=True))
    saved['architectures'] = [cls]
    out = {'name': name, 'config': saved, 'tensors': shapes, 'rows': rows(fields['vocab_size'])}
    types = saved.get('type_vocab_size', 0) or 0
    encoder = model if cls.endswith('SequenceClassification') else model.base_model
    results = []
    for row in out['rows']:
        ids = torch.tensor([row])
        feeds = {'input_ids': ids, 'attention_mask': torch.ones_like(ids)}
        if types >= 2 and config.model_type not in ('roberta', 'xlm-roberta', 'camembert'):
            feeds['token_type_ids'] = ids % 2
        with torch.no_grad():
            got = encoder(**feeds)
        if cls.endswith('SequenceClassification'):
            results.append([round(v, 6) for v in got.logits[0].tolist()])
        else:
            states = got.last_hidden_state[0]
            results.append([round(v, 6) for v in states[0].tolist() + states[-1].tolist()])
    out['expected'] = results
    if folder:
        out['folder'] = folder
        del out['tensors']
    return out


def random_cases(count, seed):
    """Random configurations of every family."""
    r = random.Random(seed)
    acts = ['gelu', 'gelu_new', 'relu', 'silu', 'tanh', 'gelu_pytorch_tanh', 'quick_gelu', 'gelu_fast', 'sigmoid', 'swish', 'gelu_python']
    families = {'Bert': 'bert', 'Roberta': 'roberta', 'XLMRoberta': 'xlm-roberta', 'Camembert': 'camembert', 'Electra': 'electra', 'DistilBert': 'distilbert',
                'Albert': 'albert', 'MPNet': 'mpnet', 'DebertaV2': 'deberta-v2', 'ModernBert': 'modernbert'}
    heads_of = ['ForSequenceClassification'] * 3 + ['Model', 'ForMaskedLM', 'ForQuestionAnswering', 'ForTokenClassification', 'ForPreTraining']
    for n in range(count):
        family = r.choice(list(families))
        head = r.choice(heads_of)
        if not hasattr(transformers, family + head):
            head = 'Model'
        heads = r.choice([1, 2, 3, 4])
        size = r.choice([2, 4, 6])
        c = dict(vocab_size=r.choice([30, 41, 64]), hidden_size=heads * size, num_hidden_layers=r.choice([1, 2, 3, 4]), num_attention_heads=heads,
                 intermediate_size=r.choice([7, 16, 20]), max_position_embeddings=r.choice([24, 40, 64]))
        if r.random() < 0.7: c['num_labels'] = r.choice([1, 1, 1, 2, 3])
        if family == 'ModernBert':
            c['hidden_activation'] = r.choice(acts)
            c['classifier_activation'] = r.choice(acts)
            c['norm_eps'] = r.choice([1e-5, 1e-3, 1e-12])
            for flag in ('norm_bias', 'attention_bias', 'mlp_bias', 'classifier_bias', 'decoder_bias', 'sparse_prediction', 'tie_word_embeddings'):
                if r.random() < 0.5: c[flag] = r.random() < 0.5
            c['classifier_pooling'] = r.choice(['cls', 'mean'])
            c['local_attention'] = r.choice([2, 3, 4, 8, 128])
            c['global_attn_every_n_layers'] = r.choice([1, 2, 3])
            if r.random() < 0.5:
                c['rope_parameters'] = {'full_attention': {'rope_type': 'default', 'rope_theta': r.choice([100., 160000.])},
                                        'sliding_attention': {'rope_type': 'default', 'rope_theta': r.choice([50., 10000.])}}
            elif r.random() < 0.7:
                c['global_rope_theta'] = r.choice([1000., 160000.])
                if r.random() < 0.6: c['local_rope_theta'] = r.choice([None, 300.])
            c['pad_token_id'] = 0
            for k in ('bos_token_id', 'eos_token_id', 'cls_token_id', 'sep_token_id'): c[k] = 2
        elif family == 'DistilBert':
            c = dict(vocab_size=c['vocab_size'], dim=c['hidden_size'], n_heads=heads, n_layers=c['num_hidden_layers'], hidden_dim=c['intermediate_size'],
                     max_position_embeddings=c['max_position_embeddings'], activation=r.choice(['gelu', 'relu', 'silu', 'gelu_new']), sinusoidal_pos_embds=r.random() < 0.4,
                     num_labels=c.get('num_labels', 2))
        else:
            c['hidden_act'] = r.choice(acts)
            c['layer_norm_eps'] = r.choice([1e-12, 1e-5, 1e-3])
            c['type_vocab_size'] = r.choice([1, 2, 2, 3])
            if family in ('Roberta', 'XLMRoberta', 'Camembert'):
                c['pad_token_id'] = r.choice([0, 1, 1])
            if family == 'Electra':
                c['embedding_size'] = r.choice([c['hidden_size'], 5, 10])
                c['summary_type'] = r.choice(['first', 'last', 'mean'])
                c['summary_activation'] = r.choice(['gelu', 'tanh'])
            if family == 'Albert':
                c['embedding_size'] = r.choice([c['hidden_size'], 5, 10])
                c['num_hidden_groups'] = r.choice([1, 1, 2, 3])
                c['num_hidden_groups'] = min(c['num_hidden_groups'], c['num_hidden_layers'])
                c['inner_group_num'] = r.choice([1, 1, 2])
                c['classifier_dropout_prob'] = r.choice([0.1, 0.3])
            if family == 'MPNet':
                c['relative_attention_num_buckets'] = r.choice([32, 32, 48])
                c.pop('type_vocab_size')
            if family == 'DebertaV2':
                c.update(relative_attention=r.random() < 0.85, position_buckets=r.choice([-1, 4, 6, 7, 16, 256]), norm_rel_ebd=r.choice(['none', 'layer_norm']),
                         share_att_key=r.random() < 0.5, pos_att_type=r.choice([['p2c', 'c2p'], ['c2p'], ['p2c'], 'c2p|p2c', None]),
                         position_biased_input=r.random() < 0.4, type_vocab_size=r.choice([0, 0, 2, 1]), max_relative_positions=r.choice([-1, -1, 20, 64]),
                         pooler_hidden_act=r.choice(acts), conv_kernel_size=r.choice([0, 0, 3, 5]), conv_act=r.choice(['tanh', 'gelu', 'relu']))
                if r.random() < 0.3: c['embedding_size'] = 9
        if r.random() < 0.3: c['problem_type'] = 'regression'
        if r.random() < 0.3: c['classifier_dropout'] = 0.2
        yield f'{n} {family}{head}', family + head, c


if __name__ == '__main__':
    transformers.logging.set_verbosity_error()
    out = sys.argv[1]
    wanted = CASES if len(sys.argv) < 3 else list(random_cases(int(sys.argv[2]), int(sys.argv[3])))
    done = []
    for n, case in enumerate(wanted):
        folder = f'{sys.argv[4]}/{n}' if len(sys.argv) > 4 else None
        try:
            done.append(gold(*case, folder, random.Random(n)))
        except Exception as error:
            print('left out:', case[0], type(error).__name__, str(error)[:160], json.dumps(case[2])[:400])
    with open(out, 'w') as f:
        f.writelines(json.dumps(d) + '\n' for d in done)
    print(len(done), 'cases')
