import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Provider } from '../src/inference/inference-types.ts';
import { writeFileAtomic } from '../src/util/files.ts';
import type { Check } from './gpu/checks/check.ts';
import { company } from './gpu/checks/company.ts';
import { memory, sticky } from './gpu/checks/faults.ts';
import { fixtures } from './gpu/checks/fixtures.ts';
import { http, httpLarger } from './gpu/checks/http.ts';
import { kernels } from './gpu/checks/kernels.ts';
import { precision, withoutTf32 } from './gpu/checks/precision.ts';
import { engine, larger, models } from './gpu/checks/rates.ts';
import { start } from './gpu/checks/start.ts';
import { torch } from './gpu/checks/torch.ts';
import { training } from './gpu/checks/training.ts';
import { type Context, firstFolder, ROOT } from './gpu/context.ts';
import type { Finding } from './gpu/findings.ts';
import { pythonPackages } from './gpu/libraries.ts';
import { describeMachine, type Linked, provide } from './gpu/machine.ts';
import { type BenchReport, type CheckReport, markdownOf, tally } from './gpu/report.ts';
import { runCheck } from './gpu/run-check.ts';
import { readFlags } from './load/flags.ts';
import { SHIPPED } from './load/shipped.ts';

const ABOUT = `
Takes a bare machine with an NVIDIA driver, without network, to a table: whether the CUDA and WebGPU providers load, whether their scores are
right, pairs a second by model, precision and batch in the engine and through HTTP, what happens in faults, training steps, and
sentence-transformers on the same models. Every check is a process with a deadline; what fails is reported and stepped over. The most
important checks come first, and the whole ends within --budget minutes.

Prints a line per finding as it is made; writes results.json and results.md, one table, into --out after every check.

--provider cpu is a dry run: the processor takes the card's place, with small models and batches. It shows that every part works.

  npm run bench:gpu -- --provider cpu
  ONNXRUNTIME_PROVIDERS=FOLDER npm run bench:gpu
`;

const flags = readFlags('gpu', ABOUT, {
  provider: { type: 'string', default: 'cuda', help: '`cuda`, or `cpu` for a dry run.' },
  budget: { type: 'string', default: '9', help: 'Minutes after which no check goes on.' },
  out: { type: 'string', default: 'runs/bench-gpu', help: 'Folder of results.json and results.md.' },
  only: { type: 'string', default: '', help: 'Names of checks, comma-separated; all by default.' },
  python: {
    type: 'string',
    default: process.env.WINNOW_PYTHON ?? 'python3',
    help: 'Python whose torch and CUDA are used, if any.',
  },
  fixtures: {
    type: 'string',
    default: '',
    help: "Folder of exports with PyTorch's logits (default: fixtures/ of a bundle, ../shared/fixtures).",
  },
  model: {
    type: 'string',
    default: '',
    help: 'MiniLM-L6 with real weights (default: real-model/ of a bundle, ../shared/backbones).',
  },
  check: { type: 'string' },
  context: { type: 'string' },
});

interface Step {
  readonly check: Check;
  /** Another provider than that of the run. */
  readonly provider?: Provider;
}

/** All checks, the most important first. */
const STEPS: readonly Step[] = [
  { check: start },
  { check: fixtures },
  { check: engine },
  { check: http },
  { check: kernels },
  { check: precision },
  { check: larger },
  { check: torch },
  { check: company },
  { check: training },
  { check: sticky },
  { check: memory },
  { check: withoutTf32 },
  { check: httpLarger },
  { check: fixtures, provider: 'webgpu' },
  { check: engine, provider: 'webgpu' },
];

/** Seconds below which a check is not begun. */
const LEAST_SECONDS = 10;

const print = (line: string) => process.stdout.write(`${line}\n`);

