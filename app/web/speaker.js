// Owns the audio thread's queue of speech and the exact count of samples played. Knows no protocol or page.

const REPORT_QUANTA = 8; // of 128 samples: at 24 kHz a report every 43 ms
const REFILL_SAMPLES = 1920; // 80 ms: after the queue ran dry, speech waits for this much rather than stutter

class Speaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // {item, samples: Float32Array or null where the item ends, offset}
    this.played = new Map(); // item -> samples played, for every item that has not ended
    this.refilling = false;
    this.fade = null;
    this.quanta = 0;
    this.port.onmessage = ({ data }) => this[data.type](data);
  }

  push({ item, samples }) {
    if (!this.played.has(item)) this.played.set(item, 0);
    this.queue.push({ item, samples, offset: 0 });
  }

  end({ item }) {
    this.queue.push({ item, samples: null, offset: 0 });
  }

  /** Silences at once and answers with what had been played of every item that had not ended. */
  cut({ token }) {
    const [head] = this.queue;
    // 128 samples fading out: a waveform that stops dead is heard as a click.
    if (head?.samples) this.fade = head.samples.slice(head.offset, head.offset + 128);
    this.port.postMessage({ type: "cut", token, played: [...this.played] });
    this.queue = [];
    this.played.clear();
    this.refilling = false;
  }

  process(_inputs, [[output]]) {
    if (this.fade) {
      output.set(this.fade.map((sample, n) => sample * (1 - n / this.fade.length)));
      this.fade = null;
      return true;
    }
    let written = this.ready() ? 0 : output.length;
    while (written < output.length && this.queue.length > 0) {
      const head = this.queue[0];
      if (head.samples === null) {
        this.port.postMessage({ type: "ended", item: head.item, played: this.played.get(head.item) ?? 0 });
        this.played.delete(head.item);
        this.queue.shift();
        continue;
      }
      const piece = head.samples.subarray(head.offset, head.offset + output.length - written);
      output.set(piece, written);
      written += piece.length;
      head.offset += piece.length;
      this.played.set(head.item, this.played.get(head.item) + piece.length);
      if (head.offset === head.samples.length) this.queue.shift();
    }
    if (written < output.length) this.refilling = this.played.size > 0;
    this.quanta += 1;
    if (this.quanta % REPORT_QUANTA === 0 && this.played.size > 0) {
      this.port.postMessage({ type: "played", played: [...this.played] });
    }
    return true;
  }

  ready() {
    if (!this.refilling) return true;
    const waiting = this.queue.reduce((sum, { samples, offset }) => sum + (samples ? samples.length - offset : 0), 0);
    const ended = this.queue.some(({ samples }) => samples === null);
    if (waiting >= REFILL_SAMPLES || ended) this.refilling = false;
    return !this.refilling;
  }
}

registerProcessor("speaker", Speaker);
