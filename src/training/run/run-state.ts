import type { Batch } from '../data/batches.ts';
import type { Validations } from '../measure/validations.ts';
import type { Recipe } from '../recipe/recipe.ts';
import type { TrainingSessions } from '../step/sessions.ts';
import type { StateArrays } from '../step/stepper.ts';
import type { CheckpointFacts } from './checkpoint.ts';
import type { CurvePoint } from './curve.ts';

/** Receives what a run reports while it goes on; every method is optional. */
export interface TrainingObserver {
  onStart?(facts: {
    from: number;
    steps: number;
    parameters: number;
    validation?: { measure: string; firstStage: number; base: number };
  }): void;
  onStep?(facts: { step: number; loss: number; norm: number; learningRate: number; ms: number }): void;
  onValidation?(facts: {
    step: number;
    measure: string;
    value: number;
    others: Readonly<Record<string, number>>;
    best: boolean;
  }): void;
  onWarning?(text: string): void;
  /** Receives what is worth knowing before the first step. */
  onNote?(text: string): void;
  /** Receives, every 10,000 lists, how many training lists have been searched for texts of the validation set. */
  onSearch?(lists: number): void;
}

/** Everything an open run holds. */
export interface RunState {
  readonly recipe: Recipe;
  readonly folder: string;
  readonly sessions: TrainingSessions;
  readonly stream: AsyncGenerator<Batch>;
  readonly validation: Validations | undefined;
  readonly observer: TrainingObserver;
  /** Appends a point to the run's curve. */
  readonly record: (point: CurvePoint) => Promise<void>;
  /** Moving average of the trained weights; undefined where the recipe asks for none. */
  readonly average: StateArrays | undefined;
  /** What a checkpoint stores in addition to weights and moments; replaced after every step. */
  facts: CheckpointFacts;
}
