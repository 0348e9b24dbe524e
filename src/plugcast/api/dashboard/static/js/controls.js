// The replay's clock, play, speed and position; and the theme.
import { local, site } from "./format.js";
import { setIcon, setText } from "./dom.js";

const play = document.getElementById("play");
const speed = document.getElementById("speed");
const scrub = document.getElementById("scrub");
let dragging = false;
let ended = false;
let playing = play.getAttribute("aria-label") === "Pause";

const span = site.endsAt - site.startsAt;

export function showClock(state) {
  const here = local(state.at);
  const clock = document.getElementById("clock");
  setText(document.getElementById("clock-day"), `${here.day} ${here.year}`);
  setText(clock, here.hour);
  clock.dateTime = new Date(state.at * 1000).toISOString();
  playing = state.playing;
  ended = state.at > site.endsAt - 60;
  play.setAttribute("aria-label", playing ? "Pause" : ended ? "Play again from the start" : "Play");
  setIcon(play, playing ? "pause" : "play");
  showSpeed(state.speed);
  if (dragging) return;
  const share = span > 0 ? Math.min(1, Math.max(0, (state.at - site.startsAt) / span)) : 0;
  scrub.value = String(Math.round(share * site.steps));
  scrub.setAttribute("aria-valuetext", `${here.day} ${here.year} ${here.hour}`);
}

function showSpeed(wanted) {
  if (document.activeElement === speed && speed.matches(":open")) return;
  let option = [...speed.options].find((item) => Number(item.value) === wanted);
  if (!option) {
    option = new Option(`${wanted} min/s`, String(wanted));
    speed.add(option);
  }
  if (!option.selected) option.selected = true;
}

// Sends one wish; onRefused gets the server's words.
async function send(wish, onRefused) {
  try {
    const answer = await fetch("api/v1/control", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(wish),
    });
    if (!answer.ok) onRefused((await answer.json()).detail);
  } catch {
    onRefused("the server did not answer");
  }
}

export function setUpControls(onRefused) {
  play.addEventListener("click", () => send(ended && !playing ? { seek: 0, playing: true } : { playing: !playing }, onRefused));
  speed.addEventListener("change", () => send({ speed: Number(speed.value) }, onRefused));
  scrub.addEventListener("input", () => {
    dragging = true;
    const here = local(site.startsAt + (span * Number(scrub.value)) / site.steps);
    scrub.setAttribute("aria-valuetext", `${here.day} ${here.year} ${here.hour}`);
    setText(document.getElementById("clock-day"), `${here.day} ${here.year}`);
    setText(document.getElementById("clock"), here.hour);
  });
  scrub.addEventListener("change", async () => {
    await send({ seek: Number(scrub.value) / site.steps }, onRefused);
    dragging = false;
  });
  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.dispatchEvent(new Event("toggletheme"));
  });
}
