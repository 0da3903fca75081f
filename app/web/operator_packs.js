// Owns the list of language packs: gates, promotion, its refusal, rollback; and making a version of a job's result.

import { askJson, download } from "./operator_service.js";

/** Draws every version; `changed` is called after the service has changed one, `complain` with what it refused. */
export function showPacks(list, packs, changed, complain) {
  const old = new Map([...list.children].map((card) => [card.dataset.pack, card]));
  list.replaceChildren(...packs.map((pack) => cardOf(old.get(pack.id), pack, changed, complain)));
}

/** Builds a version out of a job and promotes it; a refusal of the promotion leaves it built, in the list. */
export async function buildAndPromote(job, like, name) {
  await askJson("/packs", { method: "POST", body: { pack: name, like, models: [job] } });
  return askJson(`/packs/${encodeURIComponent(name)}/promote`, { method: "POST", body: {} });
}

function cardOf(old, pack, changed, complain) {
  const state = JSON.stringify(pack);
  if (old?.dataset.state === state) return old; // words that somebody is writing stay
  const card = make("li", "card");
  card.dataset.pack = pack.id;
  card.dataset.state = state;
  const head = make("div", "card-head");
  const name = make("strong", "", pack.id);
  const chip = make("span", "chip", pack.current ? "current" : pack.language);
  chip.dataset.state = pack.current ? "current" : "";
  head.append(name, chip);
  const actions = make("div", "actions");
  card.append(head, make("p", "aside", pack.description), gatesOf(pack), actions);
  if (!pack.current) actions.append(button("Promote", () => change(promotion(pack), {})));
  if (pack.rollback_to) {
    const path = `/packs/${encodeURIComponent(pack.name)}/rollback`;
    actions.append(button(`Roll back to ${pack.rollback_to}`, () => change(path, {})));
  }
  if (pack.report) {
    const path = `/packs/${encodeURIComponent(pack.id)}/report`;
    actions.append(button("Report", () => download(path, `${pack.id}.html`).catch((error) => complain(error.message))));
  }

  async function change(path, body) {
    try {
      await askJson(path, { method: "POST", body });
      changed();
    } catch (error) {
      card.querySelectorAll(".refused, .force").forEach((part) => part.remove());
      if (error.code === "gate_missed") card.append(refusal(error.message), force(pack, change));
      else complain(error.message);
    }
  }
  return card;
}

function promotion(pack) {
  return `/packs/${encodeURIComponent(pack.id)}/promote`;
}

/** Failed gates are overridden only in words, which card and history keep. */
function force(pack, change) {
  const form = make("form", "force");
  const words = make("input");
  words.required = true;
  words.maxLength = 1000;
  words.placeholder = "Why it may be used all the same";
  words.setAttribute("aria-label", words.placeholder);
  const submit = make("button", "", "Promote all the same");
  submit.type = "submit";
  form.append(words, submit);
  form.onsubmit = (event) => {
    event.preventDefault();
    change(promotion(pack), { force: words.value });
  };
  return form;
}

export function refusal(message) {
  const line = make("p", "refused", message.replace(" --force WORDS does it all the same", ""));
  line.setAttribute("role", "alert");
  return line;
}

function gatesOf(pack) {
  const box = make("details", "gates");
  const gated = pack.figures.filter((figure) => figure.passed !== null);
  const met = gated.filter((figure) => figure.passed).length;
  const said = new Set(pack.figures.map((figure) => `${figure.part}, ${figure.metric}: ${figure.said}`));
  const open = pack.failed_gates.filter((reason) => !said.has(reason)); // what nobody has measured
  const words = pack.figures.length ? `${met} of ${gated.length} gates met${open.length ? ", not all measured" : ""}` : "never evaluated";
  const summary = make("summary", "", words);
  const lines = pack.figures.map((figure) =>
    make("li", figure.passed === null ? "" : figure.passed ? "met" : "missed", `${figure.part}, ${figure.metric}: ${figure.said}`),
  );
  lines.push(...open.map((reason) => make("li", "missed", reason)));
  lines.push(...pack.forced.map((forced) => make("li", "missed", `promoted all the same, ${forced.when}: ${forced.words}`)));
  const list = make("ul");
  list.append(...lines);
  box.append(summary, list);
  return box;
}

export function make(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export function button(text, action) {
  const made = make("button", "", text);
  made.type = "button";
  made.onclick = action;
  return made;
}
