import type { GraphBuilder } from '../builder.ts';

/*
 * The element-wise and row-wise functions of torch.nn that can be made without arguments, as inference computes them. They are written with
 * operators that have a gradient rule. Formulas and default values: PyTorch's documentation of torch.nn.
 */

export interface TorchActivation {
  /**
   * Appends the function of `x`, whose last axis has `width` values.
   * @param slope Reads the one weight that PReLU has, [1].
   */
  readonly apply: (g: GraphBuilder, x: string, width: number, slope: () => string) => string;
  /** Whether the last axis is halved. */
  readonly halves?: boolean;
  /** Whether it is defined for one vector a row only: with three axes PyTorch takes another axis, that of the batch. */
  readonly perRow?: boolean;
}

type Unary = (g: GraphBuilder, x: string) => string;

const simple = (apply: Unary): TorchActivation => ({ apply });

const clip = (g: GraphBuilder, x: string, low: number, high: number): string =>
  g.op('Clip', [x, g.scalar(low), g.scalar(high)]);

const scaled = (g: GraphBuilder, x: string, factor: number): string => g.mul(x, g.scalar(factor));

/** x above 0, `slope` · x below. */
const leaky = (g: GraphBuilder, x: string, slope: string): string => g.sub(g.relu(x), g.mul(slope, g.relu(g.neg(x))));

/** x above 0, `alpha` · (eˣ − 1) below. The exponent is never above 0, so that it cannot overflow. */
const exponential = (g: GraphBuilder, x: string, alpha: number): string => {
  const below = g.sub(g.exp(g.neg(g.relu(g.neg(x)))), g.scalar(1));
  return g.add(g.relu(x), scaled(g, below, alpha));
};

const hardSigmoid: Unary = (g, x) => scaled(g, clip(g, g.add(x, g.scalar(3)), 0, 6), 1 / 6);

/** What randomized slopes from 1/8 to 1/3 are on average. */
const RANDOM_SLOPE = (1 / 8 + 1 / 3) / 2;

/** Klambauer et al. 2017. */
const SELU = { alpha: 1.6732632423543772, scale: 1.0507009873554805 };

/** Where Hardshrink and Softshrink begin. */
const SHRINK = 0.5;

const identity = simple((_, x) => x);

/** Class of torch.nn → what it computes. */
const TORCH_ACTIVATIONS: Readonly<Record<string, TorchActivation>> = {
  AlphaDropout: identity,
  CELU: simple((g, x) => exponential(g, x, 1)),
  Dropout: identity,
  ELU: simple((g, x) => exponential(g, x, 1)),
  GELU: simple((g, x) => g.op('Gelu', [x], { approximate: 'none' })),
  GLU: {
    halves: true,
    apply(g, x, width) {
      const [left, right] = g.ops('Split', [x, g.ints([width / 2, width / 2])], { axis: -1 }, 2);
      return g.mul(left!, g.sigmoid(right!));
    },
  },
  Hardshrink: simple((g, x) => g.where(g.greater(g.op('Abs', [x]), g.scalar(SHRINK)), x, g.scalar(0))),
  Hardsigmoid: simple(hardSigmoid),
  Hardswish: simple((g, x) => g.mul(x, hardSigmoid(g, x))),
  Hardtanh: simple((g, x) => clip(g, x, -1, 1)),
  Identity: identity,
  LeakyReLU: simple((g, x) => leaky(g, x, g.scalar(0.01))),
  LogSigmoid: simple((g, x) => g.neg(g.softplus(g.neg(x)))),
  LogSoftmax: { perRow: true, apply: (g, x) => g.logSoftmax(x) },
  Mish: simple((g, x) => g.mul(x, g.op('Tanh', [g.softplus(x)]))),
  PReLU: { apply: (g, x, _, slope) => leaky(g, x, slope()) },
  RReLU: simple((g, x) => leaky(g, x, g.scalar(RANDOM_SLOPE))),
  ReLU: simple((g, x) => g.relu(x)),
  ReLU6: simple((g, x) => clip(g, x, 0, 6)),
  SELU: simple((g, x) => scaled(g, exponential(g, x, SELU.alpha), SELU.scale)),
  SiLU: simple((g, x) => g.mul(x, g.sigmoid(x))),
  Sigmoid: simple((g, x) => g.sigmoid(x)),
  Softmax: { perRow: true, apply: (g, x) => g.softmax(x) },
  Softmin: { perRow: true, apply: (g, x) => g.softmax(g.neg(x)) },
  Softplus: simple((g, x) => g.softplus(x)),
  Softshrink: simple((g, x) => g.sub(x, clip(g, x, -SHRINK, SHRINK))),
  Softsign: simple((g, x) => g.div(x, g.add(g.op('Abs', [x]), g.scalar(1)))),
  Tanh: simple((g, x) => g.op('Tanh', [x])),
  Tanhshrink: simple((g, x) => g.sub(x, g.op('Tanh', [x]))),
};

/** The names that `torchActivation` knows. */
export const TORCH_ACTIVATION_NAMES: readonly string[] = Object.keys(TORCH_ACTIVATIONS);

/** `torch.nn.Tanh` and `torch.nn.modules.activation.Tanh` are the same class. */
const TORCH_CLASS = /^torch\.nn\.(?:modules\.[a-z]+\.)?([A-Za-z]\w*)$/;

/** Returns the function that a Python path names; undefined for another path. */
export function torchActivation(path: string): TorchActivation | undefined {
  const name = TORCH_CLASS.exec(path)?.[1];
  return name !== undefined && Object.hasOwn(TORCH_ACTIVATIONS, name) ? TORCH_ACTIVATIONS[name] : undefined;
}
