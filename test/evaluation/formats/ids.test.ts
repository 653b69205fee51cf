import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readFolds } from '../../../src/evaluation/formats/folds.ts';
import { loadDataset } from '../../../src/evaluation/formats/load-dataset.ts';
import { openPassages } from '../../../src/evaluation/formats/passages.ts';
import { readQrels, writeQrels } from '../../../src/evaluation/formats/qrels.ts';
import { readRankLlm } from '../../../src/evaluation/formats/read-rank-llm.ts';
import { readRun, writeRun } from '../../../src/evaluation/formats/run.ts';
import { readQueries, writeQueries } from '../../../src/evaluation/formats/topics.ts';
import { readRunGroups } from '../../../src/training/data/run-groups.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();
let serial = 0;
const file = (text: string | Buffer, ending: string) => folder.put({ [`ids-${serial++}${ending}`]: text });

/** Neighbors above 2^53: as doubles, all of them are 645990474109599700. */
const [A, B] = ['645990474109599744', '645990474109599745'];

describe('whole numbers as ids are kept digit by digit', () => {
  it('in runs of JSON lines', async () => {
    const path = await file(
      [A, B].map((id, i) => `{"qid": ${B}, "docid": ${id}, "score": ${i}.50}`).join('\n'),
      '.jsonl',
    );
    const list = (await readRun(path)).get(B)!;
    expect([...list.docids]).toEqual([B, A]);
    expect(Array.from(list.scores)).toEqual([1.5, 0.5]);
  });

  it('in qrels of JSON lines', async () => {
    const path = await file(`{"qid":${A},"docid":${B},"rel":1.0}\n{"qid":${B},"docid":-0,"rel":0}\n`, '.jsonl');
    expect([...(await readQrels(path))].map(([qid, docs]) => [qid, [...docs]])).toEqual([
      [A, [[B, 1]]],
      [B, [['-0', 0]]],
    ]);
  });

  it('in rank_llm files of both shapes', async () => {
    const hits = [A, B].map((id) => `{"qid": ${A}, "docid": ${id}, "score": 2, "content": "t"}`).join(',');
    const list = await readRankLlm(await file(`[{"query": "x", "hits": [${hits}]}]`, '.json'));
    expect([...list.run].map(([qid, { docids }]) => [qid, docids])).toEqual([[A, [A, B]]]);
    const lines = await readRankLlm(await file(`{"query": {"qid": ${B}, "text": 1.50}, "candidates": []}`, '.jsonl'));
    expect([...lines.queries]).toEqual([[B, '1.50']]);
  });

  it('in queries and passages, in memory and on disk', async () => {
    const path = await file(`{"_id": ${A}, "text": "a"}\n{"_id": ${B}, "text": "b"}\n`, '.jsonl');
    expect([...(await readQueries(path)).keys()]).toEqual([A, B]);
    for (const inMemory of [1 << 20, 0]) {
      const store = await openPassages(path, { inMemory });
      expect(await store.texts([B, A])).toEqual(['b', 'a']);
      await store.close();
    }
  });

  it('in folds and LoTTE answers', async () => {
    const folds = await readFolds(await file(`[[${A}], [${B}], ["x"]]`, '.json'));
    expect(folds.map(({ test }) => test)).toEqual([[A], [B], ['x']]);
    await folder.put({
      'lotte/collection.tsv': `${A}\ta\n${B}\tb\n`,
      'lotte/questions.search.tsv': `${A}\tq\n`,
      'lotte/qas.search.jsonl': `{"qid": ${A}, "query": "q", "answer_pids": [${A}, ${B}]}\n`,
    });
    const set = await loadDataset({ path: join(folder.path, 'lotte'), format: 'lotte' });
    expect([...set.qrels.get(A)!.keys()]).toEqual([A, B]);
  });
});

describe('numbers that are no whole numbers are refused as ids', () => {
  it.each(['1.0', '1e3', '12.5', '-1E+2'])('%s', async (id) => {
    const path = await file(`{"qid": "q", "docid": ${id}, "score": 1}`, '.jsonl');
    await expect(readRun(path)).rejects.toThrow(
      `:1: expected "docid" to be text or a whole number, got ${id}; put the id in quotes`,
    );
  });
});

describe('ids that would become others are refused', () => {
  it('half a surrogate pair, in every JSON format', async () => {
    const half = '"\\ud800"';
    const message = 'to be Unicode text, got "\\ud800", half a surrogate pair';
    await expect(readRun(await file(`{"qid":"q","docid":${half},"score":1}`, '.jsonl'))).rejects.toThrow(message);
    await expect(readRun(await file(`{"q":{${half}:1}}`, '.json'))).rejects.toThrow(message);
    await expect(readQrels(await file(`{${half}:{"a":1}}`, '.json'))).rejects.toThrow(message);
    await expect(readQueries(await file(`{"_id":${half},"text":"x"}`, '.jsonl'))).rejects.toThrow(message);
  });

  it.each(['.jsonl', '.json', '.txt', '.tsv'])('bytes that are not UTF-8, in a file *%s', async (ending) => {
    const bad = Buffer.from(`{"q1":\n{"caf\xe9":1}}`, 'latin1');
    await expect(readRun(await file(bad, ending))).rejects.toThrow(/:2: expected UTF-8|:1: expected/);
    await expect(readQrels(await file(bad, ending))).rejects.toThrow(/:2: expected UTF-8|:1: expected/);
  });

  it('a key that JSON has twice', async () => {
    await expect(readQrels(await file('{"q":{"a":1},"q":{"b":1}}', '.json'))).rejects.toThrow(
      'expected each key once, got "q" (string) twice',
    );
    await expect(readRun(await file('{"q":{"a":1,"b":2,"a":3}}', '.json'))).rejects.toThrow('expected each key once');
  });

  it.each(['a b', 'a\tb', ''])('%j in lines that white space separates', async (id) => {
    const target = join(folder.path, `never-${serial++}`);
    const run = new Map([['q', { docids: [id], scores: [1] }]]);
    await expect(writeRun(target, run, 't')).rejects.toThrow('expected ids without white space');
    await expect(writeRun(target, new Map([[id, { docids: ['a'], scores: [1] }]]), 't')).rejects.toThrow('white space');
    await expect(writeQrels(target, new Map([['q', new Map([[id, 1]])]]))).rejects.toThrow('white space');
  });

  it('a query id that lines would take for a comment, and one with a tab in queries', async () => {
    const target = join(folder.path, `never-${serial++}`);
    const docs = { docids: ['#1'], scores: [1] };
    await expect(writeRun(target, new Map([['#1', docs]]), 't')).rejects.toThrow('or a leading #');
    await expect(writeQueries(target, new Map([['a\tb', 'text']]))).rejects.toThrow('expected ids without tabs');
  });
});

it('spaces of Unicode are part of an id in every reader of runs', async () => {
  const id = 'a\u00a05\u2028\u3000z';
  const path = await file(`q\u00a01 Q0 ${id} 1 2.5 t\n`, '.run');
  const groups = [];
  for await (const group of readRunGroups(path, 'score')) groups.push(group);
  expect(groups).toEqual([{ qid: 'q\u00a01', docids: [id], values: [2.5] }]);
  expect((await readRun(path)).get('q\u00a01')!.docids).toEqual([id]);
});
