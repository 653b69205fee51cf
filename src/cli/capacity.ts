import { Command } from 'commander';
import { loadConfig } from '../config/load-config.ts';
import { chooseLayout } from '../inference/host-layout.ts';
import { type MeasuredCapacity, measureCapacity } from '../main/measure-capacity.ts';
import { percent } from '../reports/format.ts';
import { type CapacityPlan, planCapacity } from '../scheduling/capacity.ts';
import { modelsOption, numberOption, providerOption } from './options.ts';
import { plainTable } from './plain-table.ts';

const EXAMPLES = `
Examples:
  $ npx winnow capacity --rps 50 --passages 20 --tokens 120
  $ npx winnow capacity --rps 50 --passages 20 --tokens 120 --model minilm-l6-infonce --cores 4 --price 0.04
  $ npx winnow capacity --rps 400 --passages 100 --tokens 256 --provider cuda --json

The command measures this machine for a few seconds: run it on an idle one of the kind that will serve.
`;

interface Flags {
  readonly rps: number;
  readonly passages: number;
  readonly tokens: number;
  readonly model?: string;
  readonly cores: number;
  readonly headroom: number;
  readonly price?: number;
  readonly seconds: number;
  readonly models: string;
  readonly provider?: string;
  readonly json?: true;
}

/** Below this share of processor time in their time, the hosts of a CPU waited for the processor. */
const LEAST_PROCESSOR = 0.85;

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;

const perReplica = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

function toText(flags: Flags, measured: MeasuredCapacity, plan: CapacityPlan, hostsAReplica: number): string {
  const { rps, passages, tokens, cores, headroom } = flags;
  const { model, variant, provider, hosts, requests, hostMsARequest } = measured;
  const rows = [
    ['load', `${rps} requests/s of ${passages} passages of ${tokens} tokens: ${plan.busyHosts.toFixed(1)} busy hosts`],
    ['replicas', `${plan.replicas} of ${perReplica(cores, 'core')} and ${perReplica(hostsAReplica, 'host')}`],
    ['busy', `${percent(plan.utilization, 0)} (headroom at least ${percent(headroom, 0)})`],
    ['each answers at most', `${plan.mostRpsAReplica.toFixed(plan.mostRpsAReplica < 1 ? 3 : 1)} requests/s`],
    ['memory', `${megabytes(plan.bytesAReplica)} a replica, ${megabytes(plan.bytes)} together`],
    ...(plan.costAMonth === undefined ? [] : [['cost', `${plan.costAMonth.toFixed(2)} a month (730 h)`]]),
  ];
  const seen = `${model} ${variant} on ${provider}, ${perReplica(hosts, 'host')}, ${requests} requests measured`;
  return `${seen}: ${hostMsARequest.toFixed(1)} ms of a host a request\n${plainTable(rows)}\n`;
}

async function run(flags: Flags): Promise<void> {
  const { models, provider, passages, tokens, seconds, model, cores } = flags;
  const named = provider === undefined ? [] : ['--provider', provider];
  const config = loadConfig(['--models', models, '--registry-watch', 'false', ...named], process.env);
  const measured = await measureCapacity(config, { model, passages, tokens, seconds });
  const { hostMsARequest, processorMsARequest = hostMsARequest, frontBytes, hostBytes } = measured;
  // On a CPU as many hosts as the server starts in a pod of so many cores; on a GPU as many as here.
  const onCpu = measured.provider === 'cpu';
  const hostsAReplica = onCpu ? chooseLayout('cpu', 0, measured.threads, cores).hosts : measured.hosts;
  const { rps, headroom, price } = flags;
  const known = { rps, headroom, price, hostsAReplica, coresAReplica: cores, frontBytes, hostBytes };
  const plan = planCapacity({ ...known, hostMsARequest });
  const processorShare = processorMsARequest / hostMsARequest;
  if (processorShare < LEAST_PROCESSOR) {
    const { replicas } = planCapacity({ ...known, hostMsARequest: processorMsARequest });
    process.stderr.write(
      `warning: other programs used the processor (the hosts had it ${percent(processorShare, 0)} of the time): measure on an idle machine; by processor time alone ${replicas} replicas are enough\n`,
    );
  }
  if (flags.json) process.stdout.write(`${JSON.stringify({ measured, plan: { ...plan, hostsAReplica } }, null, 2)}\n`);
  else process.stdout.write(toText(flags, measured, plan, hostsAReplica));
}

const positive = { min: 0.001 };
const whole = { integer: true, min: 1 };

/** Makes `winnow capacity`: how many replicas a load needs, by a measurement of this machine. */
export function command(): Command {
  return new Command('capacity')
    .description('Compute replicas, hosts, memory and cost for a load, from what the model takes on this machine.')
    .addOption(numberOption('--rps <n>', 'requests a second', positive).makeOptionMandatory())
    .addOption(numberOption('--passages <n>', 'passages of a request', whole).makeOptionMandatory())
    .addOption(numberOption('--tokens <n>', 'tokens of a pair of query and passage', whole).makeOptionMandatory())
    .option('--model <name>', 'model of the registry folder (default: its default model)')
    .addOption(numberOption('--cores <n>', 'cores of a replica: its CPU limit', whole, 2))
    .addOption(
      numberOption(
        '--headroom <share>',
        "share of the hosts' time that stays free for peaks",
        { min: 0, max: 0.95 },
        0.25,
      ),
    )
    .addOption(numberOption('--price <amount>', 'price of a core for an hour', { min: 0 }))
    .addOption(numberOption('--seconds <n>', 'how long to measure', { min: 1, max: 600 }, 5))
    .addOption(modelsOption())
    .addOption(providerOption())
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
