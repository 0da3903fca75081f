// Owns the menus of packs, voices and looks. Knows no socket and no conversation.

const option = (value, words) => {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = words;
  return made;
};

const languages = new Intl.DisplayNames(["en"], { type: "language" });

/** "de-demo: German", or the name alone where the pack's language is no tag that the browser knows. */
function nameOf({ id, language }) {
  try {
    return language ? `${id}: ${languages.of(language)}` : id;
  } catch {
    return id;
  }
}

export class Menus {
  /** Calls onModel(id) and onVoice(name) when the caller has chosen. */
  constructor({ page, settings, onModel, onVoice }) {
    Object.assign(this, { page, settings });
    this.models = [];
    page.model.addEventListener("change", () => {
      settings.set("model", page.model.value);
      settings.set("voice", ""); // another pack has other voices
      onModel(page.model.value);
    });
    page.voice.addEventListener("change", () => {
      settings.set("voice", page.voice.value);
      onVoice(page.voice.value);
    });
    page.looks.value = settings.get("looks");
    page.looks.addEventListener("change", () => {
      settings.set("looks", page.looks.value);
      this.#dress();
    });
    this.#dress();
  }

  /** The entries of GET /v1/models, of which `model` is talked to. */
  show(models, model) {
    this.models = models;
    const names = models.map(({ id }) => id);
    const others = names.includes(model) ? [] : [option(model, model)]; // asked for by version, or gone meanwhile
    this.page.model.replaceChildren(...models.map((entry) => option(entry.id, nameOf(entry))), ...others);
    this.page.model.value = model;
    const voices = this.find(model)?.voices ?? [];
    this.page.voice.replaceChildren(...voices.map((name) => option(name, name)));
    this.page.voice.value = this.voice(model) || (voices[0] ?? "");
    this.page.voice.disabled = voices.length < 2;
    const why = ["The service does not say which voices this pack has.", "This pack has no other voice."][voices.length] ?? "";
    this.page["voice-hint"].textContent = this.page.voice.title = why;
    this.page["voice-hint"].hidden = why === "";
  }

  find(model) {
    return this.models.find(({ id }) => id === model);
  }

  /** The voice that the caller has chosen for `model`; empty: the pack's own. */
  voice(model) {
    const chosen = this.settings.get("voice");
    return this.find(model)?.voices?.includes(chosen) ? chosen : "";
  }

  #dress() {
    const looks = this.settings.get("looks");
    if (looks === "system") delete document.documentElement.dataset.looks;
    else document.documentElement.dataset.looks = looks;
  }
}
