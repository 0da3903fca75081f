// Owns one conversation over the protocol: which event answers which. Knows no page element and no audio node.

const SHORTEST_MS = 100; // the service refuses to commit less speech than this
const FRAME_MS = 20; // what capture.js sends
const PRESSED = "pressed"; // name of the caller's turn in push-to-talk until the service has given it an id

/** Codes of refusals that mean only that two events crossed on the way; nothing is wrong. */
const CROSSED = new Set([
  "response_cancel_not_active",
  "item_truncate_invalid_item_id",
  "item_retrieve_invalid_item_id",
]);

export class Call {
  /**
   * Calls onChange() when `phase` may have changed, onProblem(words) and announce(words) for the caller, and
   * onTimings(event, words) for each answer to the caller's words.
   */
  constructor({ connection, playback, conversation, onChange, onProblem, onTimings, onVoiceRefused, announce }) {
    Object.assign(this, { connection, playback, conversation, onChange, onProblem, onTimings, onVoiceRefused, announce });
    this.pushToTalk = false;
    this.voice = ""; // empty: the pack's own
    this.turnDetection = { type: "server_vad" }; // the pack's own, once the session has told it
    this.replies = new Map(); // response id -> item id of its message
    this.unheard = new Set(); // items of spoken replies whose playback has not ended
    this.silenced = new Set(); // items that were cut: what still arrives of them is dropped
    this.#forget();
  }

  /** "hearing" | "speaking" | "thinking" | "idle": what the conversation is doing now. */
  get phase() {
    if (this.hearing !== null || this.pressed) return "hearing";
    if (this.playback.playing) return "speaking";
    return this.thinking || this.response !== null ? "thinking" : "idle";
  }

  get canStop() {
    return this.response !== null || this.playback.playing;
  }

  // ── what the caller does ──

  /** One frame of the microphone, as an ArrayBuffer of PCM16. */
  hear(pcm) {
    if (this.pushToTalk && !this.pressed) return;
    const audio = btoa(String.fromCharCode(...new Uint8Array(pcm)));
    if (this.connection.send({ type: "input_audio_buffer.append", audio })) this.sentMs += FRAME_MS;
  }

  /** A typed request; it interrupts what is being said. */
  async say(text) {
    await this.stop();
    const id = `item_${crypto.getRandomValues(new Uint32Array(3)).join("").slice(0, 24)}`;
    const item = { id, type: "message", role: "user", content: [{ type: "input_text", text }] };
    if (!this.connection.send({ type: "conversation.item.create", item })) {
      this.onProblem("Not sent: there is no connection to the service at the moment.");
      return;
    }
    const turn = this.conversation.caller(id);
    turn.text = text;
    turn.open = false;
    this.#ask();
  }

  /** Push-to-talk goes down: the reply falls silent and a fresh utterance begins. */
  press() {
    this.stop();
    this.connection.send({ type: "input_audio_buffer.clear" });
    this.pressed = true;
    this.sentMs = 0;
    this.conversation.caller(PRESSED);
    this.onChange();
  }

  /** Push-to-talk comes up: the utterance is complete. */
  release() {
    if (!this.pressed) return;
    this.pressed = false;
    if (this.sentMs < SHORTEST_MS) {
      this.connection.send({ type: "input_audio_buffer.clear" });
      this.conversation.remove(PRESSED);
      this.onProblem("That was too short. Hold the button while you speak, and let go at the end.");
    } else {
      this.connection.send({ type: "input_audio_buffer.commit" });
      this.thinking = true; // the reply is asked for when there are words: nothing understood needs no answer
    }
    this.onChange();
  }

  /** Silence now: nothing more is played, and the service stops writing. */
  async stop() {
    if (this.response !== null) this.connection.send({ type: "response.cancel" });
    this.thinking = false;
    await this.#cut();
    this.onChange();
  }

