// Owns the bar of where a turn's milliseconds went, and what its pieces mean. Knows no protocol beyond parley.turn.timings.

/** Stages in the order in which they pass; their sum without the first is end of speech to first audio. */
const STAGES = [
  ["endpoint_wait_ms", "Endpoint wait", "silence, to be sure you had ended"],
  ["recognizer_ms", "Recognizer", "the last of your words"],
  ["first_token_ms", "First token", "the model begins to answer"],
  ["first_clause_ms", "First clause", "enough words to say"],
  ["first_audio_ms", "First audio", "the first sound of them"],
];
const SCALE_MS = 1000; // a bar's full width, so that turns can be compared; longer turns fill it

const element = (name, className, text = "") => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};

const rounded = (milliseconds) => (milliseconds < 9.95 ? milliseconds.toFixed(1) : milliseconds.toFixed(0));

const passed = (timings) => STAGES.filter(([key]) => timings[key] !== null && timings[key] !== undefined);

/** All milliseconds of a parley.turn.timings event, the endpoint wait among them. */
export const total = (timings) => passed(timings).reduce((sum, [key]) => sum + timings[key], 0);

/** Milliseconds from the end of speech to the first sound, once it was sure that it had ended. */
export const firstSound = (timings) => total(timings) - (timings.endpoint_wait_ms ?? 0);

/** A bar of the stages, `scale` milliseconds wide. */
export function bar(timings, scale) {
  const made = element("div", "bar");
  made.setAttribute("aria-hidden", "true");
  for (const [key] of passed(timings)) {
    const piece = element("span", `piece ${key}`);
    piece.style.width = `${(100 * timings[key]) / scale}%`;
    made.append(piece);
  }
  return made;
}

/** A <figure> for one parley.turn.timings event. */
export function timeline(timings) {
  const figure = element("figure", "timeline");
  const numbers = element("ul", "numbers");
  for (const [key, name, meaning] of passed(timings)) {
    const number = element("li", key, `${name} `);
    number.title = meaning;
    number.append(element("b", "", rounded(timings[key])));
    numbers.append(number);
  }
  const all = total(timings);
  const caption = element("figcaption", "", `${rounded(firstSound(timings))} ms to first sound`);
  caption.append(element("span", "", timings.endpoint_wait_ms > 0 ? `${rounded(all)} ms with the wait` : ""));
  figure.append(bar(timings, Math.max(all, SCALE_MS)), caption, numbers);
  return figure;
}

/** Fills a <dl> with the colour, name and meaning of every stage. */
export function legend(list) {
  for (const [key, name, meaning] of STAGES) list.append(element("dt", key, name), element("dd", "", meaning));
}
