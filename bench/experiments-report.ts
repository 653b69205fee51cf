import { withSign } from '../src/reports/format.ts';
import { type Cost, costsOf, type Measured } from './load/costs.ts';
import { mean, median, percentile, table } from './load/figures.ts';

/** A kind of load. */
export interface Load {
  readonly name: string;
  /** Name of the same load without an experiment. */
  readonly beside?: string;
}

const signed = (ms: number) => withSign(ms, Math.abs(ms).toFixed(2));
const cells = ({ value, low, high }: Cost, text: (n: number) => string): string =>
  `${text(value)} (${text(low)} to ${text(high)})`;
const ratioText = (cost: Cost) => cells(cost, (n) => n.toFixed(3));
const msText = (cost: Cost) => cells(cost, signed);

type Subject = Measured & { readonly variant: Load };

/** Summarizes a kind of load, with its costs compared to the one it names. */
export function rowOf(subject: Subject, subjects: readonly Subject[]) {
  const { variant, throughput, cpu, own, refused } = subject;
  const latencies = subject.latencies.flat();
  const beside = subjects.find(({ variant: { name } }) => name === variant.beside);
  return {
    ...variant,
    pairsPerSecond: median(throughput),
    cpuMsAPair: median(cpu),
    ownMsARequest: mean(own),
    requests: latencies.length,
    refused: refused.reduce((sum, n) => sum + n, 0),
    p50Ms: percentile(latencies, 50),
    p99Ms: percentile(latencies, 99),
    ...(beside ? { costs: costsOf(subject, beside) } : {}),
  };
}
export type Row = ReturnType<typeof rowOf>;

/** Returns `yes` or `NO` by the value; marked if the interval holds values on both sides of the target. */
function met(cost: Cost, holds: (value: number) => boolean): string {
  const sure = holds(cost.low) === holds(cost.high);
  return `${holds(cost.value) ? 'yes' : 'NO'}${sure ? '' : ', within noise'}`;
}

/** Lists the two targets for each load that is compared with another. */
export function targetsOf(rows: readonly Row[]) {
  return rows.flatMap(({ name, costs }) => {
    if (!costs) return [];
    const [kept, soon] = [(ratio: number) => ratio >= 0.98, (ms: number) => ms <= 1];
    return [
      {
        what: `throughput, ${name}`,
        seen: ratioText(costs.throughput),
        target: '≥ 0.98',
        met: met(costs.throughput, kept),
      },
      { what: `p99, ${name}`, seen: `${msText(costs.p99)} ms`, target: '≤ +1 ms', met: met(costs.p99, soon) },
    ];
  });
}

/** Prints the loads, their costs and the targets as Markdown tables. */
export function print(rows: readonly Row[], targets: ReturnType<typeof targetsOf>): void {
  console.log(
    table(
      ['load', 'pairs/s', 'refused', 'CPU ms a pair', 'HTTP process, CPU ms a request', 'p50 ms', 'p99 ms', 'requests'],
      rows.map((r) => [
        r.name,
        r.pairsPerSecond.toFixed(1),
        String(r.refused),
        r.cpuMsAPair.toFixed(2),
        r.ownMsARequest.toFixed(2),
        r.p50Ms.toFixed(1),
        r.p99Ms.toFixed(1),
        String(r.requests),
      ]),
    ),
  );
  const compared = rows.flatMap(({ name, beside, costs }) =>
    costs
      ? [
          [
            `${name} beside ${beside}`,
            ratioText(costs.throughput),
            ratioText(costs.cpu),
            msText(costs.own),
            msText(costs.p50),
            msText(costs.p99),
          ],
        ]
      : [],
  );
  console.log(
    `\n${table(['cost', 'pairs/s, ratio', 'CPU, ratio', 'HTTP process, Δ CPU ms a request', 'Δ p50 ms', 'Δ p99 ms'], compared)}\n`,
  );
  console.log(
    table(
      ['target', 'seen', 'asked', 'met'],
      targets.map((t) => [t.what, t.seen, t.target, t.met]),
    ),
  );
}
