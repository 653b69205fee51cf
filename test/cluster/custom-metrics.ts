import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const GROUP = 'custom.metrics.k8s.io';
const VERSION = 'v1beta2';

/** Reads a metric of pods: the value of each pod by name. */
export type ReadMetric = (metric: string, selector: string) => Promise<ReadonlyMap<string, number>>;

interface Certificate {
  readonly key: Buffer;
  readonly cert: Buffer;
}

/** Makes a certificate for localhost. The API server is told not to check it. */
function selfSigned(): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-cert-'));
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const flags = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject];
    execFileSync('openssl', [...flags, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const group = {
  kind: 'APIGroup',
  apiVersion: 'v1',
  name: GROUP,
  versions: [{ groupVersion: `${GROUP}/${VERSION}`, version: VERSION }],
  preferredVersion: { groupVersion: `${GROUP}/${VERSION}`, version: VERSION },
};

const resources = (metrics: readonly string[]) => ({
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion: `${GROUP}/${VERSION}`,
  resources: metrics.map((metric) => ({
    name: `pods/${metric}`,
    singularName: '',
    namespaced: true,
    kind: 'MetricValueList',
    verbs: ['get'],
  })),
});

/** A number as a Kubernetes quantity. */
const quantity = (value: number): string => `${Math.round(value * 1000)}m`;

const valueList = (namespace: string, metric: string, values: ReadonlyMap<string, number>) => ({
  kind: 'MetricValueList',
  apiVersion: `${GROUP}/${VERSION}`,
  metadata: {},
  items: [...values].map(([name, value]) => ({
    describedObject: { kind: 'Pod', namespace, name, apiVersion: '/v1' },
    metric: { name: metric, selector: null },
    timestamp: new Date().toISOString(),
    windowSeconds: 60,
    value: quantity(value),
  })),
});

const ONE = new RegExp(`^/apis/${GROUP}/${VERSION}/namespaces/([^/]+)/pods/[*]/([^/]+)$`);

/** Answers one path of the API, or undefined where there is nothing. */
async function answer(url: URL, metrics: readonly string[], read: ReadMetric): Promise<object | undefined> {
  const path = decodeURIComponent(url.pathname);
  if (path === `/apis/${GROUP}`) return group;
  if (path === `/apis/${GROUP}/${VERSION}`) return resources(metrics);
  const [, namespace, metric] = ONE.exec(path) ?? [];
  if (namespace === undefined || metric === undefined || !metrics.includes(metric)) return undefined;
  return valueList(namespace, metric, await read(metric, url.searchParams.get('labelSelector') ?? ''));
}

export interface MetricsApi {
  readonly port: number;
  /** Paths of values that were asked for. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

/**
 * Stands in for a metrics adapter: serves `custom.metrics.k8s.io` over TLS on loopback, as an aggregated API server does. The values are the
 * caller's.
 */
export async function serveCustomMetrics(metrics: readonly string[], read: ReadMetric): Promise<MetricsApi> {
  const asked: string[] = [];
  const server = createServer(selfSigned(), (req, res) => {
    const url = new URL(req.url ?? '/', 'https://localhost');
    if (url.pathname.includes('/namespaces/')) asked.push(url.pathname);
    const send = (status: number, body: object) => {
      res.writeHead(status, { 'content-type': 'application/json' });
      res.end(JSON.stringify(body));
    };
    const failure = (code: number, message: string) =>
      send(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message });
    answer(url, metrics, read).then(
      (body) => (body ? send(200, body) : failure(404, `${url.pathname} is not served`)),
      (error: Error) => failure(500, error.message),
    );
  });
  const { promise: listening, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(0, '127.0.0.1', resolve);
  await listening;
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    close() {
      server.closeAllConnections();
      return new Promise((done) => server.close(() => done()));
    },
  };
}

/** Returns the objects that send requests for the group to a port of this machine. */
export const registration = (port: number, namespace: string): readonly object[] => [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'custom-metrics', namespace },
    spec: { type: 'ExternalName', externalName: 'localhost', ports: [{ port }] },
  },
  {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name: `${VERSION}.${GROUP}` },
    spec: {
      group: GROUP,
      version: VERSION,
      service: { name: 'custom-metrics', namespace, port },
      insecureSkipTLSVerify: true,
      groupPriorityMinimum: 100,
      versionPriority: 100,
    },
  },
];
