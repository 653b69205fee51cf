import type { z } from 'zod';
import type { GraphBuilder } from '../../onnx/builder.ts';

/*
 * An objective turns the scores of a batch of candidate lists into one number to minimize, as nodes of an ONNX graph. All tensors are
 * float32 of shape [queries, passages]; lists shorter than the longest one are padded with `valid` 0. Gradients follow by
 * differentiation of the graph, so an objective states its formula and nothing else.
 */
export interface LossValues {
  /** Scores (logits) of the student. */
  readonly scores: string;
  /** Graded relevance: 0 for passages that are not relevant. */
  readonly relevance: string;
  /** Scores of the teacher; any scale. */
  readonly teacher: string;
  /** 1 for a passage, 0 for padding. */
  readonly valid: string;
}

/** What a list must carry for an objective to learn from it. */
interface Needs {
  readonly relevance: boolean;
  readonly teacher: boolean;
}

export interface Objective {
  /** As papers spell it; also the name in recipes and on cards. */
  readonly name: string;
  readonly needs: Needs;
  /** Whether the loss changes where all scores of a list move by the same amount; if not, nothing says where 0 is. */
  readonly anchored: boolean;
  /** Appends the loss to the graph; returns the name of a scalar. */
  build(g: GraphBuilder, values: LossValues): string;
}

/** One file each: what options there are, and the objective they make. */
export interface ObjectiveKind<Schema extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly summary: string;
  readonly options: Schema;
  create(options: z.output<Schema>): Objective;
}

/** Keeps the link between a kind's schema and its options. */
export const objectiveKind = <Schema extends z.ZodType>(kind: ObjectiveKind<Schema>): ObjectiveKind<Schema> => kind;
