import { expect, it } from 'vitest';
import { stagesBetween } from '../../bench/load/stage-profile.ts';

const node = (id: number, functionName: string, url: string, children: number[] = []) => ({
  id,
  callFrame: { functionName, url },
  children,
});

/** (root) → handler of a route → JSON parser → a native helper; and a loop that waits. */
const PROFILE = {
  nodes: [
    node(1, '(root)', '', [2, 6, 7, 8]),
    node(2, 'handle', 'file:///x/src/http/routes/scoring.ts', [3]),
    node(3, 'parse', 'file:///x/src/http/json/scanner.ts', [4, 5]),
    node(4, 'charCodeAt', ''),
    node(5, 'constructor', ''),
    node(6, '(idle)', ''),
    node(7, '(garbage collector)', ''),
    node(8, 'strange', 'file:///x/elsewhere.ts'),
  ],
  startTime: 1000,
  samples: [2, 4, 5, 6, 7, 8, 2],
  timeDeltas: [500, 1000, 1000, 4000, 250, 750, 3000],
};

const RULES = [
  ['parse', /src\/http\/json/],
  ['answer', /src\/http\/routes/],
] as const;

it('counts a helper where it is called, and leaves out waiting', () => {
  expect(Object.fromEntries(stagesBetween(PROFILE, RULES, [0, 1e9]))).toEqual({
    answer: 3.5,
    parse: 2,
    'garbage collection': 0.25,
    other: 0.75,
  });
});

it('counts the samples of a period only', () => {
  expect(Object.fromEntries(stagesBetween(PROFILE, RULES, [2000, 3600]))).toEqual({ parse: 2 });
});
