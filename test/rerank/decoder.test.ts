import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostPool } from '../../src/inference/inference-types.ts';
import { createLocalPool } from '../../src/inference/local-pool.ts';
import { writeGraph } from '../../src/main/write-graph.ts';
import { createRegistry, type FolderRegistry } from '../../src/registry/folder-registry.ts';
import { importFolder } from '../../src/registry/import-version.ts';
import type { RerankRequest } from '../../src/rerank/rerank-types.ts';
import { createReranker } from '../../src/rerank/reranker.ts';
import { createScoreCache } from '../../src/rerank/score-cache.ts';
import { createScheduler } from '../../src/scheduling/scheduler.ts';
import type { Scheduler } from '../../src/scheduling/scheduling-types.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import type { EncodedRow } from '../../src/tokenization/tokenization-types.ts';
import { QWEN3_RERANKER } from '../../src/util/known-templates.ts';
import { writeDecoder } from '../support/tiny-decoder.ts';

/* A language model that answers yes or no, from its weights to rankings. */

let root = '';
let models = '';
let pool: HostPool;
let registry: FolderRegistry;
let scheduler: Scheduler<EncodedRow>;
const tokenizers = { for: (folder: string) => createLocalTokenizer(folder) };
const deps = () => ({ pool, tokenizers, writeGraph });

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'decoder-'));
  models = join(root, 'models');
  pool = await createLocalPool({ threads: 1 });
  await importFolder(await writeDecoder(join(root, 'judge')), models, 'judge', deps());
  registry = await createRegistry({ folder: models, pool, tokenizers });
  scheduler = createScheduler<EncodedRow>({
    executor: { concurrency: 1, depth: 2, execute: (key, rows) => pool.run(key, rows) },
    limits: { batchTokens: 4096, batchRows: 64, queueTokens: 4_000_000, maxWaitMs: 600_000, agingMs: 2000 },
  });
});
afterAll(async () => {
  await scheduler.close();
  await registry.close();
  await pool.close();
  await rm(root, { recursive: true, force: true });
});

const manifestOf = async (name: string) =>
  JSON.parse(await readFile(join(models, name, '1', 'model.json'), 'utf8')) as Record<string, unknown>;

