import { join } from 'node:path';
import type { HostPool, InferenceRow } from '../inference/inference-types.ts';
import type { GraphRewriter, Rewritten } from '../inference/rewrite/rewrite-types.ts';
import type { SelfTestTokenizer } from './registry-types.ts';
import type { VersionFolder } from './version-folder.ts';
import type { ChosenGraph } from './version-graph.ts';
import { CHECK_PAIRS, rowsOf } from './version-self-test.ts';

/** Largest difference of scores, relative to those above 1, with which a rewritten graph is served, by variant. */
const TOLERANCE: Readonly<Record<string, number>> = { fp32: 1e-5, int8: 0 };

/** Pairs of the manifest's self-test that are scored by both graphs. */
const RECORDED = 16;

function encode(version: VersionFolder, tokenizer: SelfTestTokenizer): Promise<readonly InferenceRow[]> {
  const { manifest, maxLength, encoder } = version;
  const pairs = [...CHECK_PAIRS, ...(manifest?.selfTest?.pairs.slice(0, RECORDED) ?? [])];
  return rowsOf({ tokenizer, limits: { ...manifest, maxLength }, encoder }, pairs);
}

/**
 * Rewrites the graph of a version for the CPU where another tool exported it.
 * @returns undefined where nothing is to rewrite: without a rewriter, on a GPU, in half precision, or for a file of Winnow's own.
 */
export async function rewriteFor(
  { version, graph, sha256 }: { readonly version: VersionFolder; readonly graph: ChosenGraph; readonly sha256: string },
  tokenizer: SelfTestTokenizer,
  { pool, rewriter }: { readonly pool: Pick<HostPool, 'provider'>; readonly rewriter?: GraphRewriter | undefined },
): Promise<Rewritten | undefined> {
  const tolerance = TOLERANCE[graph.variant.name];
  const isWhole = graph.variant.passages === undefined;
  if (!rewriter || pool.provider !== 'cpu' || tolerance === undefined || graph.isOwn || !isWhole) return undefined;
  if (graph.batchOps.length > 0) {
    const reason =
      'dynamic int8 rounds by the states of the whole batch, so that no rewritten graph has the same scores';
    return { file: undefined, note: `served as exported: ${reason}` };
  }
  return rewriter.rewrite({
    files: [join(version.folder, graph.variant.file), ...graph.external.map((path) => join(version.folder, path))],
    sha256,
    bytes: graph.bytes,
    spec: {
      padId: tokenizer.padId,
      firstPosition: version.firstPosition,
      maxLength: version.maxLength,
      reduction: graph.reduction,
    },
    rows: await encode(version, tokenizer),
    tolerance,
  });
}
