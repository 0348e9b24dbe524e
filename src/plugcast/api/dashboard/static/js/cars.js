// Cars plugged in: the forecast's median with its band, and what came.
/* global uPlot */
import { Chart, colour, showKey, slotOf, tableWhenOpen, timeAxis, valueAxis } from "./charts.js";
import { MISSING, near, number, seconds, when } from "./format.js";
import { setText, tableRows } from "./dom.js";

let series = null;
let at = 0;
const chart = new Chart("cars-plot", build, (index) => showValues(index));
const refreshTable = tableWhenOpen("cars-table", showTable);

export function showCars(forecast, now, changed) {
  at = now;
  if (changed) {
    series = forecast;
    refreshTable();
  }
  chart.show(series?.valid_at.length ? [series.valid_at, series.low, series.high, series.median, series.actual] : null, at, "cars");
  if (changed || !chart.plot || chart.plot.cursor.idx === null) showValues(null);
  setText(document.getElementById("cars-note"), note());
}

function build() {
  const hidden = { stroke: "transparent", width: 0, points: { show: false } };
  return {
    padding: [16, 32, 0, 2],
    scales: { x: { time: true }, y: { range: (_c, _min, max) => [0, Math.max(4, max * 1.08)] } },
    axes: [timeAxis(), valueAxis("y", "cars", { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] })],
    series: [
      {}, hidden, hidden,
      { stroke: colour("plan"), width: 2, dash: [7, 4], points: { show: false } },
      { stroke: colour("ink"), width: 2, paths: uPlot.paths.linear(), points: { show: true, size: 5, width: 0, fill: colour("ink") } },
    ],
    bands: [{ series: [2, 1], fill: colour("plan-soft") }],
  };
}

function note() {
  if (!series) return "No forecast yet.";
  let known = 0;
  let inside = 0;
  series.actual.forEach((actual, index) => {
    if (actual === null) return;
    known += 1;
    if (series.low[index] <= actual && actual <= series.high[index]) inside += 1;
  });
  const issued = `Issued ${near(seconds(series.issued_at), at)}; up to then as forecast 6 h before.`;
  return known ? `${issued} Inside the band: ${inside} of ${known} steps.` : issued;
}

function showValues(pointed) {
  const index = series ? (pointed ?? slotOf(series.valid_at, at)) : -1;
  const known = index >= 0;
  showKey("cars-key", {
    median: known ? number(series.median[index]) : MISSING,
    band: known ? `${number(series.low[index])} to ${number(series.high[index])}` : MISSING,
    actual: known ? number(series.actual[index], 0) : MISSING,
  });
}

function showTable() {
  tableRows("cars-table", (series?.valid_at ?? []).map((moment, index) => [
    when(moment), number(series.low[index]), number(series.median[index]), number(series.high[index]), number(series.actual[index], 0),
  ]));
}
