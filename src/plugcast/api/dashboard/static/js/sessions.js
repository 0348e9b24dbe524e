// The table of sessions.
import { number, seconds, site, when } from "./format.js";
import { tableRows } from "./dom.js";

export function showSessions(sessions) {
  tableRows("sessions", sessions.slice(0, site.sessionsShown).map((row) => [
    row.session_id,
    row.station_id,
    when(seconds(row.arrival_at)),
    row.departure_at ? when(seconds(row.departure_at)) : "still here",
    number(row.energy_delivered_kwh),
    String(row.findings ?? 0),
  ]));
}
