import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { loadTokenizer } from '../../src/tokenization/load.ts';
import { createRandom } from '../../src/util/random.ts';
import { winnow } from '../support/command.ts';
import { PlainModel } from '../support/plain-interaction.ts';
import { type TinyForm, tinyWeights, writeTinyInteraction } from '../support/tiny-interaction.ts';
import { WORDS } from '../support/tiny-model.ts';

/* An interaction model from its weights to the answers of a server, compared with its formulas in doubles. */

const folder = mkdtempSync(join(tmpdir(), 'winnow-interaction-'));
const models = join(folder, 'models');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const FORMS: Readonly<Record<string, TinyForm>> = {
  cosine: { form: 'cosine', top: 2, states: 3, queryPrefix: `${WORDS[1]} `, passagePrefix: `${WORDS[2]} ` },
  first: { form: 'first', top: 2, states: 2, bottom: 2 },
};
const random = createRandom(9);
const textOf = (words: number) => Array.from({ length: words }, () => WORDS[random.below(WORDS.length)]!).join(' ');
const QUERIES = [textOf(2), textOf(6)];
const PASSAGES = Array.from({ length: 40 }, (_, i) => textOf(1 + ((i * 7) % 50)));

describe('an interaction model', () => {
  let server: ServerProcess;
  beforeAll(async () => {
    for (const [name, form] of Object.entries(FORMS)) {
      const source = await writeTinyInteraction(join(folder, name), form);
      const { error, output } = await winnow('models', 'import', source, name, '--models', models);
      expect(error + output).toContain(`${name}@1 in`);
    }
    server = await startServerProcess({ flags: ['--registry-folder', models], env: { WINNOW_MODELS: '' } });
  });
  afterAll(() => server?.stop());

  const post = async (path: string, body: Readonly<Record<string, unknown>>) => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    return { status: response.status, headers: response.headers, answer: await response.json() };
  };
  const scores = async (model: string, query: string, documents: readonly string[], more = {}) => {
    const { status, headers, answer } = await post('/v2/rerank', {
      model,
      query,
      documents,
      raw_scores: true,
      ...more,
    });
    expect(status, JSON.stringify(answer)).toBe(200);
    const { results, usage } = answer as {
      results: { index: number; relevance_score: number }[];
      usage: Record<string, number>;
    };
    const byPlace = results.toSorted((a, b) => a.index - b.index).map(({ relevance_score: score }) => score);
    return { byPlace, kept: headers.get('x-winnow-kept-passages'), usage };
  };

  it('is two files, and says its kind and its prefixes', async () => {
    const manifest = JSON.parse(readFileSync(join(models, 'cosine/1/model.json'), 'utf8'));
    expect(manifest).toMatchObject({ kind: 'interaction', queryPrefix: `${WORDS[1]} `, activation: 'none' });
    expect(Object.keys(manifest.files)).toEqual(expect.arrayContaining(['onnx/passage.onnx', 'onnx/top.onnx']));
    expect(existsSync(join(models, 'cosine/1/model.safetensors'))).toBe(false);
    await scores('cosine', QUERIES[0]!, PASSAGES.slice(0, 1));
    const listed = await (await fetch(`${server.url}/v1/models`)).json();
    expect(JSON.stringify(listed)).toContain('"model_kind":"interaction"');
  });

  it.each(Object.keys(FORMS))('scores by its formulas, on misses and hits alike: %s', async (name) => {
    const form = FORMS[name]!;
    const plain = new PlainModel(tinyWeights(form), form);
    const { template, encodeText } = await loadTokenizer(join(folder, name));
    const idsOf = (text: string) => [...template.prefix, ...encodeText(text), ...template.suffix];
    const { queryPrefix = '', passagePrefix = '' } = form;
    for (const query of QUERIES) {
      const expected = PASSAGES.map((text) => plain.score(idsOf(queryPrefix + query), idsOf(passagePrefix + text)));
      const first = await scores(name, query, PASSAGES);
      for (const [i, score] of first.byPlace.entries()) expect(score).toBeCloseTo(expected[i]!, 4);
      const again = await scores(name, query, PASSAGES.toReversed());
      expect(again.kept).toBe(String(PASSAGES.length));
      expect(again.byPlace).toEqual(first.byPlace.toReversed());
    }
  });

  it('gives a passage the same bits alone, among others, and beside requests with other queries', async () => {
    const documents = Array.from({ length: 30 }, (_, i) => textOf(1 + ((i * 11) % 55)));
    const among = await Promise.all(QUERIES.map((query) => scores('cosine', query, documents)));
    for (const [q, query] of QUERIES.entries())
      for (const i of [0, 4, 9, 29]) {
        const alone = await scores('cosine', query, [documents[i]!]);
        expect(alone.byPlace[0]).toBe(among[q]!.byPlace[i]);
        expect(alone.usage).toMatchObject({ kept_passages: 1 });
      }
  });

  it('windows and refuses long texts as bi-encoders do', async () => {
    const long = textOf(300);
    const { byPlace } = await scores('cosine', QUERIES[0]!, [long, PASSAGES[0]!], { long_passages: 'max' });
    expect(byPlace.every(Number.isFinite)).toBe(true);
    const refused = await post('/rerank', { query: QUERIES[0], texts: ['x', long], truncate: false });
    expect(refused.status).toBe(422);
    expect(JSON.stringify(refused.answer)).toContain('texts[1]');
  });

  it('passes verify, and is refused without one of its halves', async () => {
    expect((await winnow('models', 'verify', 'cosine', '--models', models)).output).toContain('admitted (fp32)');
    const half = join(folder, 'half');
    cpSync(join(models, 'cosine/1'), half, { recursive: true });
    rmSync(join(half, 'onnx/passage.onnx'));
    rmSync(join(half, 'model.json'));
    const { code, error } = await winnow('models', 'import', half, 'half', '--models', models);
    expect(code).toBe(2);
    expect(error).toContain('onnx/passage.onnx');
    expect(error).toContain('the other half of onnx/top.onnx');
  });

  it('is imported from a version, without its weights', async () => {
    const copy = join(folder, 'copy');
    cpSync(join(models, 'first/1'), copy, { recursive: true });
    const { error } = await winnow('models', 'import', copy, 'copied', '--models', models);
    expect(error).toBe('');
  });
});
