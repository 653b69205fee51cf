export { type LoadedTokenizer, loadTokenizer, type TokenizerFacts, type TokenizerFamily } from './load.ts';
export { createLocalTokenizer } from './local.ts';
export { createTokenizerPool, type TokenizerPool, type TokenizerPoolOptions, type TokenizerPoolStats } from './pool.ts';
export { type Pooling, poolWindows } from './pooling.ts';
export type { PairTemplate } from './template.ts';
export type * from './types.ts';
