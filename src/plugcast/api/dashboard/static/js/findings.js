// The list of findings, newest first, and what is said aloud about new ones.
import { number, seconds, site, when } from "./format.js";
import { clone, fill, listItems, setIcon, setText } from "./dom.js";

const list = document.getElementById("findings");
const more = document.getElementById("findings-more");
const announcer = document.getElementById("announce");
const ANNOUNCE_EVERY_MS = 8_000;
let limit = site.findingsShown;
let all = [];
const items = new Map();

export function showFindings(findings) {
  all = findings;
  const shown = all.slice(0, limit);
  const wanted = new Set(shown.map((finding) => finding.finding_id));
  for (const [id, item] of items) {
    if (!wanted.has(id)) {
      item.remove();
      items.delete(id);
    }
  }
  // what the server drew is replaced once; later on items are kept, so that an open one stays open
  if (items.size === 0) list.replaceChildren();
  shown.forEach((finding, index) => {
    const item = items.get(finding.finding_id) ?? make(finding);
    items.set(finding.finding_id, item);
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  setText(document.getElementById("findings-count"), `${all.length} so far, newest first`);
  document.getElementById("findings-empty").hidden = all.length > 0;
  more.hidden = all.length <= limit;
}

function make(finding) {
  const item = clone("t-finding");
  item.dataset.severity = finding.severity;
  setIcon(item, finding.severity);
  const reasons = finding.reasons.map((reason) => reason.text);
  const rest = reasons.slice(site.reasonsShown);
  const pValue = finding.p_value === null || finding.p_value === undefined ? "" : `, p = ${number(finding.p_value, 3)}`;
  fill(item, {
    severity: site.severities[finding.severity] ?? finding.severity,
    cause: site.causes[finding.cause] ?? finding.cause,
    station: finding.station_id,
    at: when(seconds(finding.observed_at)),
    moreLabel: rest.length ? `${rest.length} more reason${rest.length === 1 ? "" : "s"}, and how it was found` : "How it was found",
    how: `Found by ${finding.by}, score ${number(finding.score, 2)}${pValue}; session ${finding.session_id}.`,
  });
  listItems(item.querySelector('[data-f="reasons"]'), reasons.slice(0, site.reasonsShown));
  listItems(item.querySelector('[data-f="more"]'), rest);
  return item;
}

more.addEventListener("click", () => {
  limit += site.findingsShown;
  showFindings(all);
});

let waiting = [];
let timer = 0;

// Says new findings politely, gathered, so that a busy hour is not read out one by one.
export function announce(findings) {
  waiting.push(...findings);
  if (timer || waiting.length === 0) return;
  say();
  timer = setTimeout(() => {
    timer = 0;
    announce([]);
  }, ANNOUNCE_EVERY_MS);
}

function say() {
  const [first] = waiting;
  const text = `${site.severities[first.severity] ?? ""}: ${site.causes[first.cause] ?? first.cause} at ${first.station_id}`;
  announcer.textContent = waiting.length === 1 ? `New finding. ${text}.` : `${waiting.length} new findings. ${text}, and others.`;
  waiting = [];
}
