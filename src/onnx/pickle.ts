import { WinnowError } from '../errors.ts';

/*
 * Python's pickle, as far as a dictionary of tensors needs it. A pickle is a program: this reader knows the opcodes below and the names in
 * `torch-state.ts`, calls nothing, and refuses the rest. Source: opcodes of CPython's `pickletools`.
 */

/** A name that a pickle refers to: module and attribute. */
export class Global {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

export class Tuple {
  readonly items: readonly Pickled[];
  constructor(items: readonly Pickled[]) {
    this.items = items;
  }
}

/** What a call, or a persistent id, of the pickle stands for; the caller decides. */
export abstract class Made {
  abstract readonly kind: string;
}

export type Dictionary = Map<Pickled, Pickled>;
export type Pickled = null | boolean | number | string | Tuple | Pickled[] | Dictionary | Global | Made;

/** What gives a pickle's names a meaning. Each throws for what it does not know. */
export interface Meaning {
  /** Path for errors. */
  readonly path: string;
  /** Checks a name when the pickle mentions it. */
  readonly find: (name: string) => Global;
  readonly call: (target: Global, args: Tuple) => Pickled;
  readonly persistent: (id: Pickled) => Pickled;
}

export const refusePickle = (path: string, expected: string, got: string): WinnowError =>
  new WinnowError('invalid_graph', { where: path, expected, got: got.slice(0, 120) });

const MARK = Symbol('mark');
const code = (char: string): number => char.charCodeAt(0);

class Machine {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #meaning: Meaning;
  readonly #stack: (Pickled | typeof MARK)[] = [];
  readonly #memo = new Map<number, Pickled>();
  #at: number;

  constructor(bytes: Uint8Array<ArrayBuffer>, meaning: Meaning, from: number) {
    this.#at = from;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#meaning = meaning;
  }

