import { DARK, LIGHT } from './palette.ts';

const variables = (palette: Readonly<Record<string, string>>): string =>
  Object.entries(palette)
    .map(([name, color]) => `${name}: ${color};`)
    .join(' ');

/** The style of a report page: light and dark by the reader's setting, wide drawings above 720 pixels and narrow ones below. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark; ${variables(LIGHT)}
}
@media (prefers-color-scheme: dark) {
  :root { ${variables(DARK)} }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 940px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 1.2rem; margin: 0 0 12px; }
h3 { font-size: .95rem; margin: 0 0 6px; font-weight: 600; }
.summary { color: var(--muted); margin: 0 0 20px; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 0 0 28px; padding: 12px 0; border-block: 1px solid var(--line); font-size: .92rem; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 10px; padding: 20px 24px; margin: 0 0 22px; }
figure { margin: 0; } svg { display: block; width: 100%; height: auto; }
.narrow { display: none; }
.note { color: var(--muted); font-size: .9rem; margin: 12px 0 0; }
.facts { color: var(--muted); font-size: .9rem; margin: 0 0 14px; font-variant-numeric: tabular-nums; }
.panels { display: grid; gap: 22px 26px; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); margin-top: 24px; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 10px; padding: 0; font-size: .9rem; }
.legend span { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .45em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--muted); font-weight: 500; }
.number { text-align: right; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover td { background: var(--ground); }
.best, .rowBest { font-weight: 700; } .better { color: var(--better); } .worse { color: var(--worse); } .seen { color: var(--muted); }
details { border-top: 1px solid var(--line); padding: 10px 0; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.2em; font-variant-numeric: tabular-nums; }
.moved { list-style: none; margin: 10px 0 2px; padding: 0; font-size: .92rem; }
.moved li { display: grid; grid-template-columns: 8.5em 1fr; gap: 2px 14px; padding: 8px 0; border-top: 1px dashed var(--line); }
.moved .place { color: var(--muted); font-variant-numeric: tabular-nums; }
.moved p { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 720px) {
  main { padding: 20px 12px 40px; }
  section { padding: 16px 12px; }
  h1 { font-size: 1.45rem; }
  .wide { display: none; } .narrow { display: block; }
  table { font-size: .84rem; } th, td { padding: 6px 5px; }
  table.wide-table th:first-child, table.wide-table td:first-child { position: sticky; left: 0; background: var(--surface); }
  .moved li { grid-template-columns: 1fr; }
}
@media print { body { background: #fff; } nav { display: none; } section { break-inside: avoid; } }
`;
