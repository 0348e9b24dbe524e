// The four key figures.
import { MISSING, bar, change, money, number } from "./format.js";
import { fill, setText } from "./dom.js";

function compare(name, plan, uncontrolled, texts) {
  const card = document.getElementById(`kpi-${name}`);
  fill(card, texts);
  const longest = Math.max(plan, uncontrolled);
  card.querySelector(".bar-plan").setAttribute("width", bar(plan, longest));
  card.querySelector(".bar-uncontrolled").setAttribute("width", bar(uncontrolled, longest));
}

export function showTotals(totals) {
  if (!totals) {
    const none = { headline: MISSING, note: "", plan: MISSING, uncontrolled: MISSING };
    for (const name of ["cost", "peak", "energy"]) compare(name, 0, 0, none);
    return;
  }
  const { plan_cost: cost, uncontrolled_cost: freeCost, plan_peak_kw: peak, uncontrolled_peak_kw: freePeak } = totals;
  const { plan_energy_kwh: energy, uncontrolled_energy_kwh: wanted, unmet_kwh: unmet } = totals;
  compare("cost", cost, freeCost, {
    headline: change(cost, freeCost),
    note: energy > 0 && wanted > 0 ? `${money(cost / energy, 3)}/kWh, not ${money(freeCost / wanted, 3)}` : "",
    plan: money(cost),
    uncontrolled: money(freeCost),
  });
  compare("peak", peak, freePeak, {
    headline: change(peak, freePeak),
    note: `${number(Math.abs(freePeak - peak))} kW ${freePeak >= peak ? "lower" : "higher"}`,
    plan: number(peak),
    uncontrolled: number(freePeak),
  });
  compare("energy", energy, wanted, {
    headline: `${number(unmet)} kWh unmet`,
    note: wanted > 0 ? `${number((100 * unmet) / wanted)} %` : "",
    plan: number(energy, 0),
    uncontrolled: number(wanted, 0),
  });
}

export function showCounts(stations) {
  const counts = {};
  for (const { status } of stations.values()) counts[status] = (counts[status] ?? 0) + 1;
  fill(document, { present: stations.size - (counts.free ?? 0), stations: stations.size });
  for (const node of document.querySelectorAll("[data-count]")) setText(node, counts[node.dataset.count] ?? 0);
}
