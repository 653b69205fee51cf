import { join } from 'node:path';
import { SHIPPED } from '../../../bench/load/shipped.ts';
import type { Drill } from '../harness/drill.ts';
import { noSilence, type Traces, tracesOf } from '../harness/silence.ts';

/** The engine's telemetry was seen to look its server up after 6 to 40 s. */
const SECONDS = 45;

/** The engine without Winnow: what the service would do if it left the engine's telemetry on. */
const BARE_ENGINE = `
  const { InferenceSession } = await import(process.argv[1]);
  await InferenceSession.create(process.argv[2]);
  setInterval(() => undefined, 60_000);
`;

const ENGINE = import.meta.resolve('onnxruntime-node');
const MODEL = join(SHIPPED, 'onnx/model_int8.onnx');

/** Commands of Winnow, and what they print where all went well. */
const COMMANDS = {
  service: { answered: true, verified: 0, ended: 0 },
  jobs: { trained: 0, published: true, evaluated: 0, running: 2 },
} as const;
type Command = keyof typeof COMMANDS;

function faultsOf(who: Command, { names, files, output }: Traces): string[] {
  const faults: string[] = [];
  if (names.length > 0) faults.push(`${who}: looked up ${names.join(', ')}`);
  if (files.length > 0) faults.push(`${who}: left ${files.join(', ')}`);
  const expected = JSON.stringify(COMMANDS[who]);
  if (output.trim() !== expected) faults.push(`${who}: expected ${expected}, got ${output.trim()}`);
  return faults;
}

function faultsOfControl({ names, files }: Traces): string[] {
  const faults: string[] = [];
  if (names.length === 0) faults.push('the bare engine looked no name up: this drill hears nothing');
  if (files.length === 0) faults.push('the bare engine wrote no file: this drill sees nothing');
  return faults;
}

const harness = (name: string) => join(import.meta.dirname, '../harness', name);

export const dns: Drill = {
  name: 'dns',
  attack:
    'serve, one request, models verify, train and eval in networks whose only name server listens, beside the bare engine',
  skip: noSilence,
  async run({ folder }, scale) {
    const seconds = SECONDS * scale;
    const bare = ['--input-type=module', '-e', BARE_ENGINE, ENGINE, MODEL];
    const traces = (name: string, ...args: readonly string[]) =>
      tracesOf(join(folder, name), seconds, [process.execPath, ...args]);
    const [service, jobs, control] = await Promise.all([
      traces('service', harness('quiet-service.ts')),
      traces('jobs', harness('quiet-jobs.ts'), join(folder, 'results')),
      traces('engine', ...bare),
    ]);
    const failures = [...faultsOfControl(control), ...faultsOf('service', service), ...faultsOf('jobs', jobs)];
    const heard = `${control.names.join(', ') || 'nothing'}; ${control.files.length} files`;
    return { tries: 3, failures, seen: `the bare engine in ${seconds} s: ${heard}` };
  },
};
