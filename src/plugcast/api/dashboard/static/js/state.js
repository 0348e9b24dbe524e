// What is known: a snapshot replaces it, a frame is merged into it. Nothing here touches the page.
import { seconds } from "./format.js";

export const state = {
  sequence: -1, at: 0, speed: 1, playing: false,
  stations: new Map(), sessions: new Map(), findings: [], power: null, forecast: null, totals: null,
};

const SESSIONS_KEPT = 400;

// Takes one message; says what changed; null for an old one.
export function merge(message) {
  const whole = message.kind === "snapshot";
  if (!whole && message.sequence <= state.sequence) return null;
  const changed = { whole, stations: new Set(), sessions: false, findings: [], power: false, forecast: false, totals: false };
  if (whole) {
    state.stations.clear();
    state.sessions.clear();
    state.findings = [];
    state.power = state.forecast = state.totals = null;
    changed.sessions = changed.power = changed.forecast = changed.totals = true;
  }
  state.sequence = message.sequence;
  state.at = seconds(message.at);
  state.speed = message.speed;
  state.playing = message.playing;
  for (const station of message.stations ?? []) {
    state.stations.set(station.station_id, station);
    changed.stations.add(station.station_id);
  }
  for (const session of message.sessions ?? []) {
    state.sessions.set(session.session_id, session);
    changed.sessions = true;
  }
  const known = new Set(state.findings.map((finding) => finding.finding_id));
  changed.findings = (message.findings ?? []).filter((finding) => !known.has(finding.finding_id));
  state.findings = newestFirst([...changed.findings, ...state.findings]);
  for (const part of ["power", "forecast", "totals"]) {
    if (message[part]) {
      state[part] = message[part];
      changed[part] = true;
    }
  }
  return changed;
}

const newestFirst = (findings) => findings.sort((a, b) => seconds(b.observed_at) - seconds(a.observed_at));

// Cars that are there first, then those that left; the latest on top.
export function orderedSessions() {
  const descending = (a, b) => (a < b ? 1 : a > b ? -1 : 0);
  const arrival = (a, b) => descending(seconds(a.arrival_at), seconds(b.arrival_at)) || descending(a.session_id, b.session_id);
  const rows = [...state.sessions.values()].sort(arrival);
  const gone = rows.filter((row) => row.departure_at).sort((a, b) => descending(seconds(a.departure_at), seconds(b.departure_at)));
  for (const row of gone.slice(SESSIONS_KEPT)) state.sessions.delete(row.session_id);
  return [...rows.filter((row) => !row.departure_at), ...gone];
}
