/** Ids that programs write where they have none. An operator may name others. */
export const PLACEHOLDER_IDS: readonly string[] = [
  'undefined',
  'null',
  '(null)',
  'nil',
  'none',
  'nan',
  '0',
  '-1',
  'anonymous',
  'anon',
  'guest',
  'unknown',
  'n/a',
  '[object object]',
  '00000000-0000-0000-0000-000000000000',
];
