/** The style of a report page: light and dark by the reader's setting, wide drawings above 720 pixels and narrow ones below. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --ink: #1c2430; --muted: #5b6675; --line: #d9dee6; --surface: #ffffff; --ground: #f5f7fa; --accent: #1f5fae;
  --better: #2b7a4b; --worse: #b4433a;
  --c0: #1f5fae; --c1: #d9822b; --c2: #2b8a6b; --c3: #a83e6c; --c4: #6b5bb0; --c5: #8a7a2f; --c6: #3a8fb0; --c7: #7a7f88;
  --h0: #eef4fb; --h1: #d9e7f6; --h2: #bfd6ee; --h3: #9fc1e4; --h4: #7ba9d7; --h5: #568ec6; --h6: #3673b1; --h7: #1f5896; --h8: #113f73;
  --on-low: #1c2430; --on-high: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6eaf0; --muted: #9aa5b4; --line: #333c49; --surface: #171d26; --ground: #0f141b; --accent: #7fb2f0;
    --better: #57b37c; --worse: #e07a70;
    --c0: #6aa5ec; --c1: #eaa257; --c2: #55bd98; --c3: #dd7ba6; --c4: #a394e6; --c5: #c9b75f; --c6: #6cc0df; --c7: #a3a9b3;
    --h0: #1c2733; --h1: #213547; --h2: #26445e; --h3: #2b5577; --h4: #326891; --h5: #4680ab; --h6: #6499c3; --h7: #8bb5d8; --h8: #b9d4ea;
    --on-low: #e6eaf0; --on-high: #10151c;
  }
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
.best { font-weight: 700; } .better { color: var(--better); } .worse { color: var(--worse); } .seen { color: var(--muted); }
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
