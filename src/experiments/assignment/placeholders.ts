import { PLACEHOLDER_IDS } from '../../util/placeholder-ids.ts';
import type { HookRequest, Subject } from '../ports.ts';

/** The fields of a subject that hold ids. */
const ID_FIELDS = ['unit', 'user', 'session'] as const satisfies readonly (keyof Subject)[];

/** A request without the ids that count as none, and the first of them. */
interface NamedRequest {
  readonly request: HookRequest;
  readonly placeholder?: string;
}

/**
 * Knows the ids that count as none, such as `undefined`: programs send them for every user without an id, and as a unit they would be
 * one user that makes most of the traffic.
 */
export class Placeholders {
  readonly #ids: ReadonlySet<string>;

  /** @param ids compared without regard to case and surrounding white space. Blank ids always count as none. */
  constructor(ids: readonly string[] = PLACEHOLDER_IDS) {
    this.#ids = new Set(ids.map((id) => id.trim().toLowerCase()));
  }

  /** Whether an id counts as none. */
  has(id: string): boolean {
    const plain = id.trim().toLowerCase();
    return plain === '' || this.#ids.has(plain);
  }

  /** Takes the ids that count as none out of a request's subject. */
  without(request: HookRequest): NamedRequest {
    const { subject } = request;
    if (!subject) return { request };
    const found = ID_FIELDS.filter((field) => subject[field] && this.has(subject[field]));
    if (found.length === 0) return { request };
    const kept = Object.fromEntries(Object.entries(subject).filter(([field]) => !found.some((one) => one === field)));
    return { request: { ...request, subject: kept }, placeholder: subject[found[0]!]!.trim().toLowerCase() };
  }
}
