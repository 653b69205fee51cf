import { BlockList, isIP } from 'node:net';
import type { Request } from 'express';
import { header } from './exchange.ts';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether an address is this machine's loopback: 127.0.0.0/8, `::1`, and IPv4 loopback written as IPv6 (`::ffff:127.0.0.1`). */
export function isLoopback(address: string | undefined): boolean {
  const family = isIP(address ?? '');
  return family !== 0 && LOOPBACK.check(address!, family === 4 ? 'ipv4' : 'ipv6');
}

/** Returns an address as IPv4 where it is one: a socket for both families gives IPv4 clients as `::ffff:10.0.0.1`. */
export const plainAddress = (address: string): string => {
  const rest = address.replace(/^::ffff:/i, '');
  return isIP(rest) === 4 ? rest : address;
};

/** Headers that proxies add. */
const FORWARDING = ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via'] as const;

/**
 * Whether the client itself is on this machine. The connection has to come from loopback. A request that a proxy on this machine forwards
 * (it has a forwarding header) counts only if `server.trustedProxies` says whose `X-Forwarded-For` to read, and that is loopback too.
 */
export function isLocal(req: Request): boolean {
  if (!isLoopback(req.socket.remoteAddress)) return false;
  const trusts = Number(req.app.get('trust proxy')) > 0 && header(req, 'x-forwarded-for') !== undefined;
  return trusts ? isLoopback(req.ip) : FORWARDING.every((name) => req.headers[name] === undefined);
}
