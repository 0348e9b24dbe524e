// The list as the server words it, fetched anew whenever it says that something changed.

const root = document.documentElement;
const list = document.querySelector("#list");
const banner = document.querySelector("#banner");
const announce = document.querySelector("#announce");

function shown() {
  return new Set([...list.querySelectorAll("[data-alert]")].map((item) => item.dataset.alert));
}

async function refresh() {
  const before = shown();
  const answer = await fetch("list", { cache: "no-store" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const made = new DOMParser().parseFromString(await answer.text(), "text/html");
  list.replaceChildren(...made.body.childNodes);
  root.dataset.sequence = String(Number(root.dataset.sequence ?? 0) + 1);
  const fresh = [...list.querySelectorAll("[data-alert]")].filter((item) => !before.has(item.dataset.alert));
  if (fresh.length === 1) announce.textContent = fresh[0].querySelector(".alert-head").textContent;
  else if (fresh.length > 1) announce.textContent = `${fresh.length} new alerts`;
}

function lost(message) {
  banner.textContent = message;
  banner.hidden = message === "";
}

const source = new EventSource("events");
source.addEventListener("changed", () => refresh().then(() => lost(""), () => lost("The list could not be fetched.")));
source.addEventListener("open", () => lost(""));
source.addEventListener("error", () => lost("The connection is lost; trying again."));