  /** The microphone was closed: an utterance that had begun is dropped. */
  hangUp() {
    if (this.hearing !== null) this.conversation.remove(this.hearing);
    if (this.pressed) this.conversation.remove(PRESSED);
    this.hearing = null;
    this.pressed = false;
    this.connection.send({ type: "input_audio_buffer.clear" });
    this.onChange();
  }

  setPushToTalk(on) {
    this.hangUp();
    this.pushToTalk = on;
    this.#update({ turn_detection: on ? null : this.turnDetection });
  }

  /** The voice of the replies; where the session has spoken already, onVoiceRefused() is called. */
  setVoice(name) {
    this.voice = name;
    this.connection.send({ type: "session.update", session: { type: "realtime", audio: { output: { voice: name } } } });
  }

  // ── what the service says ──

  /** Takes one server event. */
  handle(event) {
    this.#answers[event.type]?.(event);
    this.onChange();
  }

  /** The socket closed: the service forgets the conversation with it. */
  lost() {
    if (this.hearing !== null) this.conversation.remove(this.hearing);
    this.conversation.remove(PRESSED);
    this.playback.duck(false);
    for (const item of this.unheard) {
      this.playback.end(item);
      this.conversation.find(item).open = false;
    }
    this.#forget();
    this.onChange();
  }

  /** Everything of `item` has been played. */
  heardAll(item) {
    this.unheard.delete(item);
    this.onChange();
  }

