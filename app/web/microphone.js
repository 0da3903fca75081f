// Owns the microphone: permission, echo cancellation, frames. Knows no protocol or page.

/** A microphone that cannot be used; `message` is for the caller. */
export class MicrophoneError extends Error {}

const INSECURE =
  "Browsers give a microphone only to pages on localhost or https. Open this page on the machine that runs Parley, " +
  "or start Parley with --tls-cert and --tls-key. Typing works meanwhile.";
const WORDS = {
  NotAllowedError:
    "The microphone was refused. Allow it for this page (the icon in the address bar, or the browser's site settings) " +
    "and press the button again. Typing works meanwhile.",
  NotFoundError: "No microphone was found. Plug one in and press the button again. Typing works meanwhile.",
  NotReadableError: "The microphone is there but gives no sound: another program may be holding it.",
};

export class Microphone {
  /** Calls onFrame(ArrayBuffer of 20 ms PCM16 at 24 kHz, RMS level 0..1), and onLost() when the device goes away. */
  constructor({ onFrame, onLost }) {
    this.callbacks = { onFrame, onLost };
    this.stream = null;
    this.context = null;
  }

  get open() {
    return this.stream !== null;
  }

  /** Asks for permission where needed. Raises MicrophoneError. */
  async start() {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new MicrophoneError(INSECURE);
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
      });
    } catch (error) {
      throw new MicrophoneError(WORDS[error.name] ?? `The microphone does not start: ${error.message}`);
    }
    this.stream.getAudioTracks()[0].onended = () => {
      this.stop();
      this.callbacks.onLost();
    };
    // The device's own rate: Firefox refuses a stream in a context of another one, so capture.js resamples.
    this.context = new AudioContext({ latencyHint: "interactive" });
    await this.context.audioWorklet.addModule("/web/capture.js");
    if (!this.open) return; // stopped while the module was loading
    const node = new AudioWorkletNode(this.context, "capture");
    node.port.onmessage = ({ data }) => this.open && this.callbacks.onFrame(data.pcm, data.level);
    this.context.createMediaStreamSource(this.stream).connect(node);
    node.connect(this.context.destination); // silence: a node that leads nowhere is not run everywhere
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.context?.close();
    this.stream = null;
    this.context = null;
  }
}
