import { WinnowError } from '../errors.ts';
import { excerpt } from './model-names.ts';

/** Names that an error lists. */
const LISTED = 20;

function listOf(names: Iterable<string>, none: string): string {
  const all = [...new Set(names)];
  const more = all.length > LISTED ? ` and ${all.length - LISTED} more` : '';
  return (all.slice(0, LISTED).join(', ') || none) + more;
}

/** Returns the error of a model that no name means. @param known the names that do. */
export const unknownModel = (known: Iterable<string>, got: string): WinnowError =>
  new WinnowError('unknown_model', { known: listOf(known, 'no model'), got: excerpt(got) });

/** Returns the error of a version that a model lacks. @param known the versions, and labels where those are meant too. */
export const unknownVersion = (model: string, known: Iterable<string>, got: string): WinnowError =>
  new WinnowError('unknown_version', { model, known: listOf(known, 'none'), got: excerpt(got) });
