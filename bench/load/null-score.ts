/** Returns a logit from -8 to 8 that depends on every token id and its place. */
export function nullScore(ids: Int32Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < ids.length; i++) hash = Math.imul(hash ^ ids[i]!, 0x01000193);
  return ((hash >>> 0) / 2 ** 32) * 16 - 8;
}
