import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PassageStore } from '../../src/passages/passage-store.ts';
import { classOf, slotBytes } from '../../src/passages/slabs.ts';

/** Returns a key whose first words collide with those of many others. */
const keyOf = (name: number) => Uint32Array.of(name % 3, 7, name, 0xffff_fff0 + (name % 5));

/** Returns the bytes that belong to a name and length. */
const bytesOf = (name: number, length: number) =>
  Uint8Array.from({ length }, (_, i) => (name * 31 + i * 7 + length) & 255);

const insert = (store: PassageStore, name: number, value: Uint8Array) =>
  store.insert({ keys: keyOf(name), at: 0, model: 0, tokens: name, value });

const KIB = 1024;

describe('size classes', () => {
  it('hold every length in the smallest slot that fits, with at most an eighth unused', () => {
    for (let bytes = 1; bytes < 70_000; bytes++) {
      const slot = slotBytes(classOf(bytes));
      expect(slot % 8).toBe(0);
      expect(slot).toBeGreaterThanOrEqual(bytes);
      if (bytes > 64) expect(slot - bytes).toBeLessThan(bytes / 8);
      if (classOf(bytes) > 0) expect(slotBytes(classOf(bytes) - 1)).toBeLessThan(bytes);
    }
  });
});

describe('the store of passages', () => {
  it('returns what was put in, and finds nothing else', () => {
    const store = new PassageStore({ bytes: 256 * KIB, onEvict: () => {} });
    const entry = insert(store, 1, bytesOf(1, 100));
    store.pin(entry);
    expect(store.value(entry)).toEqual(bytesOf(1, 100));
    expect(store.tokens(entry)).toBe(1);
    expect(store.key(entry)).toEqual(keyOf(1));
    expect(store.find(keyOf(1), 0)).toBe(entry);
    expect(store.find(keyOf(4), 0)).toBe(-1);
  });

  it('evicts the entry that was unused for the longest', () => {
    const evicted: number[] = [];
    const store: PassageStore = new PassageStore({
      bytes: 64 * KIB,
      onEvict: (entry) => evicted.push(store.tokens(entry)),
    });
    const value = bytesOf(0, 2000);
    const names: number[] = [];
    while (evicted.length === 0) {
      insert(store, names.length, value);
      names.push(names.length);
    }
    // 0 has left; 1 is used again, so 2 is next.
    store.pin(store.find(keyOf(1), 0));
    store.unpin(store.find(keyOf(1), 0));
    insert(store, 1000, value);
    insert(store, 1001, value);
    expect(evicted).toEqual([0, 2, 3]);
  });

  it('keeps no value above an eighth of its size, and none where all is pinned', () => {
    const store = new PassageStore({ bytes: 64 * KIB, onEvict: () => {} });
    expect(insert(store, 1, bytesOf(1, 8 * KIB + 1))).toBe(-1);
    for (let name = 0; ; name++) {
      const entry = insert(store, name, bytesOf(name, 4000));
      if (entry < 0) break;
      store.pin(entry);
    }
    expect(store.entries).toBeGreaterThan(5);
    expect(store.bytes).toBeLessThanOrEqual(64 * KIB);
    for (let name = 0; name < store.entries; name++)
      expect(store.value(store.find(keyOf(name), 0))).toEqual(bytesOf(name, 4000));
  });

  it('gives its memory to other sizes when they are used', () => {
    const store = new PassageStore({ bytes: 512 * KIB, onEvict: () => {} });
    for (let name = 0; name < 1000; name++) insert(store, name, bytesOf(name, 1500));
    for (let name = 1000; name < 1100; name++)
      expect(insert(store, name, bytesOf(name, 9000))).toBeGreaterThanOrEqual(0);
    const large = Array.from({ length: 100 }, (_, i) => store.find(keyOf(1000 + i), 0)).filter((entry) => entry >= 0);
    expect(large.length * 9000).toBeGreaterThan(300 * KIB);
    expect(store.bytes).toBeLessThanOrEqual(512 * KIB);
  });

  it('gives its memory back when it is empty', () => {
    const store = new PassageStore({ bytes: 512 * KIB, onEvict: () => {} });
    const empty = store.bytes;
    for (let name = 0; name < 50; name++) insert(store, name, bytesOf(name, 1500));
    for (let name = 0; name < 50; name++) store.remove(store.find(keyOf(name), 0));
    store.trim();
    expect(store.bytes).toBe(empty);
  });
});

