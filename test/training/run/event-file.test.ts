import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { maskedCrc, openEvents } from '../../../src/training/run/event-file.ts';

const root = mkdtempSync(join(tmpdir(), 'winnow-events-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void vi.spyOn(Date, 'now').mockReturnValue(1_767_225_600_250));
afterEach(() => void vi.restoreAllMocks());

/** Written by TensorBoard 2.21 (RecordWriter, Event) from the same time, steps and values. */
const GOLD = Buffer.from(
  [
    'GAAAAAAAAACjf0siCQAAEEBuVdpBGg1icmFpbi5FdmVudDoyfOfOhm4AAAAAAAAAxL8zZAkAABBAblXaQRABKmEKEQoKdHJhaW4vbG9zcxUAAE',
    'A/ChoKE3RyYWluL2dyYWRpZW50X25vcm0VAAAgQAoaChN0cmFpbi9sZWFybmluZ19yYXRlFazFJzcKFAoNdHJhaW4vc3RlcF9tcxUAAPhBQ/vn',
    'uCkAAAAAAAAAN/9fAAkAABBAblXaQRCsAiobChkKEnZhbGlkYXRpb24vbkRDR0AxMBW/fS0/jVsQnA==',
  ].join(''),
  'base64',
);
const STEP = { step: 1, loss: 0.75, norm: 2.5, learningRate: 1e-5, ms: 31 };
const VALIDATION = { step: 300, measure: 'nDCG@10', value: 0.6777 };

let count = 0;
async function written(): Promise<string> {
  const path = join(root, `events.out.tfevents.${++count}`);
  const record = await openEvents(path, 0);
  await record(STEP);
  await record(VALIDATION);
  return path;
}

describe('event files', () => {
  it('have the bytes that TensorBoard writes', async () => {
    expect(readFileSync(await written())).toEqual(GOLD);
  });

  it('have the checksum of RFC 3720, masked', () => {
    const mask = (crc: number) => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
    expect(maskedCrc(Buffer.from('123456789'))).toBe(mask(0xe3069283));
    expect(maskedCrc(new Uint8Array(32))).toBe(mask(0x8a9136aa));
  });

  it('lose the steps that run again, and what a kill or a disk has damaged', async () => {
    const again = await written();
    await (await openEvents(again, 299))(VALIDATION);
    expect(readFileSync(again)).toEqual(GOLD);
    const cut = await written();
    truncateSync(cut, GOLD.length - 3);
    await (await openEvents(cut, 300))(VALIDATION);
    expect(readFileSync(cut)).toEqual(GOLD);
    const damaged = await written();
    writeFileSync(
      damaged,
      GOLD.map((byte, i) => (i === GOLD.length - 10 ? byte ^ 1 : byte)),
    );
    appendFileSync(damaged, 'x');
    await (await openEvents(damaged, 300))(VALIDATION);
    expect(readFileSync(damaged)).toEqual(GOLD);
    const other = join(root, 'other');
    writeFileSync(other, 'no event file at all, with a length that is far beyond');
    const record = await openEvents(other, 300);
    await record(STEP);
    await record(VALIDATION);
    expect(readFileSync(other)).toEqual(GOLD);
  });
});
