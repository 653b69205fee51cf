/** What a check saw. */
export interface Finding {
  /** What was looked at, such as `bert/dynamo-op20.onnx` or `MiniLM-L6 fp16, 16384 tokens`. */
  readonly what: string;
  /**
   * `right` and `wrong` are answers of a check, `measured` is a number without one. `fault` is an error, a crash or a passed deadline, `left out`
   * says why something was not looked at.
   */
  readonly status: 'right' | 'wrong' | 'measured' | 'fault' | 'left out';
  readonly value?: number;
  readonly unit?: string;
  readonly detail?: string;
}

/** A finding with the check that it belongs to. */
export interface Entry extends Finding {
  readonly check: string;
}

const MARK = '@finding ';

/** Hands a finding to the process that started this one; it counts even if this process does not live to its end. */
export function report(finding: Finding): void {
  process.stdout.write(`${MARK}${JSON.stringify(finding)}\n`);
}

/** Reads the findings out of the lines that a check has printed. Other lines are the engine's own. */
export const findingsIn = (lines: readonly string[]): readonly Finding[] =>
  lines.filter((line) => line.startsWith(MARK)).map((line) => JSON.parse(line.slice(MARK.length)) as Finding);

/** Returns the error as a finding: its first lines, without terminal colors. */
export function faultOf(what: string, error: unknown): Finding {
  const text = error instanceof Error ? error.message : String(error);
  return { what, status: 'fault', detail: shortened(text) };
}

const COLORS = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');
const LONGEST = 400;

/** Returns the text in one line without terminal colors, cut in the middle: an engine's error has its reason at the end. */
export function shortened(text: string): string {
  const line = text.replace(COLORS, '').replace(/\s+/g, ' ').trim();
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST / 2)} … ${line.slice(-LONGEST / 2)}`;
}

/** Runs a part of a check; an error becomes a finding, and the check goes on. */
export async function attempt(what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    report(faultOf(what, error));
  }
}
