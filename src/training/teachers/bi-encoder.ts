import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Tensor } from 'onnxruntime-node';
import { createSession, type SessionSettings } from '../../inference/providers.ts';
import { readSideEncoder } from '../../onnx/architectures/whole-model.ts';
import { DEFAULT_LIMITS, type ListedFolder } from '../../registry/folder-files.ts';
import { MANIFEST_FILE, readManifest } from '../../registry/manifest.ts';
import { pairsWithin } from '../../registry/pair-limits.ts';
import type { SideEncoder } from '../../registry/registry-types.ts';
import { MODEL_SETTINGS } from '../../registry/sentence-transformers.ts';
import { foundEncoder, statedEncoder } from '../../registry/side-encoder.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { PoolingMode } from '../../util/pooling-modes.ts';
import { dot } from '../../util/vectors.ts';
import type { IdentifiedList } from '../data/list-types.ts';
import { rowFeeds } from '../step/feeds.ts';
import { mapLengthBatches, scoringBatch } from '../step/row-scorer.ts';
import type { ListScorer } from './score-job.ts';
import { type KeptVector, openVectors, type Vectors } from './vectors.ts';

export interface BiEncoderOptions extends Pick<SessionSettings, 'provider' | 'threads'> {
  /** Most tokens of a text, special ones and prefix included; 256 by default. */
  readonly maxLength?: number | undefined;
  /** Text before every query, or passage, in place of what the folder or its name says. */
  readonly queryPrefix?: string | undefined;
  readonly passagePrefix?: string | undefined;
  /** How the states of tokens become a vector, in place of what the folder says; `mean` where it says nothing. */
  readonly pooling?: PoolingMode | undefined;
  /** Folder that keeps vectors of texts for later runs; without one, the last ones are kept in memory. */
  readonly vectors?: string | undefined;
}

/** An open sentence encoder that scores lists by cosines. */
export interface BiEncoder extends ListScorer {
  /** Returns one vector per text, of length 1 where cosines are compared. @param side Whose prefix stands before the texts; none by default. */
  embed(texts: readonly string[], side?: 'query' | 'passage'): Promise<Float32Array[]>;
  close(): Promise<void>;
}

const BARE: SideEncoder = { queryPrefix: '', passagePrefix: '', scale: 1 };

/** Returns the prefixes of a folder, its flags first, and whether a registry made its graph. */
async function readSides(
  folder: string,
  { queryPrefix, passagePrefix }: BiEncoderOptions,
): Promise<SideEncoder & { readonly isVersion: boolean }> {
  // Other files are not listed: this may be a snapshot of the hub's cache, which is made of links.
  const paths = new Set([MANIFEST_FILE, MODEL_SETTINGS].filter((file) => existsSync(join(folder, file))));
  const listed: ListedFolder = { folder, paths, limits: DEFAULT_LIMITS };
  const manifest = listed.paths.has(MANIFEST_FILE) ? await readManifest(folder) : undefined;
  const stated = statedEncoder(manifest, MANIFEST_FILE);
  const found = stated ?? (await foundEncoder(listed, manifest, [])) ?? BARE;
  return {
    queryPrefix: queryPrefix ?? found.queryPrefix,
    passagePrefix: passagePrefix ?? found.passagePrefix,
    scale: found.scale,
    isVersion: stated !== undefined,
  };
}

/** Embeds texts, those without a kept vector in batches of like length. */
function embedder(
  encode: (texts: readonly string[]) => Promise<readonly KeptVector[]>,
  vectors: Vectors,
): (texts: readonly string[]) => Promise<KeptVector[]> {
  return async (texts) => {
    const distinct = [...new Set(texts)];
    const kept = await vectors.get(distinct);
    const missing = distinct.filter((_, i) => !kept[i]);
    const fresh = missing.length === 0 ? [] : await encode(missing);
    const added = new Map(missing.map((text, i) => [text, fresh[i]!]));
    await vectors.add(added);
    const found = new Map(distinct.map((text, i) => [text, kept[i] ?? added.get(text)!]));
    return texts.map((text) => found.get(text)!);
  };
}

/**
 * Opens a sentence encoder as a teacher: the score is the cosine of query and passage, read apart as a served bi-encoder reads them.
 * @param folder feature-extraction export in Hugging Face layout, a folder of sentence-transformers, or a version of a registry.
 * @throws WinnowError `invalid_input` for folders without a model, or models without states or sentence vectors.
 */
export async function openBiEncoder(folder: string, options: BiEncoderOptions = {}): Promise<BiEncoder> {
  const { maxLength = 256, pooling, vectors: kept, provider, threads } = options;
  await using stack = new AsyncDisposableStack();
  const { queryPrefix, passagePrefix, scale, isVersion } = await readSides(resolve(folder), options);
  const model = await readSideEncoder(folder, pooling, isVersion);
  const tokenizer = await createLocalTokenizer(folder);
  stack.defer(() => tokenizer.close());
  const session = await createSession(model, { ...(provider && { provider }), ...(threads && { threads }) });
  stack.defer(() => session.release());
  const output = session.outputNames[0]!;
  const name = `bi-encoder ${resolve(folder)} ${maxLength}`;
  const vectors = await openVectors(kept, { model, pairKey: tokenizer.pairKey ?? '', maxLength });
  stack.defer(() => vectors.close());
  const encode = async (texts: readonly string[]): Promise<readonly KeptVector[]> => {
    const { rows } = await tokenizer.encodeTexts(texts, pairsWithin({ maxLength }));
    const found = await mapLengthBatches<Float32Array>(
      rows,
      async (batch) => {
        const results = await session.run(rowFeeds(batch, session.inputNames, tokenizer.padId), [output]);
        const values = (results[output] as Tensor).data as Float32Array;
        const width = values.length / batch.length;
        return batch.map((_, row) => values.slice(row * width, (row + 1) * width));
      },
      scoringBatch(provider),
    );
    return rows.map(({ truncated }, i) => ({ vector: found[i]!, truncated }));
  };
  const embed = embedder(encode, vectors);
  const prefixes = { query: queryPrefix, passage: passagePrefix };
  async function* score(lists: AsyncIterable<IdentifiedList>) {
    for await (const input of lists) {
      const texts = [queryPrefix + input.query, ...input.passages.map((passage) => passagePrefix + passage)];
      const [query, ...passages] = await embed(texts);
      const scores = passages.map(({ vector }) => scale * dot(query!.vector, vector));
      const truncated = passages.map((passage) => passage.truncated);
      yield { input, scores, truncated, queryCut: query!.truncated ? 1 : 0 };
    }
  }
  // What only some encoders have is named only then, so that jobs of before go on.
  const read = {
    ...(pooling && { pooling }),
    ...(queryPrefix && { queryPrefix }),
    ...(passagePrefix && { passagePrefix }),
  };
  const known = Object.keys(read);
  const opened = stack.move();
  return {
    name: known.length > 0 ? `${name} ${JSON.stringify(read)}` : name,
    embed: async (texts, side) =>
      (await embed(texts.map((text) => (side ? prefixes[side] : '') + text))).map(({ vector }) => vector),
    score,
    close: () => opened.disposeAsync(),
  };
}
