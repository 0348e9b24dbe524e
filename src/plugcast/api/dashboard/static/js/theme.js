// Runs before the first paint: says that scripts work, and takes the chosen or the system's theme.
(() => {
  "use strict";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const read = () => { try { return localStorage.getItem("plugcast-theme"); } catch { return null; } };
  const apply = () => {
    root.dataset.theme = read() ?? (system.matches ? "dark" : "light");
    root.dispatchEvent(new Event("themechange"));
  };
  root.classList.add("js");
  apply();
  system.addEventListener("change", apply);
  root.addEventListener("toggletheme", () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("plugcast-theme", next); } catch { /* a browser without storage forgets it */ }
    root.dataset.theme = next;
    root.dispatchEvent(new Event("themechange"));
  });
})();