describe('values of like size', () => {
  it('leave exactly in the order of their last use', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(120), { minLength: 50, maxLength: 400 }), (names) => {
        /** Names, the one that was unused for the longest first. */
        const order: number[] = [];
        const store: PassageStore = new PassageStore({
          bytes: 64 * KIB,
          onEvict: (entry) => expect(store.tokens(entry)).toBe(order.shift()),
        });
        for (const name of names) {
          const known = store.find(keyOf(name), 0);
          expect(known >= 0).toBe(order.includes(name));
          if (known >= 0) {
            store.pin(known);
            store.unpin(known);
            order.splice(order.indexOf(name), 1);
          } else insert(store, name, bytesOf(name, 1000));
          order.push(name);
        }
      }),
      { numRuns: 60 },
    );
  });
});

type Action =
  | { readonly kind: 'insert'; readonly name: number; readonly length: number }
  | { readonly kind: 'pin' | 'unpin' | 'remove'; readonly name: number };

const actions = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('insert' as const),
        name: fc.nat(60),
        length: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 9000 })),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constantFrom('pin' as const, 'unpin' as const, 'remove' as const),
        name: fc.nat(60),
      }),
    },
  ),
  { maxLength: 300 },
);

describe('any order of insertion, use and removal', () => {
  it('stays within the limit, keeps values as they were and moves nothing that is read', () => {
    fc.assert(
      fc.property(actions, fc.constantFrom(24 * KIB, 48 * KIB, 128 * KIB), (steps: readonly Action[], bytes) => {
        /** What is in the store, by name. */
        const lengths = new Map<number, number>();
        /** Views that are being read, also of removed entries. */
        const reading: {
          readonly entry: number;
          readonly name: number;
          readonly view: Uint8Array;
          readonly length: number;
        }[] = [];
        const nameOf = new Map<number, number>();
        const store: PassageStore = new PassageStore({
          bytes,
          onEvict(entry) {
            const name = nameOf.get(entry)!;
            expect(reading.some((one) => one.entry === entry)).toBe(false);
            expect(lengths.delete(name)).toBe(true);
          },
        });
        for (const step of steps) {
          const { name } = step;
          const known = store.find(keyOf(name), 0);
          expect(known >= 0).toBe(lengths.has(name));
          if (step.kind === 'insert' && known < 0) {
            const entry = insert(store, name, bytesOf(name, step.length));
            if (entry < 0) continue;
            nameOf.set(entry, name);
            lengths.set(name, step.length);
          } else if (step.kind === 'pin' && known >= 0) {
            store.pin(known);
            reading.push({ entry: known, name, view: store.value(known), length: lengths.get(name)! });
          } else if (step.kind === 'remove' && known >= 0) {
            lengths.delete(name);
            store.remove(known);
          } else if (step.kind === 'unpin') {
            const one = reading.shift();
            if (one) store.unpin(one.entry);
          }
          expect(store.bytes).toBeLessThanOrEqual(bytes);
          expect(store.entries).toBe(lengths.size);
          for (const { view, name: of, length } of reading) expect(view).toEqual(bytesOf(of, length));
        }
        for (const [name, length] of lengths) {
          const entry = store.find(keyOf(name), 0);
          store.pin(entry);
          expect(store.value(entry)).toEqual(bytesOf(name, length));
        }
      }),
      { numRuns: 150 },
    );
  });
});
