/** Returns the first of the values that equals one before it. */
export const repeated = (values: readonly string[]): string | undefined =>
  values.find((value, i) => values.indexOf(value) < i);
