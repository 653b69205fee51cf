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

function faultsOf(service: Traces, control: Traces): string[] {
  const faults: string[] = [];
  if (control.names.length === 0) faults.push('the bare engine looked no name up: this drill hears nothing');
  if (control.files.length === 0) faults.push('the bare engine wrote no file: this drill sees nothing');
  if (service.names.length > 0) faults.push(`the service looked up ${service.names.join(', ')}`);
  if (service.files.length > 0) faults.push(`the service left ${service.files.join(', ')}`);
  const expected = JSON.stringify({ answered: true, verified: 0, ended: 0 });
  if (service.output.trim() !== expected) faults.push(`expected ${expected}, got ${service.output.trim()}`);
  return faults;
}

export const dns: Drill = {
  name: 'dns',
  attack: 'serve, one request, models verify in a network whose only name server listens, beside the bare engine',
  skip: noSilence,
  async run({ folder }, scale) {
    const seconds = SECONDS * scale;
    const quiet = join(import.meta.dirname, '../harness/quiet-service.ts');
    const [service, control] = await Promise.all([
      tracesOf(join(folder, 'service'), seconds, [process.execPath, quiet]),
      tracesOf(join(folder, 'engine'), seconds, [
        process.execPath,
        '--input-type=module',
        '-e',
        BARE_ENGINE,
        ENGINE,
        MODEL,
      ]),
    ]);
    const heard = `${control.names.join(', ') || 'nothing'}; ${control.files.length} files`;
    return { tries: 2, failures: faultsOf(service, control), seen: `the bare engine in ${seconds} s: ${heard}` };
  },
};
