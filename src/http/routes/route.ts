import type { RequestHandler } from 'express';
import type { Scope } from '../keys.ts';
import type { BodyKind } from '../middleware/body.ts';

/** A listener: with `server.adminPort` the service has two, `main` and `admin`, otherwise one with `all` routes. */
export type ListenerKind = 'all' | 'main' | 'admin';

/** One row of the table of routes. */
export interface Route {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  /** Express pattern; the OpenAPI document spells `:name` as `{name}`. */
  readonly path: string;
  /** Scope that a key needs; `public` routes need no key. */
  readonly access: 'public' | Scope;
  /** The listener that serves it where there are two; both, if absent. */
  readonly on?: 'main' | 'admin';
  readonly body?: BodyKind;
  readonly handler: RequestHandler;
  /** Runs before key and body are checked, so that those errors too have the form of the route's dialect. */
  readonly prepare?: RequestHandler;
}
