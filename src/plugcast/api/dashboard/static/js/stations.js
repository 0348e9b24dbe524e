// The grid: one tile a station, in the order of the snapshot; texts that did not change are left alone.
import { bar, near, number, percent, seconds, site } from "./format.js";
import { clone, fill, setIcon } from "./dom.js";

const grid = document.getElementById("stations");
const tiles = new Map([...grid.children].map((tile) => [tile.dataset.station, tile]));

export function showStations(stations, changed, at, whole) {
  if (whole) {
    for (const [id, tile] of tiles) {
      if (!stations.has(id)) {
        tile.remove();
        tiles.delete(id);
      }
    }
  }
  // an occupied tile also says how the stay goes on, which every minute changes
  for (const [id, station] of stations) {
    if (changed.has(id) || station.status !== "free") show(station, at);
  }
  showEmpty();
}

function show(station, at) {
  let tile = tiles.get(station.station_id);
  if (!tile) {
    tile = clone("t-tile");
    tile.dataset.station = station.station_id;
    tiles.set(station.station_id, tile);
    grid.append(tile);
  }
  const occupied = station.status !== "free";
  tile.dataset.status = station.status;
  setIcon(tile, station.status);
  fill(tile, {
    station: station.station_id,
    status: site.statuses[station.status] ?? station.status,
    power: number(station.power_kw),
    powerOf: number(station.max_power_kw),
    energy: occupied ? energy(station) : "",
    leaves: occupied ? leaves(seconds(station.departure_expected_at), at) : "",
    free: free(station, occupied),
  });
  tile.querySelector(".tile-bar").toggleAttribute("hidden", !occupied);
  if (occupied) bars(tile, station, at);
}

function energy(station) {
  const delivered = number(station.energy_delivered_kwh);
  const expected = station.energy_expected_kwh ?? null;
  return expected === null ? `${delivered} kWh so far` : `${delivered} / ${number(expected)} kWh`;
}

function leaves(departure, at) {
  if (departure === null) return "departure unknown";
  return `${departure >= at ? "leaves" : "was due"} ${near(departure, at)}`;
}

function free(station, occupied) {
  const share = station.free_probability_1h ?? null;
  return share === null ? "" : `${occupied ? "free" : "still free"} in 1 h: ${percent(share)}`;
}

function bars(tile, station, at) {
  const arrival = seconds(station.arrival_at);
  const departure = seconds(station.departure_expected_at);
  tile.querySelector(".bar-fill").setAttribute("width", bar(station.energy_delivered_kwh, station.energy_expected_kwh));
  const mark = tile.querySelector(".bar-mark");
  const known = arrival !== null && departure !== null;
  mark.setAttribute("visibility", known ? "visible" : "hidden");
  if (!known) return;
  const elapsed = departure > arrival ? bar(at - arrival, departure - arrival) : 100;
  mark.setAttribute("x", Math.min(elapsed, 98.6));
}

// Filter buttons: one is pressed.
export function setUpFilters() {
  const buttons = [...document.querySelectorAll("[data-filter]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      if (button.dataset.filter) grid.dataset.only = button.dataset.filter;
      else delete grid.dataset.only;
      showEmpty();
    });
  }
}

function showEmpty() {
  const only = grid.dataset.only;
  const any = only ? [...tiles.values()].some((tile) => tile.dataset.status === only) : tiles.size > 0;
  document.getElementById("stations-empty").hidden = any;
}
