// Owns the list of turns on the page. Model text enters it as text nodes alone, never as markup. Knows no protocol.

import { timeline } from "./timeline.js";

/** One turn: who spoke, the words so far, and what became of it. */
class Turn {
  constructor(role, name) {
    this.element = document.createElement("li");
    this.element.className = `turn ${role}`;
    const who = document.createElement("span");
    who.className = "who";
    who.textContent = name;
    this.words = document.createElement("p");
    this.words.className = "words";
    this.note = document.createElement("span");
    this.note.className = "note";
    this.note.hidden = true;
    this.element.append(who, this.words, this.note);
    this.name = name;
    this.at = new Date(); // when the caller began, or the reply
    this.open = true;
  }

  get text() {
    return this.words.textContent;
  }

  set text(text) {
    this.words.textContent = text.trim();
  }

  /** An open turn shows that more is coming. */
  set open(open) {
    this.element.classList.toggle("open", open);
  }

  append(delta) {
    this.words.textContent = (this.words.textContent + delta).replace(/^\s+/, "");
  }

  /** A word below the turn: "interrupted", "failed". */
  mark(kind, words) {
    this.element.dataset.mark = kind;
    this.note.textContent = words;
    this.note.hidden = false;
  }

  set heardMs(milliseconds) {
    this.element.dataset.heardMs = milliseconds;
  }

  set timings(event) {
    this.element.querySelector(".timeline")?.remove();
    this.element.append(timeline(event));
  }

  remove() {
    this.element.remove();
  }
}

export class Conversation {
  constructor(list, scroller) {
    this.list = list;
    this.scroller = scroller;
    this.turns = new Map(); // item id -> Turn
    let atEnd = true;
    scroller.addEventListener("scroll", () => {
      atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
    });
    const follow = () => atEnd && !this.empty && scroller.scrollTo(0, scroller.scrollHeight); // unless the caller has scrolled up
    new MutationObserver(follow).observe(list, { childList: true, subtree: true, characterData: true });
    new ResizeObserver(follow).observe(scroller);
  }

  get empty() {
    return this.turns.size === 0;
  }

  /** The turn of an item, made at the end of the list where it is new. */
  caller(item) {
    return this.turns.get(item) ?? this.#add(item, "caller", "You");
  }

  assistant(item) {
    return this.turns.get(item) ?? this.#add(item, "assistant", "Parley");
  }

  find(item) {
    return this.turns.get(item);
  }

  /** What was said so far, for a file: {name, text, mark, at} of each turn, mark being its note. */
  get written() {
    return [...this.turns.values()].map(({ name, text, note, at }) => ({ name, text, mark: note.textContent, at }));
  }

  /** What the caller had said before the assistant's `turn`. */
  before(turn) {
    const turns = [...this.turns.values()];
    const earlier = turns.slice(0, turns.indexOf(turn));
    return earlier.findLast((one) => one.element.classList.contains("caller"))?.text ?? "";
  }

  remove(item) {
    this.turns.get(item)?.remove();
    this.turns.delete(item);
  }

  /** The item that was shown under a name of ours has got its real one. */
  rename(item, name) {
    const turn = this.turns.get(item);
    this.turns.delete(item);
    this.turns.set(name, turn);
  }

  /** A line across the list: what was said before is forgotten by the service. */
  divide(words) {
    const line = document.createElement("li");
    line.className = "divider";
    line.textContent = words;
    this.list.append(line);
  }

  #add(item, role, name) {
    const turn = new Turn(role, name);
    this.turns.set(item, turn);
    this.list.append(turn.element);
    return turn;
  }
}
