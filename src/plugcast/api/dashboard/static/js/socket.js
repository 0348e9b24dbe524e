// The live connection: reconnects with growing pauses, and takes long silence for a loss.
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const SILENCE_MS = 35_000;

// Calls onMessage(object) for each message and onState("open" | "lost", msUntilRetry).
export function connect(onMessage, onState) {
  let wait = FIRST_WAIT_MS;
  let socket = null;
  let watchdog = 0;
  let retry = 0;

  const heard = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => lose(socket), SILENCE_MS);
  };

  const lose = (which) => {
    if (which !== socket || socket === null) return;
    socket = null;
    clearTimeout(watchdog);
    which.close();
    // spread over half of the wait, so that many pages do not come back in one moment
    const pause = wait * (0.75 + Math.random() / 2);
    wait = Math.min(LONGEST_WAIT_MS, wait * 2);
    onState("lost", pause);
    retry = setTimeout(open, pause);
  };

  const open = () => {
    clearTimeout(retry);
    const address = new URL("ws", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const mine = new WebSocket(address);
    socket = mine;
    heard();
    mine.addEventListener("message", (event) => {
      if (mine !== socket) return;
      heard();
      const message = JSON.parse(event.data);
      if (message.kind === "ping") return;
      wait = FIRST_WAIT_MS;
      onState("open", 0);
      onMessage(message);
    });
    mine.addEventListener("close", () => lose(mine));
  };

  // the machine woke up or the network came back: do not sit out the pause
  addEventListener("online", () => { if (socket === null) open(); });
  open();
}
