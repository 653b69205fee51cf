import type { GraphBuilder } from '../../onnx/builder.ts';

/*
 * AdamW (Loshchilov and Hutter, ICLR 2019) with clipping by global norm, as nodes after the gradients. State is input and output of the graph,
 * so the same nodes serve one step per run of the session and several steps in a Loop.
 */

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Largest global L2 norm of the gradients; Infinity turns clipping off. */
  readonly clipNorm: number;
}

/** Names of the values of one weight; all have its shape. */
interface WeightValues {
  readonly weight: string;
  readonly gradient: string;
  readonly firstMoment: string;
  readonly secondMoment: string;
  readonly decays: boolean;
}

interface UpdatedValues {
  readonly weight: string;
  readonly firstMoment: string;
  readonly secondMoment: string;
}

/** Scalars of a step, computed in double precision. */
export interface StepScalars {
  readonly learningRate: number;
  /** lr / (1 − β₁ᵏ) */
  readonly stepSize: number;
  /** 1 / √(1 − β₂ᵏ) */
  readonly secondScale: number;
}

/** Computes the scalars of a step. @param step counted from 1. */
export function stepScalars(learningRate: number, step: number, { beta1, beta2 }: AdamWOptions): StepScalars {
  return { learningRate, stepSize: learningRate / (1 - beta1 ** step), secondScale: 1 / Math.sqrt(1 - beta2 ** step) };
}

/** Appends √ Σ ‖g‖² over all gradients, a scalar. */
export function globalNorm(g: GraphBuilder, gradients: readonly string[]): string {
  const squares = gradients.map((gradient) => g.op('ReduceSumSquare', [gradient], { keepdims: 0 }));
  return g.sqrt(squares.length === 1 ? squares[0]! : g.op('Sum', squares));
}

/** Appends the factor on every gradient: min(1, clipNorm / (norm + 1e-6)), as PyTorch clips. */
export function clipFactor(g: GraphBuilder, norm: string, clipNorm: number): string {
  return g.op('Min', [g.scalar(1), g.div(g.scalar(clipNorm), g.add(norm, g.scalar(1e-6)))]);
}

/**
 * Appends the update of one weight:
 * w ← w·(1 − lr·decay);  m ← m + (1 − β₁)(g − m);  v ← β₂·v + (1 − β₂)·g²;  w ← w − stepSize · m / (√v · secondScale + ε)
 * @param scalars names of the `StepScalars`, and of the clip factor if there is one.
 */
export function adamw(
  g: GraphBuilder,
  w: WeightValues,
  scalars: Readonly<Record<keyof StepScalars, string>> & { readonly factor: string | undefined },
  options: AdamWOptions,
): UpdatedValues {
  const gradient = scalars.factor === undefined ? w.gradient : g.mul(w.gradient, scalars.factor);
  const firstMoment = g.add(w.firstMoment, g.mul(g.sub(gradient, w.firstMoment), g.scalar(1 - options.beta1)));
  const square = g.mul(g.mul(gradient, gradient), g.scalar(1 - options.beta2));
  const secondMoment = g.add(g.mul(w.secondMoment, g.scalar(options.beta2)), square);
  const denominator = g.add(g.mul(g.sqrt(secondMoment), scalars.secondScale), g.scalar(options.epsilon));
  const move = g.mul(g.div(firstMoment, denominator), scalars.stepSize);
  const decays = w.decays && options.weightDecay > 0;
  const kept = decays
    ? g.mul(w.weight, g.sub(g.scalar(1), g.mul(scalars.learningRate, g.scalar(options.weightDecay))))
    : w.weight;
  return { weight: g.sub(kept, move), firstMoment, secondMoment };
}
