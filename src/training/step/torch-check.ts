import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type GradientCase, gradientCase } from '../../autodiff/check-gradients.ts';
import { WinnowError } from '../../errors.ts';
import { consumers } from '../../onnx/graph.ts';
import { writeSafetensors } from '../../onnx/safetensors.ts';
import { float32, type Tensor, transposeTensor } from '../../onnx/tensor.ts';
import { CHECKED_LISTS, checkedWeights, OBJECTIVE_ROWS, objectiveLoss } from '../objectives/check-objective.ts';
import { TORCH_OBJECTIVES, torchFormula } from '../objectives/torch-formulas.ts';
import type { Backbone } from './backbone.ts';
import { isTransposedInTorch } from './lora.ts';

/*
 * The gradients of a model as files that another program can check: batches, weights, losses and gradients in safetensors, and the text of a
 * PyTorch script that computes them anew in float64. Nothing here runs Python.
 */

/** File of the tensors, in the folder that is asked for. */
export const CHECK_FILE = 'check.safetensors';
const BATCHES = 2;

interface TorchCheck {
  readonly file: string;
  readonly script: string;
  readonly losses: readonly number[];
}

/** Lines that make `net` and the function `score`. */
function modelLines({ freshHead, folder, weights }: Backbone): readonly string[] {
  const config = `config = AutoConfig.from_pretrained(${JSON.stringify(resolve(folder))}, num_labels=1)`;
  if (!freshHead)
    return [
      config,
      'net = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")',
      'head = {}',
      'score = lambda x: net(**x).logits[:, 0]',
    ];
  const names = new Set(weights.map((w) => w.name));
  if (!names.has('head.dense.weight'))
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: 'a model with a scoring head, or an encoder that gets a dense layer over its first token',
      got: 'a head of another form',
    });
  return [
    config,
    'net = AutoModel.from_config(config, attn_implementation="eager")',
    'head = {k: weights.pop(k).requires_grad_() for k in list(weights) if k.startswith("head.")}',
    'def score(x):',
    '    h = torch.tanh(F.linear(net(**x).last_hidden_state[:, 0], head["head.dense.weight"], head["head.dense.bias"]))',
    '    return F.linear(h, head["head.out.weight"], head["head.out.bias"])[:, 0]',
  ];
}

function scriptOf(backbone: Backbone, file: string, formula: readonly string[]): string {
  return `${[
    '# Repeats the losses and gradients of `winnow gradcheck --against torch` in float64. Needs torch, transformers, safetensors.',
    'import torch',
    'import torch.nn.functional as F',
    'from safetensors.torch import load_file',
    'from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification',
    'torch.set_default_dtype(torch.float64)',
    `data = load_file(${JSON.stringify(resolve(file))})`,
    'part = lambda start: {k[len(start):]: v.double() if v.is_floating_point() else v for k, v in data.items() if k.startswith(start)}',
    'weights = part("weight.")',
    ...modelLines(backbone),
    'net.double().eval()',
    'params, own = dict(net.named_parameters()), {}',
    'for name, value in weights.items():',
    '    found = [k for k in params if k == name or k.endswith("." + name) or name.endswith("." + k)]',
    '    assert len(found) == 1 and params[found[0]].shape == value.shape, f"{name}: {found}"',
    '    params[found[0]].data.copy_(value)',
    '    own[name] = params[found[0]]',
    'print("not in the graph:", [k for k, p in params.items() if all(p is not q for q in own.values())])',
    'own.update(head)',
    's_shape = data["relevance"].shape',
    'y, t, w = (data[name].double() for name in ("relevance", "teacher", "weight"))',
    `for b in range(${BATCHES}):`,
    '    s = score(part(f"batch.{b}.")).reshape(s_shape)',
    ...formula.map((line) => `    ${line}`),
    '    expected = data[f"loss.{b}"].item()',
    '    gradients = torch.autograd.grad(loss, list(own.values()), allow_unused=True)',
    '    norm = sum((g ** 2).sum() for g in gradients if g is not None) ** 0.5',
    '    worst = ("none", 0.0)',
    '    for name, g in zip(own, gradients):',
    '        theirs = data.get(f"gradient.{b}.{name}")',
    '        assert (theirs is None) == (g is None or not g.any()), name',
    '        if theirs is not None:',
    '            worst = max(worst, (name, ((theirs.double() - g).norm() / norm).item()), key=lambda x: x[1])',
    '    print(f"batch {b}: loss {loss.item():.9f}, winnow {expected:.9f}, worst gradient {worst[0]} {worst[1]:.1e} of the norm {norm:.3e}")',
  ].join('\n')}\n`;
}

/** Returns the tensors of a check, weights and gradients in PyTorch's layout. */
function tensorsOf(
  { weights, model }: Backbone,
  cases: readonly GradientCase[],
  objective: string,
): Map<string, Tensor> {
  const read = consumers(model.graph);
  const turned = new Set(weights.filter((w) => isTransposedInTorch(w, read)).map((w) => w.name));
  const laidOut = (name: string, value: Tensor): Tensor => (turned.has(name) ? transposeTensor(value) : value);
  const tensors = new Map<string, Tensor>([
    ['relevance', CHECKED_LISTS.relevance],
    ['teacher', CHECKED_LISTS.teacher],
    ['weight', checkedWeights(objective)],
  ]);
  for (const { name, parameter, value } of weights) tensors.set(`weight.${parameter}`, laidOut(name, value));
  for (const [b, { feeds, loss, gradients }] of cases.entries()) {
    for (const [input, value] of Object.entries(feeds)) tensors.set(`batch.${b}.${input}`, value);
    tensors.set(`loss.${b}`, float32([1], [loss]));
    for (const { name, parameter } of weights) {
      const gradient = gradients.get(name);
      if (gradient) tensors.set(`gradient.${b}.${parameter}`, laidOut(name, gradient));
    }
  }
  return tensors;
}

/**
 * Writes batches, weights, losses and gradients of a model into `folder` and makes the script that repeats them.
 * @throws WinnowError `invalid_input` for an objective without a formula in PyTorch and heads that no script is known for.
 */
export async function writeTorchCheck(
  backbone: Backbone,
  objective: string,
  folder: string,
  seed: number,
): Promise<TorchCheck> {
  const formula = torchFormula(objective);
  if (!formula)
    throw new WinnowError('invalid_input', {
      where: '--objective',
      expected: `one of ${TORCH_OBJECTIVES.join(', ')} with --against torch`,
      got: objective,
    });
  const file = join(folder, CHECK_FILE);
  const script = scriptOf(backbone, file, formula);
  const cases: GradientCase[] = [];
  const weights = backbone.weights.map((w) => w.name);
  for (let b = 0; b < BATCHES; b++)
    cases.push(
      await gradientCase(backbone.model, weights, {
        loss: objectiveLoss(objective),
        rows: OBJECTIVE_ROWS,
        seed: seed + b,
      }),
    );
  await mkdir(folder, { recursive: true });
  await writeSafetensors(file, tensorsOf(backbone, cases, objective), { objective });
  return { file, script, losses: cases.map(({ loss }) => loss) };
}