function show({ name, provider, findings }: CheckReport): void {
  for (const { what, status, value, unit = '', detail = '' } of findings)
    print(
      `${name} (${provider}): ${what}: ${status}${value === undefined ? '' : `, ${Number(value.toPrecision(4))} ${unit}`}${detail ? `; ${detail}` : ''}`,
    );
}

class Run {
  readonly #begin = performance.now();
  readonly #started = new Date().toISOString();
  readonly #checks: CheckReport[] = [];
  readonly #machine: Readonly<Record<string, string>>;
  readonly #out: string;

  constructor(machine: Readonly<Record<string, string>>, out: string) {
    this.#machine = machine;
    this.#out = out;
    mkdirSync(out, { recursive: true });
  }

  get secondsLeft(): number {
    return 60 * Number(flags.budget) - (performance.now() - this.#begin) / 1000;
  }

  get checks(): readonly CheckReport[] {
    return this.#checks;
  }

  /** Adds what a check found, prints it, and writes all results anew. */
  async add(found: CheckReport): Promise<void> {
    this.#checks.push(found);
    show(found);
    const report: BenchReport = {
      command: `npm run bench:gpu -- ${process.argv.slice(2).join(' ')}`.trim(),
      started: this.#started,
      provider: flags.provider,
      dryRun: flags.provider === 'cpu',
      seconds: (performance.now() - this.#begin) / 1000,
      machine: this.#machine,
      checks: this.#checks,
    };
    await writeFileAtomic(join(this.#out, 'results.json'), `${JSON.stringify(report, null, 1)}\n`);
    await writeFileAtomic(join(this.#out, 'results.md'), markdownOf(report));
  }
}

function contextOf(at: string, packages: readonly string[]): Context {
  const isDry = flags.provider === 'cpu';
  const hasTorch = packages.some((folder) => firstFolder(join(folder, 'sentence_transformers')) !== '');
  return {
    provider: isDry ? 'cpu' : 'cuda',
    small: isDry,
    at,
    fixtures: firstFolder(flags.fixtures, join(ROOT, 'fixtures'), join(ROOT, '../shared/fixtures')),
    realModel: firstFolder(flags.model, join(ROOT, 'real-model'), join(ROOT, '../shared/backbones/all-minilm-l6-v2')),
    tokenizer: SHIPPED,
    python: hasTorch ? flags.python : '',
    seconds: isDry ? 0.3 : 1.5,
    threads: cpus().length,
  };
}

/** Software Vulkan driver of Debian's chromium, which takes the card's place for WebGPU in a dry run. */
const SOFTWARE_VULKAN = '/usr/lib/chromium/vk_swiftshader_icd.json';

function environmentOf(provider: Provider, searched: string | undefined): NodeJS.ProcessEnv {
  const paths = [searched ?? process.env.LD_LIBRARY_PATH ?? ''];
  const isSoftware = provider === 'webgpu' && flags.provider === 'cpu' && !process.env.VK_ICD_FILENAMES;
  if (!isSoftware || !existsSync(SOFTWARE_VULKAN)) return { ...process.env, LD_LIBRARY_PATH: paths[0] };
  const path = [dirname(SOFTWARE_VULKAN), ...paths].filter(Boolean).join(':');
  return { ...process.env, LD_LIBRARY_PATH: path, VK_ICD_FILENAMES: SOFTWARE_VULKAN };
}

const opens = (findings: readonly Finding[]): boolean => findings.some(({ status }) => status === 'right');

/** Runs the checks in order. A provider that does not open leaves out its other checks. */
class Bench {
  readonly #context: Context;
  readonly #engines: readonly Linked[];
  readonly #run: Run;
  readonly #opened = new Map<Provider, string | undefined>();

  constructor(context: Context, engines: readonly Linked[], run: Run) {
    this.#context = context;
    this.#engines = engines;
    this.#run = run;
  }

  /** Starts the process of a check. */
  begin(check: Check, provider: Provider, searched: string | undefined) {
    const deadlineMs = 1000 * Math.min(check.seconds, this.#run.secondsLeft);
    const command = [process.execPath, import.meta.filename] as const;
    const context = { ...this.#context, provider };
    return runCheck(check, context, { command, env: environmentOf(provider, searched), deadlineMs });
  }

  async step({ check, provider = this.#context.provider }: Step): Promise<void> {
    const { name, question } = check;
    const leftOut = (detail: string) =>
      this.#run.add({ name, question, provider, seconds: 0, findings: [{ what: name, status: 'left out', detail }] });
    if (this.#run.secondsLeft < LEAST_SECONDS) return leftOut(`the budget of ${flags.budget} minutes is spent`);
    if (!this.#opened.has(provider)) await this.#open(provider);
    if (check === start) return;
    if (this.#opened.get(provider) === undefined) return leftOut(`${provider} does not open a session`);
    await this.#run.add({
      name,
      question,
      provider,
      ...(await this.begin(check, provider, this.#opened.get(provider))),
    });
  }

  /** Tries the engines until one opens the provider. */
  async #open(provider: Provider): Promise<void> {
    const { name, question } = start;
    this.#opened.set(provider, undefined);
    const own: Linked = { name: 'onnxruntime-node', searched: process.env.LD_LIBRARY_PATH ?? '' };
    for (const engine of provider === 'cuda' ? this.#engines : [own]) {
      const found = await this.begin(start, provider, engine.searched);
      const findings = found.findings.map((one) => ({ ...one, what: `${one.what} (${engine.name})` }));
      await this.#run.add({ name, question, provider, ...found, findings });
      if (!opens(found.findings)) continue;
      this.#opened.set(provider, engine.searched);
      return;
    }
  }
}

async function main(at: string): Promise<void> {
  const packages = pythonPackages(flags.python);
  const context = contextOf(at, packages);
  const run = new Run(describeMachine(ROOT, packages.length > 0 ? flags.python : ''), resolve(flags.out));
  const began = performance.now();
  const { engines, findings } = provide({ env: process.env, root: ROOT, packages }, join(at, 'libraries'));
  const seen = context.small ? findings.map((found) => ({ ...found, status: 'left out' as const })) : findings;
  const about = {
    name: 'libraries',
    question: 'Are the CUDA provider and all it needs there?',
    provider: context.provider,
  };
  await run.add({ ...about, seconds: (performance.now() - began) / 1000, findings: seen });
  const bench = new Bench(context, engines, run);
  const wanted = flags.only === '' ? undefined : flags.only.split(',');
  const isWanted = (name: string) => wanted === undefined || wanted.includes(name);
  const making = isWanted(larger.name) || isWanted(httpLarger.name) ? bench.begin(models, 'cpu', undefined) : undefined;
  for (const step of STEPS) if (isWanted(step.check.name)) await bench.step(step);
  if (making) await run.add({ name: models.name, question: models.question, provider: 'cpu', ...(await making) });
  print(`${tally(run.checks)}; ${join(resolve(flags.out), 'results.md')}`);
  const all = run.checks.flatMap((one) => one.findings);
  if (all.some(({ status }) => status === 'wrong' || status === 'fault')) process.exitCode = 1;
}

if (flags.check !== undefined) {
  const found = [...STEPS.map(({ check }) => check), models].find(({ name }) => name === flags.check);
  if (!found) throw new Error(`--check: expected a name of a check, got ${flags.check}`);
  await found.run(JSON.parse(flags.context ?? '{}') as Context);
  process.exit(0);
} else {
  if (flags.provider !== 'cuda' && flags.provider !== 'cpu')
    throw new Error(`--provider: expected cuda or cpu, got ${flags.provider}`);
  const at = mkdtempSync(join(tmpdir(), 'winnow-bench-gpu-'));
  try {
    await main(at);
  } finally {
    rmSync(at, { recursive: true, force: true });
  }
}
