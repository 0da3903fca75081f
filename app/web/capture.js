// Owns the audio thread's side of the microphone: context rate -> 24 kHz PCM16 frames. Knows no socket or page.

import { Resampler } from "./resample.js";

const REALTIME_RATE = 24000; // Hz: OpenAI Realtime's only audio/pcm rate
const FRAME_SAMPLES = 480; // 20 ms: short enough not to delay the end of a turn, 50 messages a second

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, REALTIME_RATE);
    this.frame = new Int16Array(FRAME_SAMPLES);
    this.filled = 0;
    this.energy = 0;
  }

  /** Posts {pcm: ArrayBuffer of FRAME_SAMPLES int16, level: RMS 0..1} for every full frame. */
  process([channels]) {
    if (channels.length === 0) return true; // the source has not started yet
    for (const sample of this.resampler.feed(mono(channels))) {
      const clipped = Math.max(-1, Math.min(32767 / 32768, sample));
      this.frame[this.filled] = Math.round(clipped * 32768);
      this.energy += clipped * clipped;
      this.filled += 1;
      if (this.filled < FRAME_SAMPLES) continue;
      const pcm = this.frame.buffer;
      this.port.postMessage({ pcm, level: Math.sqrt(this.energy / FRAME_SAMPLES) }, [pcm]);
      this.frame = new Int16Array(FRAME_SAMPLES);
      this.filled = 0;
      this.energy = 0;
    }
    return true;
  }
}

function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, n) => channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length);
}

registerProcessor("capture", Capture);
