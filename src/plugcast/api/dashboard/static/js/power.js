// Site power: plan, uncontrolled, limit, solar, and the price on its own axis.
/* global uPlot */
import { Chart, colour, showKey, slotOf, tableWhenOpen, timeAxis, valueAxis } from "./charts.js";
import { MISSING, money, number, when } from "./format.js";
import { tableRows } from "./dom.js";

let series = null;
let at = 0;
const chart = new Chart("power-plot", build, (index) => showValues(index));
const refreshTable = tableWhenOpen("power-table", showTable);

export function showPower(power, now, changed) {
  at = now;
  if (changed) {
    series = power;
    refreshTable();
  }
  chart.show(series ? columns() : null, at, series?.pv_kw.some((value) => value > 0) ? "pv" : "plain");
  if (changed || !chart.plot || chart.plot.cursor.idx === null) showValues(null);
}

// The plan is two lines: solid up to now, dashed after it. One closing point gives the last slot its width.
function columns() {
  const { start_at: starts, plan_kw: plan } = series;
  if (starts.length === 0) return null;
  const here = slotOf(starts, at);
  const width = starts.length > 1 ? starts.at(-1) - starts.at(-2) : 900;
  const closed = (values) => [...values, values.at(-1)];
  const past = plan.map((value, index) => (index <= here + 1 ? value : null));
  const future = plan.map((value, index) => (index > here ? value : null));
  return [
    [...starts, starts.at(-1) + width], closed(series.price_per_kwh), closed(series.pv_kw), closed(series.uncontrolled_kw),
    closed(past), closed(future), closed(series.limit_kw),
  ];
}

function build() {
  const stepped = uPlot.paths.stepped({ align: 1 });
  const line = (name, extra) => ({ scale: "kw", stroke: colour(name), width: 2, paths: stepped, points: { show: false }, ...extra });
  const withSolar = series.pv_kw.some((value) => value > 0);
  return {
    padding: [16, 4, 0, 2],
    scales: { x: { time: true }, kw: { range: (_c, _min, max) => [0, Math.max(1, max * 1.06)] }, price: { range: (_c, min, max) => [Math.min(0, min), Math.max(0.01, max * 2.2)] } },
    axes: [
      timeAxis(),
      valueAxis("kw", "kW"),
      valueAxis("price", "price per kWh", { side: 1, size: 48, space: 28, grid: { show: false }, values: (_c, splits) => priceLabels(splits) }),
    ],
    series: [
      {},
      line("price", { scale: "price", width: 1.4 }),
      line("pv", { width: 1.2, fill: colour("pv-soft"), show: withSolar }),
      line("uncontrolled", { width: 1.8 }),
      line("plan", { width: 2.2, fill: colour("plan-soft") }),
      line("plan", { width: 2, dash: [6, 4] }),
      line("limit", { width: 1.6, dash: [9, 5] }),
    ],
  };
}

// The price takes the lower part of the chart: its axis is labelled only as high as prices go.
function priceLabels(splits) {
  const highest = Math.max(...series.price_per_kwh);
  return splits.map((value) => (value <= highest * 1.15 ? money(value, highest < 0.2 ? 3 : 2) : ""));
}

function showValues(pointed) {
  const index = series ? (pointed === null ? slotOf(series.start_at, at) : Math.min(pointed, series.start_at.length - 1)) : -1;
  const pick = (name, text) => (index < 0 ? MISSING : text(series[name][index]));
  showKey("power-key", {
    plan: pick("plan_kw", (value) => `${number(value)} kW`),
    uncontrolled: pick("uncontrolled_kw", (value) => `${number(value)} kW`),
    limit: pick("limit_kw", (value) => `${number(value, 0)} kW`),
    pv: pick("pv_kw", (value) => `${number(value)} kW`),
    price: pick("price_per_kwh", (value) => `${money(value, 3)}/kWh`),
  });
}

function showTable() {
  tableRows("power-table", (series?.start_at ?? []).map((start, index) => [
    when(start), number(series.plan_kw[index]), number(series.uncontrolled_kw[index]), number(series.limit_kw[index], 0),
    money(series.price_per_kwh[index], 3), number(series.pv_kw[index]),
  ]));
}
