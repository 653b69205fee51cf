/** Style of the `/docs` page; the page's policy names its hash. */
export const STYLE = `
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0b6bcb; }
@media (prefers-color-scheme: dark) { :root { --accent: #7ab8ff; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
a { color: var(--accent); }
code { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: 6px; margin: 0.5rem 0; padding: 0.5rem 0.75rem; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 3.2rem; }
summary span { opacity: 0.8; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
td code { white-space: nowrap; overflow-wrap: normal; }
td:last-child { min-width: 12rem; }
td { border-top: 1px solid var(--line); padding: 0.3rem 0.6rem 0.3rem 0; vertical-align: top; }
tr:nth-child(even) { background: var(--soft); }
.scroll { overflow-x: auto; }
@media (max-width: 40rem) {
  td { display: block; border: 0; padding: 0; }
  tr { display: block; border-top: 1px solid var(--line); padding: 0.4rem 0; }
}
`;
