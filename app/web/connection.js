// Owns the WebSocket to /v1/realtime: key, opening, trying again. Knows no event's meaning and no page.

const STORED_KEY = "parley.key"; // in sessionStorage: gone with the tab
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10000;

/**
 * Keeps one socket open. Calls onEvent(object) for every server event, and onState(state, detail):
 * "connecting" | "open" | "waiting" {seconds} | "key" {wrong: boolean}.
 */
export class Connection {
  constructor({ onEvent, onState }) {
    this.callbacks = { onEvent, onState };
    this.socket = null;
    this.failures = 0;
    this.timer = 0;
    this.model = "";
    window.addEventListener("online", () => this.timer && this.open());
  }

  async open(model = this.model) {
    this.model = model;
    clearTimeout(this.timer);
    this.timer = 0;
    this.callbacks.onState("connecting");
    const key = sessionStorage.getItem(STORED_KEY) ?? "";
    // A browser does not tell a page why a handshake failed, so a plain request asks about the key first.
    const status = await fetch("/v1/models", { headers: key ? { Authorization: `Bearer ${key}` } : {} }).then(
      (answer) => answer.status,
      () => 0,
    );
    if (status === 401) {
      this.callbacks.onState("key", { wrong: key !== "" });
    } else if (status === 0) {
      this.#wait();
    } else {
      this.#dial(key);
    }
  }

  /** Remembers the key that the caller typed, and connects with it. */
  useKey(key) {
    sessionStorage.setItem(STORED_KEY, key);
    this.open();
  }

  /** False where there is no open socket: the event is lost, nothing is kept for later. */
  send(event) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(event));
    return true;
  }

  #dial(key) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const query = new URLSearchParams({ model: this.model, parley_timings: "true" });
    const protocols = key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"];
    const socket = new WebSocket(`${scheme}//${location.host}/v1/realtime?${query}`, protocols);
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "session.created") {
        this.failures = 0;
        this.callbacks.onState("open");
      }
      this.callbacks.onEvent(event);
    };
    socket.onclose = () => this.#wait();
    this.socket = socket;
  }

  #wait() {
    this.socket = null;
    const milliseconds = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.failures) * (0.75 + Math.random() / 2);
    this.failures += 1;
    this.callbacks.onState("waiting", { seconds: milliseconds / 1000 });
    this.timer = setTimeout(() => this.open(), milliseconds);
  }
}
