// Owns the WebSocket to /v1/realtime: key, opening, trying again. Knows no event's meaning and no page.

const STORED_KEY = "parley.key"; // in sessionStorage: gone with the tab
const STORED_CALLER = "parley.caller"; // likewise: what is kept of this tab's calls can be found by it
const LOST = new Set(["not_found", "resume_expired", "store_off", "database_unavailable"]); // nothing to go on with
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10000;

/**
 * Keeps one socket open. Calls onEvent(object) for every server event, and onState(state, detail):
 * "connecting" | "open" {kept: boolean} | "waiting" {seconds} | "key" {wrong: boolean}. Before each session it calls
 * onModels(entries, model) with what can be talked to; its answer is the model that is.
 */
export class Connection {
  constructor({ onEvent, onState, onModels }) {
    this.callbacks = { onEvent, onState, onModels };
    this.socket = null;
    this.failures = 0;
    this.timer = 0;
    this.model = "";
    this.conversation = ""; // by which a service that keeps conversations goes on with this one
    window.addEventListener("online", () => this.timer && this.open());
  }

  /** Connects; an open session ends, and with it what the service remembers of it. One that was lost goes on, if it can. */
  async open(model = this.model) {
    this.model = model;
    clearTimeout(this.timer);
    this.timer = 0;
    if (this.socket) {
      this.socket.onmessage = this.socket.onclose = null;
      this.socket.close();
      this.socket = null;
      this.conversation = "";
    }
    this.callbacks.onState("connecting");
    const key = sessionStorage.getItem(STORED_KEY) ?? "";
    // A browser does not tell a page why a handshake failed, so a plain request asks about the key first.
    const answer = await fetch("/v1/models", { headers: key ? { Authorization: `Bearer ${key}` } : {} }).catch(() => null);
    const models = answer?.ok ? (await answer.json().catch(() => null))?.data : [];
    if (this.model !== model) return; // another was asked for meanwhile
    if (answer?.status === 401) {
      this.callbacks.onState("key", { wrong: key !== "" });
    } else if (!answer || !models) {
      this.#wait();
    } else {
      this.model = this.callbacks.onModels(models, model);
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
    const query = new URLSearchParams({ model: this.model, parley_timings: "true", parley_caller: caller() });
    const resume = this.conversation;
    if (resume) query.set("parley_resume", resume);
    let begun = false;
    const protocols = key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"];
    const socket = new WebSocket(`${scheme}//${location.host}/v1/realtime?${query}`, protocols);
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "session.created") {
        begun = true;
        this.failures = 0;
        this.conversation = event.session.parley_conversation ?? "";
        this.callbacks.onState("open", { kept: this.conversation !== "" });
      } else if (!begun && resume && LOST.has(event.error?.code)) {
        this.conversation = "";
        return;
      }
      this.callbacks.onEvent(event);
    };
    socket.onclose = () => (resume && !this.conversation ? this.#dial(key) : this.#wait());
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

/** This tab's name for itself: chance, and nothing about who sits before it. */
function caller() {
  let name = sessionStorage.getItem(STORED_CALLER);
  if (!name) {
    name = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    sessionStorage.setItem(STORED_CALLER, name);
  }
  return name;
}
