import type { RequestHandler } from 'express';
import type { Scope } from '../keys.ts';
import type { BodyKind } from '../middleware/body.ts';

/** One row of the table of routes. */
export interface Route {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  /** Express pattern; the OpenAPI document spells `:name` as `{name}`. */
  readonly path: string;
  /** Scope that a key needs; `public` routes need no key. */
  readonly access: 'public' | Scope;
  readonly body?: BodyKind;
  readonly handler: RequestHandler;
  /** Runs before key and body are checked, so that those errors too have the form of the route's dialect. */
  readonly prepare?: RequestHandler;
}
