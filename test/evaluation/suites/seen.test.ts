import { describe, expect, it } from 'vitest';
import { whySeen } from '../../../src/evaluation/suites/seen.ts';

const model = (data: unknown) => ({
  key: 'm@1',
  sha256: 'x',
  variant: 'int8',
  provider: 'cpu',
  training: { data } as Record<string, unknown>,
});
const HASH = 'a'.repeat(64);
const hashes = new Map([[HASH, 'train.jsonl']]);
const SET = { name: 'WikiQA test' };

describe('whySeen', () => {
  it('finds a file of the set among the training data by its hash, whatever it is called', () => {
    expect(whySeen(SET, hashes, 'm', model([{ file: 'other.jsonl', sha256: HASH }]))).toContain('same sha256');
    expect(whySeen(SET, hashes, 'm', model([{ file: 'train.jsonl', sha256: 'b'.repeat(64) }]))).toBeUndefined();
  });

  it('finds names in the manifest, by whole words', () => {
    const data = ['TREC-DL 2021 candidates', 'WikiQA train', 'XQuAD questions'];
    expect(whySeen(SET, hashes, 'm', model(data))).toBeUndefined();
    expect(whySeen({ name: 'XQuAD' }, hashes, 'm', model(data))).toContain('“XQuAD questions”');
    expect(whySeen({ name: 'dl21', trainedAs: ['TREC-DL 2021'] }, hashes, 'm', model(data))).toContain('2021');
    expect(whySeen({ name: 'quad' }, hashes, 'm', model(data))).toBeUndefined();
  });

  it('believes the suite', () => {
    expect(whySeen({ ...SET, seen: true }, hashes, 'm', model([]))).toBe('the suite says so');
    expect(whySeen({ ...SET, seen: ['m@1'] }, hashes, 'm', model([]))).toBe('the suite says so');
    expect(whySeen({ ...SET, seen: ['other'] }, hashes, 'm', model([]))).toBeUndefined();
  });

  it('takes a manifest without a word on training as unseen', () => {
    expect(whySeen(SET, hashes, 'm', { ...model([]), training: undefined })).toBeUndefined();
  });
});
