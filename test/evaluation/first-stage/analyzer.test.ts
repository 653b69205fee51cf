import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { analyze, termOf, tokenize } from '../../../src/evaluation/first-stage/analyzer.ts';
import { porterStem } from '../../../src/evaluation/first-stage/porter.ts';

interface Vector {
  readonly lines: readonly { readonly text: string; readonly terms: readonly string[] }[];
}
const vectors = JSON.parse(
  readFileSync(join(import.meta.dirname, 'vectors', 'lucene-analysis.json'), 'utf8'),
) as Vector;

describe('analyze', () => {
  it.each(vectors.lines.map((line) => [line.text.slice(0, 60), line] as const))(
    'gives the terms of Lucene for %s',
    (_, { text, terms }) => {
      expect(analyze(text)).toEqual(terms);
    },
  );

  it('splits ASCII text the same whether or not other characters follow', () => {
    const text = "The U.S.A.'s 1,000.5 items: foo_bar's a.b 1.a 10:30 _x_ v2.0";
    expect(tokenize(`${text} é`).slice(0, -1)).toEqual(tokenize(text));
  });

  it('drops stop words and possessives only', () => {
    expect(termOf('The')).toBeUndefined();
    expect(termOf("It's")).toBeUndefined();
    expect(termOf("dog's")).toBe('dog');
    expect(termOf('to-day')).toBe('to-dai');
  });
});

describe('porterStem', () => {
  const lines = readFileSync(join(import.meta.dirname, 'vectors', 'lucene-stems.txt'), 'utf8')
    .trim()
    .split('\n')
    .slice(1);

  it('gives the stems of Lucene', () => {
    const words = lines.map((line) => line.split(' ')[0]!);
    expect(words.length).toBeGreaterThan(2500);
    expect(words.map((word) => `${word} ${porterStem(word)}`)).toEqual(lines);
  });
});