  #answers = {
    "session.created": ({ session }) => {
      const goesOn = session.parley_conversation !== undefined && session.parley_conversation === this.kept;
      this.kept = session.parley_conversation;
      const above = goesOn ? "Connected again; the conversation goes on" : "Connected again; what was said above is forgotten";
      if (!this.conversation.empty) this.conversation.divide(above);
      // Reports of what may be a back-channel, so that the reply is quieter under it.
      this.turnDetection = { ...(session.audio.input.turn_detection ?? this.turnDetection), back_channels: true };
      const transcription = session.audio.input.transcription ?? { model: "whisper-1" };
      this.#update(
        { transcription, turn_detection: this.pushToTalk ? null : this.turnDetection },
        this.playback.possible ? {} : { output_modalities: ["text"] },
      );
      if (this.voice) this.setVoice(this.voice);
    },

    "parley.speech.suspected": () => this.playback.duck(true),
    "parley.speech.dismissed": () => this.playback.duck(false),
    "input_audio_buffer.speech_started": ({ item_id: item }) => {
      this.hearing = item;
      this.conversation.caller(item);
      this.#cut();
    },
    "input_audio_buffer.speech_stopped": () => {
      this.hearing = null;
      this.thinking = true;
    },
    "input_audio_buffer.committed": ({ item_id: item }) => this.#name(item),
    "conversation.item.input_audio_transcription.delta": ({ item_id: item, delta }) => {
      this.#name(item);
      this.conversation.caller(item).append(delta);
    },
    "conversation.item.input_audio_transcription.completed": ({ item_id: item, transcript }) => {
      if (transcript.trim() === "") {
        this.conversation.remove(item); // silence or noise: no reply will come
        if (this.response === null) this.thinking = false;
        if (this.pushToTalk) this.onProblem("Nothing was understood. Hold the button while you speak.");
        return;
      }
      const turn = this.conversation.caller(item);
      turn.text = transcript;
      turn.open = false;
      this.announce(`You: ${transcript}`);
      if (this.pushToTalk && !this.pressed) this.#ask();
    },
    "conversation.item.input_audio_transcription.failed": ({ item_id: item, error }) => {
      const turn = this.conversation.caller(item);
      turn.open = false;
      turn.mark("failed", `Not understood: ${error.message}`);
      this.thinking = false;
    },

    "response.created": ({ response }) => {
      this.response = response.id;
    },
    "response.output_item.added": ({ response_id: response, item }) => {
      if (item.type !== "message") return;
      this.replies.set(response, item.id);
      this.conversation.assistant(item.id);
    },
    "response.content_part.added": ({ item_id: item, part }) => {
      if (part.type === "audio") this.unheard.add(item);
    },
    "response.output_audio_transcript.delta": ({ item_id: item, delta }) => this.#write(item, delta),
    "response.output_text.delta": ({ item_id: item, delta }) => this.#write(item, delta),
    "response.output_audio.delta": ({ item_id: item, delta }) => {
      if (this.silenced.has(item)) return;
      this.playback.push(item, delta).catch(() => this.onProblem("This browser does not play the reply's sound."));
    },
    "response.output_audio.done": ({ item_id: item }) => {
      this.playback.end(item);
    },
    "response.done": ({ response }) => {
      if (this.response === response.id) {
        this.response = null;
        this.thinking = false;
      }
      const turn = this.conversation.find(this.replies.get(response.id));
      if (turn) turn.open = false;
      this.#outcome(response, turn);
    },

    "conversation.item.truncated": ({ item_id: item, audio_end_ms: milliseconds }) => {
      const turn = this.conversation.find(item);
      if (!turn) return;
      turn.heardMs = milliseconds;
      turn.mark("interrupted", "interrupted");
      // The service knows which words were spoken by then; the page shows its answer.
      this.connection.send({ type: "conversation.item.retrieve", item_id: item });
    },
    "conversation.item.retrieved": ({ item }) => {
      const turn = this.conversation.find(item.id);
      if (!turn) return;
      turn.text = item.content.map(({ transcript, text }) => transcript ?? text ?? "").join("");
      if (turn.text === "") turn.mark("interrupted", "interrupted before the first word");
    },

    "parley.turn.timings": (event) => {
      const turn = this.conversation.find(this.replies.get(event.response_id) ?? event.item_id);
      if (!turn) return;
      turn.timings = event;
      this.onTimings(event, this.conversation.before(turn));
    },
    error: ({ error }) => {
      if (error.code === "cannot_update_voice") return void this.onVoiceRefused();
      if (!CROSSED.has(error.code)) this.onProblem(`The service refused a request: ${error.message}`);
    },
  };

  // ── helpers ──

  #forget() {
    this.hearing = null; // item of the speech that is being heard
    this.pressed = false;
    this.sentMs = 0; // audio sent since push-to-talk went down
    this.thinking = false; // a reply is expected
    this.response = null; // id of the response that is being written
    this.unheard.clear();
  }

  #update(input, rest = {}) {
    this.connection.send({ type: "session.update", session: { type: "realtime", audio: { input }, ...rest } });
  }

  #ask() {
    this.connection.send({ type: "response.create" });
    this.thinking = true;
    this.onChange();
  }

  #write(item, delta) {
    if (!this.silenced.has(item)) this.conversation.assistant(item).append(delta);
  }

  #name(item) {
    if (this.conversation.find(PRESSED) && !this.conversation.find(item)) this.conversation.rename(PRESSED, item);
  }

  /** Stops the loudspeaker and tells the service how much was heard; it keeps only those words. */
  async #cut() {
    const items = [...this.unheard];
    this.unheard.clear();
    items.forEach((item) => this.silenced.add(item));
    const heard = new Map(await this.playback.cut());
    this.playback.duck(false);
    for (const item of items) {
      const event = { item_id: item, content_index: 0, audio_end_ms: heard.get(item) ?? 0 };
      this.connection.send({ type: "conversation.item.truncate", ...event });
    }
  }

  #outcome({ status, status_details: details }, turn) {
    if (status === "failed") {
      const words = `The reply failed: ${details?.error?.message ?? "the service does not say why"}`;
      if (turn) turn.mark("failed", words);
      else this.onProblem(words);
    } else if (status === "incomplete") {
      turn?.mark("incomplete", "cut off: the longest length of a reply was reached");
    } else if (status === "cancelled") {
      turn?.mark("interrupted", "interrupted");
    } else if (turn && !this.playback.playing) {
      this.announce(`Parley: ${turn.text}`); // nobody hears it, so a screen reader says it
    }
  }
}
