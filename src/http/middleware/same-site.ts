import { isIP } from 'node:net';
import type { Request, RequestHandler } from 'express';
import { describe, WinnowError } from '../../errors.ts';
import { header } from '../exchange.ts';
import { isLoopback } from '../peer.ts';

/** Splits a `Host` header into name and port; an IPv6 address stands in brackets. */
const HOST = /^(?:\[(?<six>[^\]]+)\]|(?<name>[^:@/[\]]+))(?::\d*)?$/;

/**
 * Whether a `Host` header may come from loopback: an IP address, a name of one label, or a listed name. The zone that an attacker owns in public
 * DNS has names with a dot only, so that it cannot point `localhost` or the service `winnow` of a docker-compose file to loopback.
 */
function isKnown(host: string, hosts: ReadonlySet<string>): boolean {
  const { six, name } = HOST.exec(host.trim())?.groups ?? {};
  if (six !== undefined) return isIP(six) !== 0;
  const plain = name?.toLowerCase().replace(/\.$/, '');
  return plain !== undefined && (/^[a-z0-9_-]+$/.test(plain) || isIP(plain) !== 0 || hosts.has(plain));
}

/**
 * Refuses names that a page on this machine may have pointed to loopback (DNS rebinding). Connections from elsewhere may use any name,
 * such as that of a Kubernetes service.
 * @throws WinnowError `unknown_host`.
 */
function checkHost(req: Request, hosts: ReadonlySet<string>): void {
  const host = header(req, 'host');
  if (host === undefined || !isLoopback(req.socket.remoteAddress)) return;
  if (!isKnown(host, hosts)) throw new WinnowError('unknown_host', { got: describe(host) });
}

/** Whether an origin is the one the request was sent to: scheme, name and port of its `Host` header. */
function isOwn(req: Request, origin: string): boolean {
  const host = header(req, 'host');
  if (host === undefined || !URL.canParse(origin)) return false;
  const { protocol, host: from } = new URL(origin);
  // A proxy may have ended TLS. Then the browser, which knows the scheme it used, says whether it is the same origin.
  const scheme = protocol === `${req.protocol}:` || header(req, 'sec-fetch-site') === 'same-origin';
  return scheme && URL.canParse(`${protocol}//${host}`) && from === new URL(`${protocol}//${host}`).host;
}

/** @throws WinnowError `cross_site`. */
function checkOrigin(req: Request, origins: readonly string[]): void {
  const origin = header(req, 'origin');
  const listed = origin !== undefined && (origins.includes('*') || origins.includes(origin));
  if (listed) return;
  if (origin !== undefined && !isOwn(req, origin)) throw new WinnowError('cross_site', { got: describe(origin) });
  if (header(req, 'sec-fetch-site')?.trim().toLowerCase() === 'cross-site')
    throw new WinnowError('cross_site', { got: 'another site' });
}

/**
 * Refuses what pages of other sites make a browser send: an `Origin` that is neither the service's own nor in `origins`, `Sec-Fetch-Site:
 * cross-site`, and on loopback a `Host` with a dot that is neither an IP address nor in `hosts`. Clients other than browsers send none of
 * these headers but `Host`.
 */
export function refuseCrossSite(origins: readonly string[], hosts: readonly string[]): RequestHandler {
  const known = new Set(hosts.map((host) => host.toLowerCase()));
  return function checkSite(req, _res, next) {
    checkHost(req, known);
    checkOrigin(req, origins);
    next();
  };
}

/** Whether a browser sent the request. */
export function isFromBrowser(req: Request): boolean {
  return ['origin', 'sec-fetch-site', 'sec-fetch-mode', 'sec-fetch-dest'].some(
    (name) => header(req, name) !== undefined,
  );
}
