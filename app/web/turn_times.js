// Owns the view of the last turns' times: a bar each on one scale, so that a slow turn stands out. Knows no protocol.

import { bar, firstSound, total } from "./timeline.js";

const LAST = 12; // turns; more would not fit beside the conversation

export class TurnTimes {
  /** `list` takes a line a turn, `summary` the middle and the worst of them. */
  constructor({ list, summary }) {
    Object.assign(this, { list, summary });
    this.turns = [];
  }

  /** One parley.turn.timings event, and what the caller had said. */
  add(timings, words) {
    this.turns = [...this.turns, { timings, words }].slice(-LAST);
    const longest = Math.max(...this.turns.map((turn) => total(turn.timings)));
    this.list.replaceChildren(...this.turns.map((turn) => this.#line(turn, longest)));
    const sounds = this.turns.map((turn) => firstSound(turn.timings)).sort((a, b) => a - b);
    const median = (sounds[(sounds.length - 1) >> 1] + sounds[sounds.length >> 1]) / 2;
    const [middle, worst] = [median, sounds.at(-1)].map((sound) => sound.toFixed(0));
    const turns = sounds.length === 1 ? "1 turn" : `last ${sounds.length} turns`;
    this.summary.textContent = `${turns}: median ${middle} ms to first sound, worst ${worst} ms`;
  }

  #line({ timings, words }, longest) {
    const line = document.createElement("li");
    const said = document.createElement("span");
    said.className = "said";
    said.textContent = words;
    said.title = words;
    const sound = document.createElement("b");
    sound.textContent = firstSound(timings).toFixed(0);
    line.append(said, sound, bar(timings, longest));
    return line;
  }
}
