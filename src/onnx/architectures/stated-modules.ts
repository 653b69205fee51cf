import { WinnowError } from '../../errors.ts';
import { POOLING_MODES, type VectorForm } from '../../util/pooling-modes.ts';
import { STATES } from './modular.ts';
import { VECTOR } from './module-kinds.ts';
import { type Modules, ownVectors, withPooling } from './modules.ts';

/**
 * Returns the modules of a bi-encoder whose folder has none: the pooling that is stated, or none where the graph gives vectors.
 * @param outputs Names of what the encoder's graph gives.
 * @throws WinnowError `invalid_input` for a pooling that is missing, or that has no states to read.
 */
export function statedModules(folder: string, { pooling, normalize }: VectorForm, outputs: readonly string[]): Modules {
  const similarity = normalize ? 'cosine' : 'dot';
  const hasStates = STATES.some((name) => outputs.includes(name));
  if (pooling === undefined && outputs.includes(VECTOR)) return { ...ownVectors(folder), similarity };
  if (pooling !== undefined && hasStates) return { ...withPooling(folder, pooling), similarity };
  if (pooling === undefined && hasStates)
    throw new WinnowError('invalid_input', {
      where: folder,
      expected: `\`pooling\` in model.json, or --pooling: ${POOLING_MODES.join(', ')}; the model's card names it`,
      got: 'nothing that says how states of tokens become one vector',
    });
  const states = `states of tokens (${STATES.join(', ')})`;
  throw new WinnowError('invalid_input', {
    where: folder,
    expected: pooling === undefined ? `a graph with output ${VECTOR}, or ${states}` : `a graph with ${states} to pool`,
    got: outputs.join(', ') || 'no output',
  });
}