describe('a language model that answers', () => {
  const PASSAGES = ['a flea?', 'cd ab', 'the sea'];
  const ask = (passages: readonly string[], more: Partial<RerankRequest> = {}): RerankRequest => ({
    requestId: 'r',
    model: 'judge',
    query: 'ab w?',
    passages,
    truncate: true,
    lane: 'interactive',
    deadlineMs: 60_000,
    ...more,
  });

  it('is imported with the template of its family', async () => {
    const { template, trueToken, falseToken } = QWEN3_RERANKER;
    expect(await manifestOf('judge')).toMatchObject({ template, trueToken, falseToken, truncation: 'only_second' });
  });

  it('gives a pair the same score alone and among 999 others', async () => {
    const reranker = createReranker({ registry, tokenizers, scheduler });
    const many = Array.from({ length: 1000 }, (_, i) => (i === 700 ? PASSAGES[0]! : `w${' ab'.repeat(i % 13)} ${i}`));
    const scoreOf = async (passages: readonly string[], at: number) =>
      (await reranker.rerank(ask(passages))).ranking.find(({ index }) => index === at)!.score;
    const alone = await scoreOf([PASSAGES[0]!], 0);
    expect(Math.abs((await scoreOf(many, 700)) - alone)).toBeLessThan(1e-5);
  });

  it('follows the instruction of a request, also from the cache', async () => {
    const scoreCache = createScoreCache({ bytes: 1 << 20 });
    const reranker = createReranker({ registry, tokenizers, scheduler, scoreCache });
    const scores = async (instruction?: string) => {
      const answer = await reranker.rerank(ask(PASSAGES, instruction === undefined ? {} : { instruction }));
      expect(answer).not.toHaveProperty('instructionIgnored');
      return answer.ranking.toSorted((a, b) => a.index - b.index).map(({ score }) => score);
    };
    const usual = await scores();
    const strict = await scores('ab cd w');
    expect(usual.some((score, i) => Math.abs(score - strict[i]!) > 1e-4)).toBe(true);
    expect(await scores()).toEqual(usual);
    expect(await scores('ab cd w')).toEqual(strict);
    expect(scoreCache.stats()).toMatchObject({ hits: 6, misses: 6 });
    const stated = await scores(QWEN3_RERANKER.template.instruction);
    expect(stated.every((score, i) => Math.abs(score - usual[i]!) < 1e-5)).toBe(true);
  });

  it('follows the template that its model.json states', async () => {
    const folder = await writeDecoder(join(root, 'stated'));
    const template = { prefix: '<user>', body: '{query}\n{document}', suffix: '<end>' };
    await writeFile(
      join(folder, 'model.json'),
      JSON.stringify({ format: 1, template, trueToken: 'no', falseToken: 'yes' }),
    );
    expect((await importFolder(folder, models, 'stated', deps())).warnings).toEqual([]);
    expect(await manifestOf('stated')).toMatchObject({ template, trueToken: 'no', falseToken: 'yes' });
    const tokens = [1, ...new TextEncoder().encode('w\n7').map((byte) => byte)];
    const { rows } = await (await createLocalTokenizer(join(models, 'stated', '1'))).encode('w', ['7'], {
      maxLength: 40,
      truncation: 'only_second',
      side: 'right',
      longPassages: 'truncate',
      windowOverlap: 0,
    });
    expect(rows[0]!.ids.length).toBe(tokens.length + 1);
  });

  it('is read from a modular folder, whose LogitScore and chat template say how it answers', async () => {
    const role = (name: string) =>
      `{{ messages | selectattr("role", "eq", "${name}") | map(attribute="content") | first }}`;
    const write = async (name: string, ids: object) => {
      const folder = await writeDecoder(join(root, name));
      await mkdir(join(folder, '1_LogitScore'));
      const json = (file: string, value: unknown) => writeFile(join(folder, file), JSON.stringify(value));
      await json('modules.json', [
        { idx: 0, name: '0', path: '', type: 'sentence_transformers.base.modules.transformer.Transformer' },
        {
          idx: 1,
          name: '1',
          path: '1_LogitScore',
          type: 'sentence_transformers.cross_encoder.modules.logit_score.LogitScore',
        },
      ]);
      await json('1_LogitScore/config.json', { module_input_name: 'causal_logits', ...ids });
      await json('config_sentence_transformers.json', {
        model_type: 'CrossEncoder',
        activation_fn: 'torch.nn.modules.activation.Sigmoid',
        prompts: { web: 'ab cd' },
        default_prompt_name: 'web',
      });
      await json('sentence_bert_config.json', {
        transformer_task: 'text-generation',
        module_output_name: 'causal_logits',
      });
      const text = `<user>Do ${role('system')}\nQ: ${role('query')}\nD: ${role('document')}<end>`;
      await writeFile(join(folder, 'chat_template.jinja'), text);
      return folder;
    };
    const scoreOf = async (name: string, ids: object) => {
      expect((await importFolder(await write(name, ids), models, name, deps())).warnings).toEqual([]);
      await registry.load(name);
      const reranker = createReranker({ registry, tokenizers, scheduler });
      return (await reranker.rerank(ask(['cd ab'], { model: name }))).ranking[0]!.score;
    };
    const both = await scoreOf('both', { true_token_id: 3, false_token_id: 4 });
    expect(await manifestOf('both')).toMatchObject({
      template: {
        prefix: '',
        body: '<user>Do {instruction}\nQ: {query}\nD: {document}',
        suffix: '<end>',
        instruction: 'ab cd',
      },
    });
    expect(await manifestOf('both')).not.toHaveProperty('trueToken');
    const [yes, no] = [
      await scoreOf('yes', { true_token_id: 3, false_token_id: null }),
      await scoreOf('no', { true_token_id: 4 }),
    ];
    expect(Math.abs(yes - no - both)).toBeLessThan(1e-5);
    await expect(importFolder(await write('bad', {}), models, 'bad', deps())).rejects.toThrow(
      /1_LogitScore\/config\.json: true_token_id: expected a token id, got null/,
    );
  });

  it('needs its answers as tokens', async () => {
    const folder = await writeDecoder(join(root, 'mxbai-rerank-tiny'));
    await writeFile(join(folder, 'model.json'), JSON.stringify({ format: 1, trueToken: 'relevant' }));
    await expect(importFolder(folder, models, 'odd', deps())).rejects.toThrow(
      /a token "relevant" \(or another `trueToken`/,
    );
  });
});
