// SPDX-License-Identifier: Apache-2.0
// Script of the page, as text: plain JavaScript for the browser. Everything from flows goes in as text nodes, never as HTML.

export const PAGE_SCRIPT = `'use strict';
const SVG = 'http://www.w3.org/2000/svg';
const byId = (id) => document.getElementById(id);
const ROWS_MAX = 300;
let map = { cards: [], links: [] };
let socket, paused = false, retry;
let query = new URLSearchParams(location.search);

function make(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  return element;
}

/* Columns by distance from those who are only senders; namespaces in alphabetical order from top to bottom. */
function columnsOf(cards, links) {
  const depth = new Map(cards.map((card) => [card.id, 0]));
  for (let round = 0; round < Math.min(cards.length, 8); round++) {
    for (const link of links) {
      if (link.source === link.destination) continue;
      const wanted = Math.min(depth.get(link.source) + 1, 6);
      if (wanted > depth.get(link.destination) && wanted <= round + 1) depth.set(link.destination, wanted);
    }
  }
  return depth;
}

const WIDTH = 190, HEIGHT = 44, GAP_X = 150, GAP_Y = 30;

function draw() {
  const cards = map.cards.slice().sort((a, b) => (a.namespace + a.id < b.namespace + b.id ? -1 : 1));
  const depth = columnsOf(cards, map.links);
  const place = new Map();
  const used = [];
  for (const card of cards) {
    const column = depth.get(card.id);
    const row = (used[column] = (used[column] ?? -1) + 1);
    place.set(card.id, { x: 30 + column * (WIDTH + GAP_X), y: 30 + row * (HEIGHT + GAP_Y) });
  }
  const width = Math.max(...[...place.values()].map((p) => p.x + WIDTH + 60), 300);
  const height = Math.max(...[...place.values()].map((p) => p.y + HEIGHT + 40), 120);
  const svg = make('svg', { width, height, viewBox: '0 0 ' + width + ' ' + height, role: 'img', 'aria-label': 'Who talks to whom' });
  const defs = make('defs', {});
  for (const [id, color] of [['ok', 'var(--ok)'], ['bad', 'var(--bad)']]) {
    const marker = make('marker', { id, viewBox: '0 0 8 8', refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' });
    marker.append(make('path', { d: 'M0,0 L8,4 L0,8 z', fill: color }));
    defs.append(marker);
  }
  svg.append(defs);
  for (const link of map.links) svg.append(...drawLink(link, place));
  for (const card of cards) svg.append(drawCard(card, place.get(card.id)));
  byId('map').replaceChildren(svg);
}

function drawCard(card, at) {
  const group = make('g', { class: 'node', 'data-card': card.id });
  const name = card.id.includes('/') ? card.id.slice(card.id.indexOf('/') + 1) : card.id;
  group.append(
    make('rect', { class: 'card', x: at.x, y: at.y, width: WIDTH, height: HEIGHT, rx: 6 }),
    make('text', { x: at.x + 10, y: at.y + 18, 'font-weight': 600 }, name.slice(0, 26)),
    make('text', { x: at.x + 10, y: at.y + 35, opacity: 0.7 }, card.namespace || 'outside of pods'),
    make('title', {}, card.labels.join('\\n')),
  );
  return group;
}

function drawLink(link, place) {
  const from = place.get(link.source), to = place.get(link.destination);
  if (!from || !to) return [];
  const x1 = from.x + WIDTH, y1 = from.y + HEIGHT / 2, y2 = to.y + HEIGHT / 2;
  const back = to.x <= from.x;
  const x2 = back ? to.x + WIDTH : to.x;
  const bend = back ? 70 : (x2 - x1) / 2;
  const isDropped = link.dropped > 0;
  const path = make('path', {
    class: isDropped ? 'link dropped' : 'link',
    d: 'M' + x1 + ',' + y1 + ' C' + (x1 + bend) + ',' + y1 + ' ' + (back ? x2 + bend : x2 - bend) + ',' + y2 + ' ' + x2 + ',' + y2,
    'marker-end': 'url(#' + (isDropped ? 'bad' : 'ok') + ')',
    'data-link': link.id,
  });
  const words = link.protocol + (link.port ? ' ' + link.port : '') + (isDropped ? ' \\u2715 ' + link.dropped + ' dropped' : '');
  path.append(make('title', {}, link.id + '\\n' + link.forwarded + ' forwarded, ' + link.dropped + ' dropped\\n' + link.deniedBy));
  const label = make('text', {
    class: isDropped ? 'link-text dropped' : 'link-text',
    x: (x1 + x2) / 2 + (back ? 40 : -40),
    y: (y1 + y2) / 2 - 5,
  }, words);
  return [path, label];
}

function row(flow) {
  const line = document.createElement('tr');
  if (flow.verdict === 'DROPPED') line.className = 'dropped';
  const time = new Date(flow.time).toISOString().slice(11, 23);
  const cells = [time, flow.source.text, flow.destination.text, flow.type, flow.verdictText, flow.summary, flow.decidedBy];
  for (const text of cells) {
    const cell = document.createElement('td');
    cell.textContent = text;
    line.append(cell);
  }
  return line;
}

function addRows(flows, all) {
  const rows = byId('rows');
  const fresh = flows.map(row).reverse();
  if (all) rows.replaceChildren(...fresh);
  else rows.prepend(...fresh);
  while (rows.childElementCount > ROWS_MAX) rows.lastElementChild.remove();
}

function learnNamespaces() {
  const select = byId('namespace');
  const known = new Set([...select.options].map((option) => option.value));
  for (const name of new Set(map.cards.map((card) => card.namespace))) {
    if (!known.has(name)) select.add(new Option(name, name));
  }
  select.value = query.get('namespace') ?? '';
}

function tell(text, isOk) {
  const state = byId('state');
  state.textContent = text;
  state.dataset.ok = String(isOk);
}

function connect() {
  clearTimeout(retry);
  const scheme = location.protocol === 'https:' ? 'wss://' : 'ws://';
  const mine = (socket = new WebSocket(scheme + location.host + '/api/stream?' + query));
  mine.onmessage = ({ data }) => {
    if (mine !== socket || paused) return;
    const message = JSON.parse(data);
    if (message.map) {
      map = message.map;
      learnNamespaces();
      draw();
    }
    addRows(message.flows, message.type === 'snapshot');
    const { relay } = message;
    const last = relay.lastFlow ? new Date(relay.lastFlow).toLocaleTimeString() : 'none yet';
    tell(relay.connected ? 'live, last flow ' + last : 'no relay: ' + relay.error, relay.connected);
  };
  mine.onclose = () => {
    if (mine !== socket) return;
    tell('connection lost, trying again', false);
    retry = setTimeout(connect, 1000);
  };
}

function choose(name, value) {
  if (value) query.set(name, value);
  else query.delete(name);
  history.replaceState(null, '', '?' + query);
  socket.close();
  connect();
}

byId('verdict').value = query.get('verdict') ?? '';
byId('namespace').onchange = (event) => choose('namespace', event.target.value);
byId('verdict').onchange = (event) => choose('verdict', event.target.value);
byId('pause').onclick = (event) => {
  paused = !paused;
  event.target.setAttribute('aria-pressed', String(paused));
  event.target.textContent = paused ? 'Resume' : 'Pause';
  if (!paused) { socket.close(); connect(); }
};
connect();
`;
