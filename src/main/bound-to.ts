/**
 * Returns where to listen for `server.host`. For `::` no host is named: Node then takes every address of both families, and those of IPv4
 * where the machine has no IPv6.
 */
export const boundTo = (host: string): { readonly host?: string } => (host === '::' ? {} : { host });
