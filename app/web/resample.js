// Owns the change of a stream's sample rate: windowed sinc, exact rational phases. Knows no audio node or socket.

const LOBES = 16; // zero crossings on each side: the stop band lies about 70 dB down with a Blackman window
const PASS = 0.92; // share of the Nyquist band that is kept; the rest is the filter's slope

const gcd = (a, b) => (b === 0 ? a : gcd(b, a % b));

/** One direction of one stream of float32 samples; keeps the filter's history, so that block borders do not click. */
export class Resampler {
  constructor(sourceRate, targetRate) {
    const divisor = gcd(sourceRate, targetRate);
    this.step = sourceRate / divisor; // source samples per `phases` target samples
    this.phases = targetRate / divisor;
    const cutoff = PASS * Math.min(1, targetRate / sourceRate); // of the source's Nyquist frequency
    this.half = Math.ceil(LOBES / cutoff);
    this.table = Array.from({ length: this.phases }, (_, phase) => kernel(phase / this.phases, this.half, cutoff));
    this.history = new Float32Array(2 * this.half); // starts as silence
    this.position = 0; // source index of the next target sample, in units of 1 / phases
  }

  /** Float32Array at the source rate in; what is ready of it at the target rate out, `half` samples late. */
  feed(block) {
    const source = new Float32Array(this.history.length + block.length);
    source.set(this.history);
    source.set(block, this.history.length);
    const end = block.length * this.phases;
    const target = new Float32Array(Math.max(0, Math.ceil((end - this.position) / this.step)));
    for (let n = 0; n < target.length; n += 1, this.position += this.step) {
      const start = Math.floor(this.position / this.phases) + 1;
      const taps = this.table[this.position % this.phases];
      let sum = 0;
      for (let k = 0; k < taps.length; k += 1) sum += taps[k] * source[start + k];
      target[n] = sum;
    }
    this.position -= end;
    this.history = source.slice(source.length - 2 * this.half);
    return target;
  }
}

/** The 2 * half taps for a target sample that lies `fraction` of a source sample behind one; their sum is 1. */
function kernel(fraction, half, cutoff) {
  const taps = Float64Array.from({ length: 2 * half }, (_, k) => {
    const x = k - half + 1 - fraction; // distance in source samples
    const window = 0.42 + 0.5 * Math.cos((Math.PI * x) / half) + 0.08 * Math.cos((2 * Math.PI * x) / half);
    const angle = Math.PI * cutoff * x;
    return (Math.abs(x) >= half ? 0 : window) * (angle === 0 ? 1 : Math.sin(angle) / angle);
  });
  const gain = taps.reduce((sum, tap) => sum + tap, 0);
  return Float32Array.from(taps, (tap) => tap / gain);
}
