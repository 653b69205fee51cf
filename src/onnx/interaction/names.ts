/*
 * Names of the weights that an interaction model has beside its encoder's; i counts the layers of the top from 0.
 */

const PREFIX = 'interaction.';

export const NAMES = {
  prefix: PREFIX,
  scale: `${PREFIX}scale`,
  pooler: `${PREFIX}pooler`,
  classifier: `${PREFIX}classifier`,
} as const;

/** Names of the query's own weights of a layer. */
export const COPIED = /^interaction\.\d+\.layer\./;

/** Prefix of the weights of a cross-attention. */
export const crossName = (i: number): string => `${PREFIX}${i}.cross.`;
/** Prefix of the query's own weights of a layer. */
export const layerName = (i: number): string => `${PREFIX}${i}.layer.`;
export const gateName = (i: number): string => `${PREFIX}${i}.gate`;
export const normName = (i: number): string => `${PREFIX}${i}.norm`;
export const headName = (i: 0 | 1): string => `${PREFIX}head.${i}`;
