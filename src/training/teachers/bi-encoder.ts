import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { WinnowError } from '../../errors.ts';
import { createSession, type SessionSettings } from '../../inference/providers.ts';
import { type LoadedTokenizer, loadTokenizer } from '../../tokenization/load.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { dot } from '../../util/vectors.ts';
import type { IdentifiedList } from '../data/list-types.ts';
import { rowFeeds } from '../step/feeds.ts';
import { mapLengthBatches } from '../step/row-scorer.ts';
import type { ListScorer } from './score-job.ts';

export interface BiEncoderOptions extends Pick<SessionSettings, 'provider' | 'threads'> {
  /** Most tokens of a text, special ones included; 256 by default. */
  readonly maxLength?: number;
}

/** An open sentence encoder that scores lists by cosines. */
export interface BiEncoder extends ListScorer {
  /** Returns one unit vector per text. */
  embed(texts: readonly string[]): Promise<Float32Array[]>;
  close(): Promise<void>;
}

function rowOf(text: string, { template, encodeText }: LoadedTokenizer, maxLength: number): EncodedRow {
  const { prefix, suffix } = template;
  const ids = encodeText(text);
  const kept = ids.subarray(0, Math.max(0, maxLength - prefix.length - suffix.length));
  const row = Int32Array.from([...prefix, ...kept, ...suffix]);
  return { ids: row, secondSegment: row.length, truncated: kept.length < ids.length };
}

function normalize(vector: Float32Array): Float32Array {
  const norm = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0)) || 1;
  return vector.map((x) => x / norm);
}

/** Returns unit vectors: the mean of the tokens' states ([rows, length, hidden]), or the model's own sentence vectors ([rows, hidden]). */
function pool(output: Tensor, rows: readonly EncodedRow[]): Float32Array[] {
  const data = output.data as Float32Array;
  const hidden = output.dims.at(-1)!;
  const length = output.dims.length === 3 ? output.dims[1]! : 1;
  return rows.map((row, r) => {
    const tokens = output.dims.length === 3 ? row.ids.length : 1;
    const sum = new Float32Array(hidden);
    for (let t = 0; t < tokens; t++) for (let h = 0; h < hidden; h++) sum[h]! += data[(r * length + t) * hidden + h]!;
    return normalize(sum);
  });
}

function modelFile(folder: string): string {
  const found = ['onnx/model.onnx', 'model.onnx'].map((file) => join(folder, file)).find((file) => existsSync(file));
  if (found) return found;
  throw new WinnowError('invalid_input', {
    where: folder,
    expected: 'a feature-extraction export, onnx/model.onnx or model.onnx',
    got: existsSync(folder) ? 'a folder without one' : 'no such folder',
  });
}

function outputOf(session: InferenceSession, folder: string): string {
  const found = ['sentence_embedding', 'last_hidden_state', 'token_embeddings'].find((name) =>
    session.outputNames.includes(name),
  );
  if (found) return found;
  throw new WinnowError('invalid_input', {
    where: folder,
    expected: 'an output last_hidden_state or sentence_embedding',
    got: session.outputNames.join(', '),
  });
}

/**
 * Opens a sentence encoder as a teacher: the score is the cosine of query and passage, each the mean of its tokens' states.
 * @param folder feature-extraction export in Hugging Face layout.
 * @throws WinnowError `invalid_input` for folders without a model, or models without states or sentence vectors.
 */
export async function openBiEncoder(folder: string, options: BiEncoderOptions = {}): Promise<BiEncoder> {
  const { maxLength = 256, ...settings } = options;
  const tokenizer = await loadTokenizer(folder);
  const session = await createSession(modelFile(folder), settings);
  const output = outputOf(session, folder);
  const rowsOf = (texts: readonly string[]): EncodedRow[] => texts.map((text) => rowOf(text, tokenizer, maxLength));
  const embedRows = async (rows: readonly EncodedRow[]): Promise<Float32Array[]> =>
    mapLengthBatches(rows, async (batch) => {
      const results = await session.run(rowFeeds(batch, session.inputNames, tokenizer.padId), [output]);
      return pool(results[output] as Tensor, batch);
    });
  const embed = (texts: readonly string[]): Promise<Float32Array[]> => embedRows(rowsOf(texts));
  async function* score(lists: AsyncIterable<IdentifiedList>) {
    for await (const input of lists) {
      const rows = rowsOf([input.query, ...input.passages]);
      const [query, ...passages] = await embedRows(rows);
      const [queryCut, ...truncated] = rows.map((row) => row.truncated);
      yield { input, scores: passages.map((passage) => dot(query!, passage)), truncated, queryCut: queryCut ? 1 : 0 };
    }
  }
  return { name: `bi-encoder ${resolve(folder)} ${maxLength}`, embed, score, close: () => session.release() };
}
