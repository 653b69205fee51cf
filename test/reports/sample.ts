import type { ReportModel } from '../../src/reports/report-model.ts';
import { effectivenessTable } from '../../src/reports/tables.ts';

const up = { difference: 0.1, significant: true };
const down = { difference: -0.02, significant: true };

/** A small report with every kind of section, and text that needs escaping. */
export const SAMPLE: ReportModel = {
  title: 'Suite <small> & co.',
  summary: 'Three systems on three sets.',
  sections: [
    effectivenessTable({
      title: 'nDCG@10',
      columns: ['dl19', 'cranfield', 'xquad'],
      rows: [
        { system: 'BM25', values: [{ value: 0.5058 }, { value: 0.3921 }, { value: 0.8512 }] },
        {
          system: 'minilm-l6',
          values: [{ value: 0.7123, comparison: up }, { value: 0.401 }, { value: 0.9512, comparison: up, seen: true }],
        },
        { system: 'tiny|int8', values: [{ value: 0.488, comparison: down }, {}, { value: 0.84 }] },
      ],
      note: 'Paired t-test against BM25, Holm.',
    }),
    {
      kind: 'scatter',
      title: 'Effectiveness against latency',
      x: { label: 'ms a query of 100 passages', logarithmic: true },
      y: { label: 'nDCG@10 on dl19' },
      points: [
        { name: 'BM25', x: 4, y: 0.5058 },
        { name: 'tiny|int8', x: 60, y: 0.488 },
        { name: 'minilm-l6 int8', x: 420, y: 0.7088 },
        { name: 'minilm-l6', x: 980, y: 0.7123 },
      ],
      note: 'Two cores.',
    },
    {
      kind: 'curve',
      title: 'Cascade',
      x: { label: 'passages the large model sees' },
      y: { label: 'nDCG@10' },
      lines: [
        {
          name: 'tiny → large',
          points: [
            { x: 10, y: 0.61, label: '120 ms' },
            { x: 30, y: 0.69, label: '310 ms' },
            { x: 100, y: 0.712, label: '980 ms' },
          ],
        },
        {
          name: 'BM25 → large',
          points: [
            { x: 10, y: 0.58 },
            { x: 30, y: 0.66 },
            { x: 100, y: 0.712 },
          ],
        },
      ],
    },
    {
      kind: 'differences',
      title: 'Queries that differ',
      measure: 'nDCG@10',
      baseline: 'BM25',
      system: 'minilm-l6',
      all: [0.6, 0.31, 0.22, 0.1, 0.05, 0.01, 0, -0.02, -0.2],
      queries: [
        {
          qid: '264014',
          text: 'how long is <life cycle> of flea',
          before: 0.2,
          after: 0.8,
          passages: [
            {
              docid: '5611210',
              grade: 3,
              before: 14,
              after: 1,
              text: 'A flea can live up to a year, but its general lifespan depends on its living conditions, such as the availability of hosts.',
            },
            { docid: '96854', before: 1, text: 'Cat fleas & dog fleas.' },
          ],
        },
        { qid: '1', text: 'a query that lost', before: 0.5, after: 0.3, passages: [] },
      ],
    },
    { kind: 'image', title: 'Over time', file: 'over time.svg', alt: 'clicks <over> time', note: 'One week.' },
    { kind: 'text', title: 'Left out', paragraphs: ['robust04: no texts at the given path.'] },
  ],
};
