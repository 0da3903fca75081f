// Owns the operator's requests: the key, the service's refusals. Knows nothing of what is shown.

const PLACE = "parley-operator-key"; // gone with the tab

/** A request that the service has refused, in its own words; status 0: nobody answered. */
export class Refused extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function keepKey(key) {
  sessionStorage.setItem(PLACE, key);
}

export function hasKey() {
  return sessionStorage.getItem(PLACE) !== null;
}

/** The answer to a request below /v1. Raises Refused. */
export async function ask(path, { method = "GET", body, form } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(PLACE);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`/v1${path}`, { method, headers, body: form ?? (body && JSON.stringify(body)) });
  } catch {
    throw new Refused("The service does not answer.", 0, null);
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({ error: {} }));
  throw new Refused(error?.message ?? `The service answered with status ${answer.status}.`, answer.status, error?.code);
}

export async function askJson(path, request) {
  return (await ask(path, request)).json();
}

/** Saves a file of the service on this machine. */
export async function download(path, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await ask(path)).blob());
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
