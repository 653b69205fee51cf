import type { RequestHandler } from 'express';
import type { Scope } from '../keys.ts';

/** One row of the table of routes. */
export interface Route {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  /** Express pattern; the OpenAPI document spells `:name` as `{name}`. */
  readonly path: string;
  /** `public` asks for no key. */
  readonly access: 'public' | Scope;
  readonly body?: 'json' | 'optional-json';
  readonly handler: RequestHandler;
  /** Runs before keys and body, so that even their errors speak the route's dialect. */
  readonly prepare?: RequestHandler;
}
