import type { Random } from '../../util/random.ts';

/** A merged ranking: arm `team[k]` contributed item k of `order`. Items are passage indexes of the request. */
interface Interleaved {
  readonly order: readonly number[];
  readonly team: readonly number[];
}

/**
 * Merges rankings by team-draft interleaving (Radlinski, Kurup and Joachims, CIKM 2008) and, beyond two arms, by team-draft multileaving
 * (Schuth et al., CIKM 2014). In each round the arms, in random order, draft their best item that is not drafted yet. A click credits the
 * team.
 * @param rankings one ranking an arm, best first, over the same items.
 */
export function teamDraft(rankings: readonly (readonly number[])[], random: Random): Interleaved {
  const taken = new Set<number>();
  const cursor = rankings.map(() => 0);
  const order: number[] = [];
  const team: number[] = [];
  const draft = (arm: number): boolean => {
    const ranking = rankings[arm]!;
    while (cursor[arm]! < ranking.length && taken.has(ranking[cursor[arm]!]!)) cursor[arm]!++;
    const item = ranking[cursor[arm]!];
    if (item === undefined) return false;
    taken.add(item);
    order.push(item);
    team.push(arm);
    return true;
  };
  for (let drafted = true; drafted; ) {
    drafted = false;
    for (const arm of random.shuffle(rankings.map((_, i) => i))) drafted = draft(arm) || drafted;
  }
  return { order, team };
}

/**
 * Merges two rankings by balanced interleaving (Joachims 2002). One coin decides which arm leads, and every prefix of the result holds the
 * first k of both rankings, with |k_a − k_b| ≤ 1. The team is the arm whose turn placed the item. Credit compares the arms' own prefixes
 * instead, because an item that both rank high belongs to both.
 */
export function balanced(rankings: readonly [readonly number[], readonly number[]], random: Random): Interleaved {
  const lead = random.below(2);
  const cursor: [number, number] = [0, 0];
  const taken = new Set<number>();
  const order: number[] = [];
  const team: number[] = [];
  const left = () => cursor[0] < rankings[0].length || cursor[1] < rankings[1].length;
  while (left()) {
    const other = 1 - lead;
    const arm = cursor[lead as 0 | 1] <= cursor[other as 0 | 1] ? lead : other;
    const turn = (cursor[arm as 0 | 1] < rankings[arm as 0 | 1].length ? arm : 1 - arm) as 0 | 1;
    const item = rankings[turn][cursor[turn]++]!;
    if (taken.has(item)) continue;
    taken.add(item);
    order.push(item);
    team.push(turn);
  }
  return { order, team };
}
