import type { LossOf } from '../measure/validations.ts';
import { createObjective } from '../objectives/catalog.ts';
import type { RunState } from './run-state.ts';

/**
 * Returns what computes the mean loss of validation lists that have relevant passages and others. Passages with a grade above 0 count as
 * relevant. It computes none for objectives that learn from a teacher, whose scores validation lists lack.
 */
export function validationLoss({ recipe, sessions }: Pick<RunState, 'recipe' | 'sessions'>): LossOf {
  return async (lists) => {
    if (createObjective(recipe.objective).needs.teacher) return undefined;
    let sum = 0;
    let count = 0;
    for (const { scores, grades } of lists) {
      const relevance = Float32Array.from(grades, (grade) => +(grade > 0));
      if (!relevance.includes(0) || !relevance.includes(1)) continue;
      const passages = scores.length;
      const arrays = { queries: 1, passages, relevance, teacher: new Float32Array(passages) };
      sum += await sessions.loss({ ...arrays, valid: new Float32Array(passages).fill(1) }, scores.slice());
      count++;
    }
    return count === 0 ? undefined : sum / count;
  };
}
