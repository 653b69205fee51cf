import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { ExperimentStore, Outcome, OutcomeStatus } from '../records.ts';

/** The most outcomes in one request. */
const MAX_OUTCOMES = 10_000;
/** How far the clocks of clients may be ahead or behind, in milliseconds. */
export const CLOCK_SKEW_MS = 300_000;

/** One outcome as clients send it. */
const outcomeSchema = z
  .object({
    request_id: z
      .string()
      .regex(/^[\w.:/+=@-]{1,128}$/, { error: 'a request id' })
      .nullish()
      .meta({ description: '`x-request-id` of the answer the outcome belongs to.' }),
    unit: z
      .string()
      .min(1)
      .max(1024)
      .nullish()
      .meta({ description: 'The unit (user or session id) instead, for outcomes of no single request.' }),
    metric: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, { error: 'a name of 1 to 64 letters, digits, `_`, `.`, `-`' })
      .meta({ description: 'Name of the metric, as in the experiment.' }),
    value: z
      .number()
      .min(-1e15)
      .max(1e15)
      .optional()
      .meta({ description: 'What is added to the metric; 1 if absent.' }),
    item: z.number().int().min(0).max(1_000_000).nullish().meta({
      description: 'Place in the request of the passage it is about (`index` of the result): needed for interleaving.',
    }),
    key: z
      .string()
      .regex(/^[\x20-\x7e]{1,200}$/, { error: '1 to 200 printable ASCII characters' })
      .nullish()
      .meta({ description: 'Counts once however often it is sent; made from all other fields if absent.' }),
    at: z
      .union([z.number().min(0), z.iso.datetime({ offset: true })], {
        error: 'milliseconds since 1970 or an ISO 8601 time',
      })
      .nullish()
      .meta({ description: 'When it happened: milliseconds since 1970 or ISO 8601; now if absent.' }),
  })
  .refine((o) => (o.request_id == null) !== (o.unit == null), {
    message: 'either `request_id` or `unit`',
    path: ['request_id'],
  })
  .meta({ id: 'Outcome' });

export const outcomesSchema = z
  .union([outcomeSchema, z.array(outcomeSchema).min(1).max(MAX_OUTCOMES)], {
    error: `an outcome or an array of 1 to ${MAX_OUTCOMES}`,
  })
  .meta({ id: 'Outcomes' });

export type SentOutcome = z.infer<typeof outcomeSchema>;

/** Makes the key of an outcome that has none. Equal outcomes have equal keys, so that a repeated request counts once. */
function derivedKey({ request_id, unit, metric, value = 1, item, at }: SentOutcome): string {
  const parts = [request_id ?? null, unit ?? null, metric, value, item ?? null, at ?? null];
  return `derived:${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 40)}`;
}

/**
 * Turns an outcome as it was sent into one to store.
 * A time that is a little in the future comes from a clock that is ahead, and counts as now.
 * @param now milliseconds since 1970, for outcomes without a time.
 * @param hashUnit returns what is stored in place of a unit's id.
 */
export function outcomeOf(sent: SentOutcome, now: number, hashUnit: (id: string) => string): Outcome {
  const { request_id, unit, metric, value = 1, item, key } = sent;
  const at = typeof sent.at === 'string' ? Date.parse(sent.at) : (sent.at ?? now);
  return {
    // A derived key hashes the unit's id; keyed, so that ids cannot be guessed.
    key: key ?? hashUnit(derivedKey(sent)),
    at: at > now && at <= now + CLOCK_SKEW_MS ? now : at,
    behindMs: CLOCK_SKEW_MS,
    metric,
    value,
    ...(request_id == null ? {} : { requestId: request_id }),
    ...(unit == null ? {} : { unit: hashUnit(unit) }),
    ...(item == null ? {} : { item }),
  };
}

interface Waiting {
  readonly outcomes: readonly Outcome[];
  readonly resolve: (statuses: readonly OutcomeStatus[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Writes outcomes to disk. Those added during a transaction share the next one, so that many clients do not wait for one disk sync
 * each.
 */
export class OutcomeWriter {
  readonly #store: () => Promise<ExperimentStore>;
  #waiting: Waiting[] = [];
  #busy = false;

  constructor(store: () => Promise<ExperimentStore>) {
    this.#store = store;
  }

  /** Resolves to the outcomes' statuses when they are on disk. @throws the database's error. */
  add(outcomes: readonly Outcome[]): Promise<readonly OutcomeStatus[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ outcomes, resolve, reject });
      if (!this.#busy) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#busy = true;
    while (this.#waiting.length > 0) await this.#write(this.#waiting.splice(0));
    this.#busy = false;
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    try {
      const store = await this.#store();
      const statuses = await store.addOutcomes(group.flatMap(({ outcomes }) => outcomes));
      let from = 0;
      for (const { outcomes, resolve } of group) {
        resolve(statuses.slice(from, from + outcomes.length));
        from += outcomes.length;
      }
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }
}
