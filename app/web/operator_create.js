// Owns the form that creates a job: what it offers, what it sends. Knows nothing of jobs that are there.

import { askJson } from "./operator_service.js";

const NEEDS = {
  recognizer: ["manifest.jsonl"],
  language: ["dialogues.jsonl"],
  synthesizer: ["manifest.jsonl"],
  joint: ["manifest.jsonl", "dialogues.jsonl"],
};
const $ = (id) => document.getElementById(id);
let datasets = [];

/** Fills in what may be chosen; what somebody has written stays. */
export async function offer(packs) {
  datasets = (await askJson("/fine_tuning/datasets")).data;
  fill($("create-models"), packs.map((pack) => (pack.current ? pack.name : pack.id)));
  $("create-model").value ||= packs.find((pack) => pack.current)?.name ?? "";
  offerData();
}

/** Data sets that have what the method reads. */
function offerData() {
  const needs = NEEDS[$("create-method").value];
  fill($("create-datasets"), datasets.filter((one) => needs.every((name) => one.manifests.includes(name))).map((one) => one.id));
}

function fill(list, names) {
  list.replaceChildren(...[...new Set(names)].map((name) => new Option(name, name)));
}

/** Creates the job that the form describes; its id. Throws Refused, or Error for what cannot be read here. */
async function create() {
  const method = $("create-method").value;
  const [file] = $("create-file").files;
  const tuning = { hyperparameters: hyperparametersOf($("create-set").value) };
  if ($("create-configuration").value) tuning.configuration = $("create-configuration").value;
  const job = await askJson("/fine_tuning/jobs", {
    method: "POST",
    body: {
      model: $("create-model").value,
      training_file: file ? (await sent(file)).id : $("create-data").value,
      suffix: $("create-suffix").value || null,
      dry_run: $("create-dry").checked,
      method: { type: method, [method]: tuning },
    },
  });
  return job.id;
}

/** `training.steps=200 lora.r=8` as an object; values are JSON where they can be read so, else words. */
function hyperparametersOf(text) {
  const given = {};
  for (const pair of text.split(/\s+/).filter(Boolean)) {
    const at = pair.indexOf("=");
    if (at < 1) throw new Error(`Got ${pair}, expected KEY=VALUE.`);
    const value = pair.slice(at + 1);
    try {
      given[pair.slice(0, at)] = JSON.parse(value);
    } catch {
      given[pair.slice(0, at)] = value;
    }
  }
  return given;
}

function sent(file) {
  const form = new FormData();
  form.append("purpose", "fine-tune");
  form.append("file", file);
  return askJson("/files", { method: "POST", form });
}

/** Lets the form work; `created` is called with the id of each new job. */
export function onCreate(created) {
  $("create-method").onchange = offerData;
  $("create-file").onchange = () => ($("create-data").required = $("create-file").files.length === 0);
  $("create-form").onsubmit = async (event) => {
    event.preventDefault();
    const submit = event.target.querySelector("button");
    submit.disabled = true;
    $("create-said").textContent = $("create-file").files.length ? "Sending the file ..." : "";
    $("create-said").className = "said";
    try {
      const id = await create();
      $("create-said").textContent = "";
      event.target.reset();
      $("create-data").required = true;
      $("create").open = false;
      created(id);
    } catch (error) {
      $("create-said").textContent = error.message;
      $("create-said").className = "refused";
    }
    submit.disabled = false;
  };
}
