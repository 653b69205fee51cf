import request from 'supertest';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import type { Replicas } from '../../src/http/ports.ts';
import { SPLIT } from '../experiments/lab.ts';
import { fakeDeps } from './fakes.ts';

const THREE: Replicas = { count: 3, instance: 'winnow-abc', watchesFolder: false, sharesExperiments: false };

type Send = (app: ReturnType<typeof createApp>) => request.Test;
const load: Send = (app) => request(app).post('/v2/repository/models/tiny/load').send({});
const unload: Send = (app) => request(app).post('/v2/repository/models/tiny/unload').send({});
const label: Send = (app) => request(app).put('/v1/models/tiny/labels/canary').send({ version: '1' });
const put: Send = (app) => request(app).put('/v1/experiments/trial').send(SPLIT);
const remove: Send = (app) => request(app).delete('/v1/experiments/trial');
const CHANGES = { load, unload, label, put };

/** Sends a change to one of several replicas; resolves to who followed, and the warnings. */
async function change(send: Send, replicas?: Replicas) {
  const app = createApp(fakeDeps(replicas ? { replicas } : {}));
  if (send === remove) await put(app);
  const { status, headers, body } = await send(app);
  expect(status).toBeLessThan(300);
  return { instance: headers['x-winnow-instance'], by: headers['x-winnow-followed-by'], warnings: body.warnings };
}

describe('a change at one of several replicas', () => {
  it.each(Object.keys(CHANGES) as (keyof typeof CHANGES)[])('%s says that the others do not follow', async (name) => {
    const { instance, by, warnings } = await change(CHANGES[name], THREE);
    expect([instance, by]).toEqual(['winnow-abc', 'instance']);
    expect(warnings).toEqual([expect.stringMatching(/^only winnow-abc of 3 replicas has followed: /)]);
  });

  it('of a label is followed by those that watch the same folder', async () => {
    const { by, warnings } = await change(label, { ...THREE, watchesFolder: true });
    expect([by, warnings]).toEqual(['folder', [expect.stringContaining('that watch the same registry folder')]]);
    // A watched folder loads no model in other processes.
    expect((await change(load, { ...THREE, watchesFolder: true })).by).toBe('instance');
  });

  it('of an experiment is followed by all that share its database', async () => {
    const shared = { ...THREE, sharesExperiments: true };
    expect(await change(put, shared)).toEqual({ instance: 'winnow-abc', by: 'all', warnings: undefined });
    expect(await change(remove, shared)).toMatchObject({ by: 'all' });
    expect(await change(remove, THREE)).toMatchObject({ by: 'instance' });
  });

  it('says nothing where one process serves alone', async () => {
    const alone = { instance: undefined, by: undefined, warnings: undefined };
    for (const send of Object.values(CHANGES)) {
      expect(await change(send)).toEqual(alone);
      expect(await change(send, { ...THREE, count: 1 })).toEqual(alone);
    }
  });
});