  run(): { readonly value: Pickled; readonly end: number } {
    for (;;) {
      const at = this.#at;
      const op = this.#view.getUint8(this.#skip(1));
      if (op === code('.')) return { value: this.#pop(), end: this.#at };
      const step = STEPS.get(op);
      if (!step)
        throw this.fault('an opcode of tensors', `0x${op.toString(16).padStart(2, '0')} at byte ${at} of the pickle`);
      step(this);
    }
  }

  fault(expected: string, got: string): WinnowError {
    return refusePickle(this.#meaning.path, expected, got);
  }

  /** Moves on by `count` bytes and returns where they begin. */
  #skip(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.byteLength) throw this.fault('a whole pickle', `one that ends at byte ${at}`);
    this.#at += count;
    return at;
  }

  uint8 = (): number => this.#view.getUint8(this.#skip(1));
  uint16 = (): number => this.#view.getUint16(this.#skip(2), true);
  int32 = (): number => this.#view.getInt32(this.#skip(4), true);
  uint32 = (): number => this.#view.getUint32(this.#skip(4), true);
  float64 = (): number => this.#view.getFloat64(this.#skip(8));

  text(length: number): string {
    const at = this.#skip(length);
    return new TextDecoder().decode(this.#bytes.subarray(at, at + length));
  }

  line(): string {
    const end = this.#bytes.indexOf(10, this.#at);
    if (end < 0) throw this.fault('a whole pickle', 'a name without an end');
    const line = this.text(end - this.#at);
    this.#at++;
    return line;
  }

  /** An integer of up to 8 bytes, two's complement. */
  long(): number {
    const length = this.uint8();
    if (length > 8) throw this.fault('integers of 8 bytes at most', `${length}`);
    const at = this.#skip(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[at + i]!);
    const signed = Number(BigInt.asIntN(8 * length, value));
    if (!Number.isSafeInteger(signed)) throw this.fault('integers below 2^53', String(signed));
    return signed;
  }

  push(value: Pickled | typeof MARK): void {
    this.#stack.push(value);
  }

  #pop(): Pickled {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.fault('a value on the stack', 'none');
    return value;
  }

  take = (count: number): readonly Pickled[] => Array.from({ length: count }, () => this.#pop()).reverse();

  /** Takes everything above the last mark. */
  marked(): readonly Pickled[] {
    const from = this.#stack.lastIndexOf(MARK);
    if (from < 0) throw this.fault('a mark on the stack', 'none');
    return this.#stack.splice(from).filter((value) => value !== MARK);
  }

  remember(index: number): void {
    const top = this.#pop();
    this.#memo.set(index, top);
    this.push(top);
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.fault('a value remembered before', `number ${index}`);
    this.push(value);
  }

  /** Puts pairs into the dictionary on top. */
  set(pairs: readonly Pickled[]): void {
    const target = this.#pop();
    if (!(target instanceof Map) || pairs.length % 2 !== 0) throw this.fault('pairs for a dictionary', 'others');
    for (let i = 0; i < pairs.length; i += 2) target.set(pairs[i]!, pairs[i + 1]!);
    this.push(target);
  }

  append(items: readonly Pickled[]): void {
    const target = this.#pop();
    if (!Array.isArray(target)) throw this.fault('items for a list', 'others');
    for (const item of items) target.push(item);
    this.push(target);
  }

  find(): void {
    this.push(this.#meaning.find(`${this.line()}.${this.line()}`));
  }

  call(): void {
    const [target, args] = this.take(2);
    if (!(target instanceof Global && args instanceof Tuple)) throw this.fault('a call by name', 'another');
    this.push(this.#meaning.call(target, args));
  }

  persistent(): void {
    this.push(this.#meaning.persistent(this.#pop()));
  }

  /** The state of a dictionary of weights is `_metadata`, versions of modules; it says nothing about tensors and is left out. */
  build(): void {
    const [target, state] = this.take(2);
    const known =
      target instanceof Map && state instanceof Map && [...state.keys()].every((key) => key === '_metadata');
    if (!known) throw this.fault('no state of objects but _metadata of a dictionary', 'another');
    this.push(target);
  }
}

const STEPS: ReadonlyMap<number, (m: Machine) => void> = new Map<number, (m: Machine) => void>([
  [0x80, (m) => checkProtocol(m)],
  [code('c'), (m) => m.find()],
  [code('R'), (m) => m.call()],
  [code('Q'), (m) => m.persistent()],
  [code('b'), (m) => m.build()],
  [code('q'), (m) => m.remember(m.uint8())],
  [code('r'), (m) => m.remember(m.uint32())],
  [code('h'), (m) => m.recall(m.uint8())],
  [code('j'), (m) => m.recall(m.uint32())],
  [code('('), (m) => m.push(MARK)],
  [code(')'), (m) => m.push(new Tuple([]))],
  [code('t'), (m) => m.push(new Tuple(m.marked()))],
  [0x85, (m) => m.push(new Tuple(m.take(1)))],
  [0x86, (m) => m.push(new Tuple(m.take(2)))],
  [0x87, (m) => m.push(new Tuple(m.take(3)))],
  [code('}'), (m) => m.push(new Map())],
  [code('s'), (m) => m.set(m.take(2))],
  [code('u'), (m) => m.set(m.marked())],
  [code(']'), (m) => m.push([])],
  [code('a'), (m) => m.append(m.take(1))],
  [code('e'), (m) => m.append(m.marked())],
  [code('X'), (m) => m.push(m.text(m.uint32()))],
  [code('J'), (m) => m.push(m.int32())],
  [code('K'), (m) => m.push(m.uint8())],
  [code('M'), (m) => m.push(m.uint16())],
  [0x8a, (m) => m.push(m.long())],
  [code('G'), (m) => m.push(m.float64())],
  [code('N'), (m) => m.push(null)],
  [0x88, (m) => m.push(true)],
  [0x89, (m) => m.push(false)],
]);

function checkProtocol(machine: Machine): void {
  const version = machine.uint8();
  if (version !== 2) throw machine.fault('pickle protocol 2, that of torch.save', `protocol ${version}`);
}

/**
 * Reads a pickle that begins at `from`, and returns where it ends.
 * @throws WinnowError `invalid_graph` for an opcode it does not know, a pickle that is cut, and what `meaning` refuses.
 */
export const unpickle = (
  bytes: Uint8Array<ArrayBuffer>,
  meaning: Meaning,
  from = 0,
): { readonly value: Pickled; readonly end: number } => new Machine(bytes, meaning, from).run();
