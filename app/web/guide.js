// Owns what the page says of the service: its pack, examples and missing workers. Knows no socket or microphone.

import { stages } from "./health.js";

const STARTER = "en-starter"; // the pack that ships; others need no excuse

const made = (name, text) => {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
};

export class Guide {
  /** `notice(subject, words)` shows or removes a warning; `say(text)` asks an example. */
  constructor({ page, notice, say }) {
    Object.assign(this, { page, notice, say });
    this.shown = "";
  }

  /** Takes an answer of GET /health, or null. `link` is the connection's state: it may have warned already. */
  show(health, link) {
    this.notice("service", health || link === "waiting" ? "" : "The service does not answer.");
    this.page.workers.replaceChildren();
    if (!health) return;
    for (const { stage, down, words } of stages(health)) {
      const line = made("li", down ? `${stage} (down)` : stage);
      line.dataset.down = down;
      this.page.workers.append(line);
      this.notice(stage, down ? words : "");
    }
  }

  /** The pack that is talked to, as GET /v1/models or /health describes it. */
  showPack({ name, version, description, knows, examples, greeting }) {
    if (this.shown === `${name} ${version}`) return; // else a click on an example could miss it
    this.shown = `${name} ${version}`;
    this.page.pack.textContent = this.shown;
    this.page.pack.title = description ?? "";
    this.page.pack.hidden = false;
    this.page.small.hidden = name !== STARTER;
    this.page.knows.textContent = knows || "This pack does not say.";
    if (greeting) this.page.greeting.textContent = greeting;
    this.page.examples.replaceChildren(
      ...(examples ?? []).map((example) => {
        const button = made("button", example);
        button.type = "button";
        button.onclick = () => this.say(example);
        const line = document.createElement("li");
        line.append(button);
        return line;
      }),
    );
  }
}
