import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostPool } from '../../src/inference/inference-types.ts';
import {
  type GraphFolder,
  graphFolder,
  greedyGraph,
  heavyGraph,
  logarithmGraph,
  positionGraph,
  row,
  shapedGraph,
  slowGraph,
  strangerGraph,
  sumGraph,
  tableGraph,
} from '../inference/graphs.ts';

/** What every pool must do, with real graphs on the real engine. */
export function hostPoolContract(name: string, create: () => Promise<HostPool>): void {
  describe(`${name} keeps the contract of a host pool`, () => {
    let folder: GraphFolder;
    let pool: HostPool;

    beforeAll(async () => {
      folder = await graphFolder();
      pool = await create();
    });
    afterAll(async () => {
      await pool.close();
      await folder.remove();
    });

    it('pads rows and builds every input the graph asks for', async () => {
      await pool.load(await folder.write('sum', sumGraph()));
      const { scores, inferMs, host } = await pool.run('sum', [row([1, 2, 3, 4], 2), row([5], 1), row([7, 7, 7], 1)]);
      expect([...scores]).toEqual([10 + 4000 + 20_000, 5 + 1000, 21 + 3000 + 20_000]);
      expect(inferMs).toBeGreaterThanOrEqual(0);
      expect(host).toBeLessThan(pool.size);
    });

    it('leaves nothing of one batch in the next', async () => {
      await pool.run('sum', [row([9, 9, 9, 9, 9, 9], 0), row([9, 9, 9, 9, 9, 9], 0)]);
      const { scores } = await pool.run('sum', [row([1], 1), row([1, 1], 2), row([1], 1)]);
      expect([...scores]).toEqual([1001, 2002, 1001]);
    });

    it('feeds int32 graphs and position ids', async () => {
      await pool.load(await folder.write('narrow', sumGraph('int32')));
      expect([...(await pool.run('narrow', [row([1, 2], 1), row([3], 1)])).scores]).toEqual([12_003, 1003]);
      await pool.load(await folder.write('positions', positionGraph()));
      expect([...(await pool.run('positions', [row([1, 1, 1]), row([1, 1])])).scores]).toEqual([3003, 1002]);
    });

    it('counts positions from the one the model begins at; padding has the one before', async () => {
      const spec = await folder.write('late-positions', positionGraph());
      await pool.load({ ...spec, firstPosition: 2 });
      expect([...(await pool.run('late-positions', [row([1, 1, 1]), row([1, 1])])).scores]).toEqual([9003, 6002]);
    });

    it('reports what it loaded', async () => {
      const facts = await pool.load(await folder.write('facts', sumGraph()));
      expect(facts).toMatchObject({ key: 'facts', provider: pool.provider, outputs: ['logits'] });
      expect(facts.inputs).toEqual(['input_ids', 'attention_mask', 'token_type_ids']);
      expect(facts.loadMs).toBeGreaterThan(0);
    });

    it.each(['flat', 'column', 'half'] as const)('takes %s logits', async (shape) => {
      await pool.load(await folder.write(shape, shapedGraph(shape)));
      expect([...(await pool.run(shape, [row([1, 2]), row([4])])).scores]).toEqual([3, 4]);
    });

    it('reduces classes to the logit of one against the rest', async () => {
      const spec = await folder.write('classes', shapedGraph('classes'));
      await pool.load({ ...spec, reduction: { kind: 'class', index: 1 } });
      const { scores } = await pool.run('classes', [row([1]), row([3])]);
      for (const [i, s] of [1, 3].entries()) {
        const softmax = Math.exp(2 * s) / (Math.exp(s) + Math.exp(2 * s) + 1);
        expect(1 / (1 + Math.exp(-scores[i]!))).toBeCloseTo(softmax, 6);
      }
    });

    it('asks which class counts where there are several', async () => {
      await pool.load(await folder.write('undecided', shapedGraph('classes')));
      await expect(pool.run('undecided', [row([1])])).rejects.toThrow('expected logits [1, 1], got [1, 3]');
    });

    it('refuses a graph without its head, naming the output', async () => {
      const load = pool.load(await folder.write('hidden', shapedGraph('hidden')));
      await expect(load).rejects.toMatchObject({ code: 'invalid_graph' });
      await expect(load).rejects.toThrow('last_hidden_state [batch, 1, 1]');
    });

    it('refuses a graph with an input it cannot make, naming it', async () => {
      const load = pool.load(await folder.write('stranger', strangerGraph()));
      await expect(load).rejects.toMatchObject({ code: 'invalid_graph' });
      await expect(load).rejects.toThrow('pixel_values of float32');
    });

    it('refuses a broken and a missing file, and goes on', async () => {
      const spec = await folder.write('broken', sumGraph());
      await writeFile(spec.file, Buffer.from('not protobuf at all'));
      await expect(pool.load(spec)).rejects.toMatchObject({ code: 'invalid_graph' });
      await expect(pool.load({ ...spec, file: join(folder.path, 'none.onnx') })).rejects.toThrow("doesn't exist");
      expect([...(await pool.run('sum', [row([1], 1)])).scores]).toEqual([1001]);
    });

    it('reads external data beside the graph', async () => {
      const spec = await folder.write('external', heavyGraph(64), { outside: (name) => name === 'weights' });
      await pool.load(spec);
      expect([...(await pool.run('external', [row([1, 2, 3])])).scores]).toEqual([6]);
    });

    it('names the row that is not a number', async () => {
      await pool.load(await folder.write('logarithm', logarithmGraph()));
      const run = pool.run('logarithm', [row([6]), row([7]), row([2]), row([8])]);
      await expect(run).rejects.toMatchObject({ code: 'not_a_number', params: { row: 2 } });
    });

    it('names the row that fails alone, and scores the others without it', async () => {
      await pool.load(await folder.write('table', tableGraph()));
      const good = Array.from({ length: 9 }, (_, i) => row([i, i + 1]));
      const run = pool.run('table', [...good.slice(0, 6), row([100]), ...good.slice(6)]);
      await expect(run).rejects.toMatchObject({ code: 'inference_failed', params: { row: 6 } });
      await expect(run).rejects.toThrow('row 6 fails alone');
      expect([...(await pool.run('table', good)).scores]).toEqual(good.map((_, i) => i + 0.5));
    });

    it('splits a batch that is too large for the memory there is', async () => {
      await pool.load(await folder.write('greedy', greedyGraph(2)));
      const { scores } = await pool.run(
        'greedy',
        Array.from({ length: 7 }, (_, i) => row([i + 1])),
      );
      expect([...scores]).toEqual([1, 2, 3, 4, 5, 6, 7]);
    });

    it('answers an empty batch, refuses an empty row and one that is too long', async () => {
      expect((await pool.run('sum', [])).scores).toHaveLength(0);
      await expect(pool.run('sum', [row([1]), row([])])).rejects.toThrow('expected 1 to 512 tokens in row 1, got 0');
      const long = row(Array.from({ length: 513 }, () => 1));
      await expect(pool.run('sum', [long])).rejects.toThrow('in row 0, got 513');
    });

    it('keeps many batches apart', async () => {
      const sizes = Array.from({ length: 40 }, (_, i) => i + 1);
      const answers = await Promise.all(sizes.map((n) => pool.run('sum', [row([n], 1), row([n, n], 2)])));
      expect(answers.map(({ scores }) => [...scores])).toEqual(sizes.map((n) => [n + 1000, 2 * n + 2000]));
    });

    it('lets the caller give up', async () => {
      await pool.load(await folder.write('slow', slowGraph()));
      const gone = new Error('the client left');
      await expect(pool.run('slow', [row([1])], AbortSignal.abort(gone))).rejects.toBe(gone);
      const controller = new AbortController();
      const first = pool.run('slow', [row([100_000])]);
      const queued = Array.from({ length: 5 }, () => pool.run('slow', [row([1])], controller.signal));
      controller.abort(gone);
      const outcomes = await Promise.allSettled(queued);
      expect(outcomes.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0);
      expect([...(await first).scores]).toEqual([100_000]);
    });

    it('loads a key anew, and forgets it', async () => {
      const spec = await folder.write('renewed', shapedGraph('column'));
      await pool.load(spec);
      expect([...(await pool.run('renewed', [row([4])])).scores]).toEqual([4]);
      await folder.write('renewed', tableGraph());
      await pool.load(spec);
      expect([...(await pool.run('renewed', [row([4])])).scores]).toEqual([2]);
      await pool.unload('renewed');
      await expect(pool.run('renewed', [row([4])])).rejects.toMatchObject({ code: 'model_not_ready' });
      await pool.unload('renewed');
    });

    it('refuses what it never loaded', async () => {
      await expect(pool.run('unheard', [row([1])])).rejects.toMatchObject({ code: 'model_not_ready' });
    });

    it('refuses work once it is closed, and closes twice', async () => {
      const other = await create();
      await other.close();
      await other.close();
      await expect(other.run('sum', [row([1])])).rejects.toMatchObject({ code: 'shutting_down' });
      await expect(other.load(await folder.write('late', sumGraph()))).rejects.toMatchObject({ code: 'shutting_down' });
    });
  });
}
