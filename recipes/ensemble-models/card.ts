import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { markdownTable } from '../../src/reports/markdown.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { readJsonFile } from '../../src/util/json-files.ts';

/** What `winnow ensemble --choice` writes. */
const choiceSchema = z.object({
  measure: z.string(),
  queries: z.number(),
  equal: z.number(),
  chosen: z.number(),
  leftOut: z.number(),
  teachers: z.array(z.object({ file: z.string(), weight: z.number(), alone: z.number() })),
});

const figure = (value: number): string => value.toFixed(4);
const HEADING = '## Teacher';

/** Returns the table of an ensemble: what a model that learns from it can reach on the held-out queries. */
async function teacherTable(path: string): Promise<string> {
  const { measure, queries, teachers, equal, chosen, leftOut } = choiceSchema.parse(await readJsonFile(path));
  const rows = teachers.map(({ file, weight, alone }) => [
    file.replace(/(\.dl21)?\.run$/, ''),
    weight.toFixed(2),
    figure(alone),
  ]);
  const label = { label: `${measure}, ${queries} held-out queries`, numeric: true };
  return markdownTable(
    [{ label: 'teacher' }, { label: 'weight', numeric: true }, label],
    [
      ...rows,
      ['equal weights', '', figure(equal)],
      ['the ensemble', '', figure(chosen)],
      ['with weights chosen without the query', '', figure(leftOut)],
    ],
  );
}

const timeSchema = z.object({ name: z.string(), seconds: z.number() });

/** Returns the hours of the steps whose names pass a test, over all times that they ran. */
async function hoursOf(times: string, isWanted: (name: string) => boolean): Promise<number> {
  if (!existsSync(times)) return 0;
  const lines = (await readFile(times, 'utf8')).trim().split('\n').filter(Boolean);
  const entries = lines.map((line) => timeSchema.parse(JSON.parse(line)));
  return entries.reduce((sum, { name, seconds }) => sum + (isWanted(name) ? seconds : 0), 0) / 3600;
}

/**
 * Adds a section on the teacher to the card of a version, unless it has one: the ensemble's own measure, which is the ceiling of what the model
 * learned from, and the time of the steps.
 * @param choice file of the ensemble's weights. @param times file of the seconds of steps.
 */
export async function addTeacher(version: string, choice: string, times: string): Promise<void> {
  const path = join(version, 'README.md');
  const card = existsSync(path) ? await readFile(path, 'utf8') : '';
  if (card.includes(HEADING)) return;
  const training = await hoursOf(times, (name) => name.startsWith('train '));
  const all = await hoursOf(times, () => true);
  const time = `All models of the recipe together took ${all.toFixed(1)} hours on this machine, ${training.toFixed(1)} of them training.`;
  const text = [HEADING, 'The model learned from scores of:', await teacherTable(choice), time].join('\n\n');
  await writeFileAtomic(path, `${card.trimEnd()}\n\n${text}\n`);
}
