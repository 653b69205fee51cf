import type { z } from 'zod';
import type { GraphBuilder } from '../../onnx/builder.ts';
import type { Needs } from './needs.ts';

/*
 * An objective appends the loss of a batch of candidate lists to an ONNX graph. All tensors are float32 of shape [queries, passages]; shorter
 * lists are padded with `valid` 0. Gradients follow by differentiation of the graph, so an objective states its formula only.
 */

/** Names of the values that a loss is built from. */
export interface LossValues {
  /** Scores (logits) of the student. */
  readonly scores: string;
  /** Graded relevance: 0 for passages that are not relevant. */
  readonly relevance: string;
  /** Scores of the teacher, in any scale. */
  readonly teacher: string;
  /** 1 for a passage, 0 for padding. */
  readonly valid: string;
  /** Weight of each passage's loss; 1 for all where absent. */
  readonly weight?: string;
}

export interface Objective {
  /** Name in recipes and on cards, as papers spell it. */
  readonly name: string;
  readonly needs: Needs;
  /** Whether the loss changes when a number is added to all scores of a list; if not, it does not determine where 0 lies. */
  readonly anchored: boolean;
  /** Appends the loss to the graph and returns the name of a scalar. */
  build(g: GraphBuilder, values: LossValues): string;
}

/** An objective with its options; one file each, listed in `catalog.ts`. */
export interface ObjectiveKind<Schema extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly summary: string;
  readonly options: Schema;
  create(options: z.output<Schema>): Objective;
}

/** Ties the options of `create` to the schema. */
export const objectiveKind = <Schema extends z.ZodType>(kind: ObjectiveKind<Schema>): ObjectiveKind<Schema> => kind;
