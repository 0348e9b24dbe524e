// Joins the parts: messages go into the state, and what changed goes onto the page.
import { showCars } from "./cars.js";
import { setUpControls, showClock } from "./controls.js";
import { announce, showFindings } from "./findings.js";
import { showCounts, showTotals } from "./kpis.js";
import { showPower } from "./power.js";
import { showSessions } from "./sessions.js";
import { connect } from "./socket.js";
import { merge, orderedSessions, state } from "./state.js";
import { setUpFilters, showStations } from "./stations.js";

const banner = document.getElementById("banner");
const BANNER_MS = 6_000;
let bannerTimer = 0;

function showBanner(text, passing = false) {
  clearTimeout(bannerTimer);
  banner.textContent = text;
  banner.hidden = text === "";
  if (passing) bannerTimer = setTimeout(() => showBanner(""), BANNER_MS);
}

let lost = false;

function onState(name, pauseMs) {
  if (name === "lost") {
    lost = true;
    showBanner(`Connection lost, retrying in ${Math.max(1, Math.round(pauseMs / 1000))} s. What you see is from the last message.`);
  } else if (lost) {
    lost = false;
    showBanner("");
  }
}

function onMessage(message) {
  const changed = merge(message);
  if (changed === null) return;
  showClock(state);
  showStations(state.stations, changed.stations, state.at, changed.whole);
  if (changed.stations.size || changed.whole) showCounts(state.stations);
  if (changed.sessions) showSessions(orderedSessions());
  if (changed.whole || changed.findings.length) showFindings(state.findings);
  if (!changed.whole) announce(changed.findings);
  if (changed.totals) showTotals(state.totals);
  showPower(state.power, state.at, changed.power);
  showCars(state.forecast, state.at, changed.forecast);
  document.documentElement.dataset.sequence = String(state.sequence);
}

setUpFilters();
setUpControls((reason) => showBanner(`That did not work: ${reason}`, true));
connect(onMessage, onState);
