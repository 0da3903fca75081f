// Owns the bar of where a turn's milliseconds went. Knows no protocol beyond parley.turn.timings.

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

/** A <figure> for one parley.turn.timings event. */
export function timeline(timings) {
  const stages = STAGES.filter(([key]) => timings[key] !== null && timings[key] !== undefined);
  const total = stages.reduce((sum, [key]) => sum + timings[key], 0);
  const wait = timings.endpoint_wait_ms ?? 0;
  const figure = element("figure", "timeline");
  const bar = element("div", "bar");
  bar.setAttribute("aria-hidden", "true");
  const numbers = element("ul", "numbers");
  for (const [key, name, meaning] of stages) {
    const piece = element("span", `piece ${key}`);
    piece.style.width = `${(100 * timings[key]) / Math.max(total, SCALE_MS)}%`;
    bar.append(piece);
    const number = element("li", key, `${name} `);
    number.title = meaning;
    number.append(element("b", "", rounded(timings[key])));
    numbers.append(number);
  }
  const caption = element("figcaption", "", `${rounded(total - wait)} ms to first sound`);
  caption.append(element("span", "", wait > 0 ? `${rounded(total)} ms with the wait` : ""));
  figure.append(bar, caption, numbers);
  return figure;
}

/** Fills a <dl> with the colour, name and meaning of every stage. */
export function legend(list) {
  for (const [key, name, meaning] of STAGES) list.append(element("dt", key, name), element("dd", "", meaning));
}
