// Owns what the page remembers from one visit to the next, in localStorage. Knows no page element.

const STORED = "parley.settings";
const AT_FIRST = { model: "", voice: "", looks: "system", pushToTalk: false };

/** The remembered choices; empty words mean the service's own default. */
export class Settings {
  constructor() {
    let stored = {};
    try {
      stored = JSON.parse(localStorage.getItem(STORED)) ?? {};
    } catch {
      // Storage is forbidden, or somebody else wrote there: the page works as on a first visit.
    }
    const known = Object.keys(AT_FIRST).filter((name) => typeof stored[name] === typeof AT_FIRST[name]);
    this.values = { ...AT_FIRST, ...Object.fromEntries(known.map((name) => [name, stored[name]])) };
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    this.values[name] = value;
    try {
      localStorage.setItem(STORED, JSON.stringify(this.values));
    } catch {
      // Remembered until the page is closed.
    }
  }
}
