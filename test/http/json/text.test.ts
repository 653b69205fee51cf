import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { field, moreFields, writeJson } from '../../../src/http/json/text.ts';

describe('writeJson', () => {
  it('writes what JSON.stringify writes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue()), fc.string(), async (items, name) => {
        const text = {
          head: `{${JSON.stringify(name)}:[`,
          count: items.length,
          item: (i: number) => JSON.stringify(items[i]),
          tail: ']}',
        };
        expect(Buffer.concat(await writeJson(text)).toString()).toBe(JSON.stringify({ [name]: items }));
      }),
    );
  });

  it('yields to other events while it writes a long list', async () => {
    let written = 0;
    let between = 0;
    const slowItem = () => {
      const end = performance.now() + 0.2;
      while (performance.now() < end);
      written++;
      return '0';
    };
    setImmediate(() => {
      between = written;
    });
    await writeJson({ head: '[', count: 640, item: slowItem, tail: ']' });
    expect(between).toBeGreaterThan(0);
    expect(between).toBeLessThan(640);
  });

  it('fails as a whole when an item cannot be written', async () => {
    const item = () => {
      throw new RangeError('no such score');
    };
    await expect(writeJson({ head: '[', count: 3, item, tail: ']' })).rejects.toThrow('no such score');
  });
});

describe('fields', () => {
  it('without a value are omitted', () => {
    expect(field('a', undefined)).toBe('');
    expect(moreFields({ a: 1, b: undefined, 'c"': ['x'], d: null })).toBe(',"a":1,"c\\"":["x"],"d":null');
  });
});
