import { WinnowError } from '../../errors.ts';
import { isObject, type JsonObject } from '../../util/json-files.ts';

/** The fields of a config.json, each checked when it is read. */
export class Settings {
  readonly file: string;
  readonly #fields: JsonObject;

  /** @param file Path for errors. @throws WinnowError `invalid_input` unless `value` is a JSON object. */
  constructor(file: string, value: unknown) {
    this.file = file;
    if (!isObject(value))
      throw new WinnowError('invalid_input', { where: file, expected: 'a JSON object', got: text(value) });
    this.#fields = value;
  }

  /** Makes the error of a field. */
  fault(field: string, expected: string, got: string): WinnowError {
    return new WinnowError('invalid_input', { where: `${this.file}: ${field}`, expected, got });
  }

  fields(): readonly string[] {
    return Object.keys(this.#fields);
  }

  /** Returns a field as it is; null counts as absent. */
  get(field: string): unknown {
    return Object.hasOwn(this.#fields, field) ? (this.#fields[field] ?? undefined) : undefined;
  }

  isNull(field: string): boolean {
    return Object.hasOwn(this.#fields, field) && this.#fields[field] === null;
  }

  /** Returns a positive integer, or undefined where the field is absent. */
  stated(field: string): number | undefined {
    const value = this.get(field);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
    throw this.fault(field, 'a positive integer', text(value));
  }

  /** Returns a positive integer that decides how much is built, and so must not be more than any model has. */
  bounded(field: string, most: number, otherwise?: number): number {
    const value = this.stated(field) ?? otherwise ?? this.count(field);
    if (value <= most) return value;
    throw this.fault(field, `at most ${most}`, String(value));
  }

  /** Returns a positive integer. */
  count(field: string): number {
    const value = this.stated(field);
    if (value === undefined) throw this.fault(field, 'a positive integer', 'nothing');
    return value;
  }

  /** Returns an integer of at least `lowest`. */
  integer(field: string, lowest: number, otherwise: number): number {
    const value = this.get(field) ?? otherwise;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= lowest) return value;
    throw this.fault(field, `an integer of at least ${lowest}`, text(value));
  }

  /** Returns a finite number above 0. */
  positive(field: string, otherwise: number): number {
    const value = this.get(field) ?? otherwise;
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    throw this.fault(field, 'a number above 0', text(value));
  }

  flag(field: string, otherwise: boolean): boolean {
    const value = this.get(field) ?? otherwise;
    if (typeof value === 'boolean') return value;
    throw this.fault(field, 'true or false', text(value));
  }

  /** Returns one of some words. */
  choice<const T extends string>(field: string, words: readonly T[], otherwise: NoInfer<T>): T {
    const value = this.get(field) ?? otherwise;
    const found = words.find((word) => word === value);
    if (found !== undefined) return found;
    throw this.fault(field, words.length === 1 ? words[0]! : `one of ${words.join(', ')}`, text(value));
  }

  /** Returns the settings inside a field that holds an object; undefined where it is absent. */
  inside(field: string): Settings | undefined {
    const value = this.get(field);
    return value === undefined ? undefined : new Settings(`${this.file}: ${field}`, value);
  }

  /** Returns the items of a field that holds a list; undefined where it is absent. */
  list(field: string): readonly unknown[] | undefined {
    const value = this.get(field);
    if (value === undefined || Array.isArray(value)) return value;
    throw this.fault(field, 'a list', text(value));
  }

  /** Returns the number of labels the file states, if it does. */
  labels(): number | undefined {
    const names = this.get('id2label');
    return isObject(names) && Object.keys(names).length > 0 ? Object.keys(names).length : this.stated('num_labels');
  }

  /** Whether the file says that the weights have a classification head. */
  saysClassifier(): boolean {
    return this.#says('ForSequenceClassification');
  }

  /** Whether the file says that the weights are a decoder's with the head of a language model. */
  saysLanguageModel(): boolean {
    return this.#says('ForCausalLM');
  }

  /** Whether the file says that the head scores tokens, not rows; its tensors may have the names of the other kind. */
  saysTokenHead(): boolean {
    return this.#says('ForTokenClassification') || this.#says('ForQuestionAnswering');
  }

  #says(kind: string): boolean {
    return (this.list('architectures') ?? []).some((name) => String(name).endsWith(kind));
  }
}

const text = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 80);
