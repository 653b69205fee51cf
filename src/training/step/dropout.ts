import type { WithDropout } from '../../autodiff/dropout/insert.ts';
import { type DropoutMasks, widenDropoutMask } from '../../autodiff/dropout/mask.ts';
import { type DropoutRates, NO_DROPOUT, overrideRates, ratesOf } from '../../autodiff/dropout/rates.ts';
import { toOrt } from '../../onnx/runner.ts';
import type { Batch } from '../data/batches.ts';
import type { Recipe } from '../recipe/recipe.ts';
import { type BatchSize, type SessionFeeds, sizeOfBatch } from './feeds.ts';

/** Returns the rates of a run: those of the backbone's config.json, unless the recipe has its own. */
export function ratesFor(recipe: Recipe, config: Readonly<Record<string, unknown>>): DropoutRates {
  if (recipe.dropout === 'off') return NO_DROPOUT;
  const own = ratesOf(config);
  return recipe.dropout === 'config' ? own : overrideRates(own, recipe.dropout);
}

/** Draws the masks of a batch. @param size the batch is padded to, if it is. */
export function maskFeeds(
  { parts }: WithDropout,
  masks: DropoutMasks,
  batch: Batch,
  { seed, step, size }: { readonly seed: number; readonly step: number; readonly size?: BatchSize | undefined },
): SessionFeeds {
  const own = sizeOfBatch(batch);
  const narrow = masks.fill(own, seed, step);
  const wide = size ? widenDropoutMask(parts, narrow, own, size) : narrow;
  return Object.fromEntries(Object.entries(wide).map(([name, mask]) => [name, toOrt(mask)]));
}
