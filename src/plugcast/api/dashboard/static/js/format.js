// Numbers, instants and codes in words; the same words as wording.py makes for the first paint.
export const site = JSON.parse(document.body.dataset.site);
const LARGEST = 1e15;
export const MISSING = "\u2014";

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const parts = new Intl.DateTimeFormat("en-GB", {
  timeZone: site.timeZone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit",
});

export function number(value, digits = 1) {
  if (value === null || value === undefined || !(Math.abs(value) < LARGEST)) return MISSING;
  const fixed = value.toFixed(digits);
  const plain = Number(fixed) === 0 ? fixed.replace("-", "") : fixed;
  const [whole, fraction] = plain.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

export function money(value, digits = 2) {
  const text = number(value, digits);
  if (text === MISSING) return text;
  const [sign, amount] = text.startsWith("-") ? ["-", text.slice(1)] : ["", text];
  const symbol = site.symbols[site.currency];
  return sign + (symbol ? symbol + amount : `${site.currency} ${amount}`);
}

export const percent = (share) => (share === null || share === undefined || !Number.isFinite(share) ? MISSING : `${number(share * 100, 0)} %`);

export function change(plan, reference) {
  if (reference <= 0) return MISSING;
  const share = percent(Math.abs(1 - plan / reference));
  if (share === "0 %") return "the same";
  return `${share} ${plan < reference ? "less" : "more"}`;
}

// Epoch seconds of an ISO instant; null stays null.
export const seconds = (iso) => (iso === null || iso === undefined ? null : Date.parse(iso) / 1000);

// The site's calendar and clock at some epoch seconds.
export function local(at) {
  const found = {};
  for (const { type, value } of parts.formatToParts(at * 1000)) found[type] = value;
  const weekday = new Date(Date.UTC(+found.year, +found.month - 1, +found.day)).getUTCDay();
  return { day: `${DAYS[weekday]} ${+found.day} ${MONTHS[+found.month - 1]}`, year: found.year, hour: `${found.hour}:${found.minute}` };
}

export function when(at) {
  const here = local(at);
  return `${here.day} ${here.hour}`;
}

// The hour alone on the day of now, else with its day.
export function near(at, now) {
  const here = local(at);
  const today = local(now);
  return here.day === today.day && here.year === today.year ? here.hour : `${here.day} ${here.hour}`;
}

// A share as a bar of 0 to 100 with one decimal.
export const bar = (part, whole) => (whole ? Math.round(Math.min(100, Math.max(0, (100 * part) / whole)) * 10) / 10 : 0);
