/** Counts the edits between two texts (Levenshtein 1966). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}

/** Returns a name without the characters in which its spellings differ. */
const plain = (name: string): string => name.replaceAll(/[-_]/g, '').toLowerCase();

/** Returns the name of `known` that is nearest to `name`, undefined if it is more than `most` edits away. */
export function nearestName(name: string, known: readonly string[], most: number): string | undefined {
  const distanceTo = (other: string): number => distance(plain(other), plain(name));
  const nearest = known.toSorted((a, b) => distanceTo(a) - distanceTo(b))[0];
  return nearest !== undefined && distanceTo(nearest) <= most ? nearest : undefined;
}
