// SPDX-License-Identifier: Apache-2.0
// The page: a map of who talks to whom, and the newest flows. Served as it is; its script is in page-script.ts.

export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hubble</title>
<style>
:root { color-scheme: light dark; --line: #8884; --ok: #3a8f5c; --bad: #d1242f; --soft: #8881; }
* { box-sizing: border-box; }
body { margin: 0; font: 14px/1.4 system-ui, sans-serif; display: grid; grid-template-rows: auto 1fr 40vh; height: 100vh; }
header { display: flex; gap: 1rem; align-items: center; padding: .5rem 1rem; border-bottom: 1px solid var(--line); flex-wrap: wrap; }
header h1 { font-size: 1rem; margin: 0; }
#state { margin-left: auto; }
#state[data-ok="false"] { color: var(--bad); font-weight: 600; }
#map { overflow: auto; }
#flows { overflow: auto; border-top: 1px solid var(--line); }
svg text { fill: currentColor; font-size: 12px; }
svg .card { fill: var(--soft); stroke: var(--line); }
svg .namespace { fill: none; stroke: var(--line); stroke-dasharray: 2 4; }
svg .link { fill: none; stroke: var(--ok); stroke-width: 1.5; }
svg .link.dropped { stroke: var(--bad); stroke-dasharray: 6 4; stroke-width: 2; }
svg .link-text.dropped { fill: var(--bad); font-weight: 600; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .15rem .6rem; white-space: nowrap; border-bottom: 1px solid var(--soft); }
th { position: sticky; top: 0; background: Canvas; }
tr.dropped td:nth-child(5) { color: var(--bad); font-weight: 600; }
</style>
</head>
<body>
<header>
  <h1>Hubble</h1>
  <label>Namespace <select id="namespace"><option value="">all</option></select></label>
  <label>Verdict <select id="verdict"><option value="">any</option><option>FORWARDED</option><option>DROPPED</option><option>AUDIT</option></select></label>
  <button id="pause" type="button" aria-pressed="false">Pause</button>
  <span id="state" role="status">connecting</span>
</header>
<main id="map" aria-label="Service map" tabindex="0"></main>
<section id="flows" aria-label="Flows" tabindex="0">
  <table>
    <thead><tr><th>Time</th><th>Source</th><th>Destination</th><th>Type</th><th>Verdict</th><th>Summary</th><th>Policy</th></tr></thead>
    <tbody id="rows"></tbody>
  </table>
</section>
<script src="/page.js"></script>
</body>
</html>
`;
