// Owns the loudspeaker: a queue of PCM16 by item, and how much of each was heard. Knows no protocol or page.

const REALTIME_RATE = 24000; // Hz; the context runs at it, so that the browser's own resampler does the rest
const DUCKED = 0.2; // of full volume
const DUCK_SECONDS = 0.03; // time constant of the change: a jump would click
// Firefox answers outputLatency from its audio thread and can wait for it for ever, the whole page with it (seen with
// PulseAudio, in one of six first replies). So it is not asked there, and a cut reply counts as heard a little too long.
const LATENCY_IS_SAFE = !navigator.userAgent.includes("Firefox/");
const ANSWER_MS = 200; // a suspended context never answers; then the last report counts

/** Plays items one after the other. Calls onStart(item), onPlayed(item, ms) and onEnd(item, ms). */
export class Playback {
  constructor({ onStart, onPlayed, onEnd }) {
    this.callbacks = { onStart, onPlayed, onEnd };
    this.heard = new Map(); // item -> samples played by the last report, for every item that has not ended
    this.context = null;
    this.volume = null; // gain between the worklet and the loudspeaker
    this.node = null; // promise of the worklet node
    this.cuts = new Map(); // token -> resolve
    this.tokens = 0;
  }

  /** Browsers keep audio worklets, like microphones, to pages on localhost and https. */
  get possible() {
    return window.isSecureContext && "AudioWorkletNode" in window;
  }

  /** Must be called from a click or key press: browsers keep audio silent until then. */
  async unlock() {
    if (!this.possible) return;
    if (this.node === null) this.node = this.#start();
    await this.node;
    if (this.context.state === "suspended") await this.context.resume();
  }

  /** Appends base64 PCM16 at 24 kHz to what `item` says. */
  async push(item, base64) {
    if (!this.heard.has(item)) {
      this.heard.set(item, 0);
      this.callbacks.onStart(item);
    }
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const samples = Float32Array.from(new Int16Array(bytes.buffer), (sample) => sample / 32768);
    await this.#post({ type: "push", item, samples }, [samples.buffer]);
  }

  /** No more audio will come for `item`. */
  async end(item) {
    if (this.heard.has(item)) await this.#post({ type: "end", item });
  }

  get playing() {
    return this.heard.size > 0;
  }

  /** Quieter while `on`: the caller may have begun to speak. */
  duck(on) {
    this.volume?.gain.setTargetAtTime(on ? DUCKED : 1, this.context.currentTime, DUCK_SECONDS);
  }

  /** Silence at once. Resolves to [[item, milliseconds heard]] of every item that had not ended. */
  async cut() {
    if (!this.playing) return [];
    const reported = [...this.heard];
    this.heard.clear();
    this.tokens += 1;
    const token = this.tokens;
    const answer = new Promise((resolve) => {
      this.cuts.set(token, resolve);
      setTimeout(() => resolve(reported), ANSWER_MS);
    });
    await this.#post({ type: "cut", token });
    const played = new Map(await answer);
    this.cuts.delete(token);
    return reported.map(([item]) => [item, this.#milliseconds(played.get(item) ?? 0)]);
  }

  async #start() {
    this.context = new AudioContext({ sampleRate: REALTIME_RATE, latencyHint: "interactive" });
    await this.context.audioWorklet.addModule("/web/speaker.js");
    const node = new AudioWorkletNode(this.context, "speaker", { numberOfInputs: 0, outputChannelCount: [1] });
    node.port.onmessage = ({ data }) => this.#receive(data);
    this.volume = this.context.createGain();
    node.connect(this.volume).connect(this.context.destination);
    return node;
  }

  async #post(message, transfer = []) {
    if (this.node === null) this.node = this.#start();
    (await this.node).port.postMessage(message, transfer);
  }

  #receive({ type, token, item, played }) {
    if (type === "cut") this.cuts.get(token)?.(played);
    else if (type === "ended") {
      if (this.heard.delete(item)) this.callbacks.onEnd(item, this.#milliseconds(played));
    } else {
      for (const [each, samples] of played) {
        if (!this.heard.has(each)) continue; // cut since the report was written
        this.heard.set(each, samples);
        this.callbacks.onPlayed(each, this.#milliseconds(samples));
      }
    }
  }

  /** Samples handed to the device, less those that have not left it yet: a headset adds up to 0.3 s. */
  #milliseconds(samples) {
    const latency = LATENCY_IS_SAFE ? (this.context.outputLatency ?? 0) : 0; // seconds
    return Math.max(0, Math.floor((samples / REALTIME_RATE - latency) * 1000));
  }
}
