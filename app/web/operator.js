// Owns the operator's page: jobs, the chosen one with its curves, packs. Asks the service again every two seconds.

import { drawCurves } from "./curves.js";
import { offer, onCreate } from "./operator_create.js";
import { buildAndPromote, button, make, refusal, showPacks } from "./operator_packs.js";
import { ask, askJson, download, hasKey, keepKey } from "./operator_service.js";

const EVERY_MS = 2000;
const FINAL = new Set(["succeeded", "failed", "cancelled"]);
const ACTIONS = {
  validating_files: ["pause", "cancel"],
  queued: ["pause", "cancel"],
  running: ["pause", "cancel"],
  paused: ["resume", "cancel"],
};

const wide = window.matchMedia("(min-width: 900px)"); // as in operator.css
const $ = (id) => document.getElementById(id);
let chosen = location.hash.slice(1);
let packs = [];
let timer = 0;
let looking = false;
let shownJobs = 20;

// 1. Looking again and again.
async function look() {
  clearTimeout(timer);
  if (looking || $("key-dialog").open) return;
  looking = true;
  try {
    const [jobs, found] = await Promise.all([askJson(`/fine_tuning/jobs?limit=${shownJobs}`), askJson("/packs")]);
    packs = found.data;
    showJobs(jobs.data);
    $("older").hidden = !jobs.has_more;
    showPacks($("packs"), packs, look, complain);
    await showDetail();
    $("link").textContent = "";
    notice("link", "");
  } catch (error) {
    if (error.status === 401 || error.status === 403) askForKey(error);
    else {
      $("link").textContent = "No connection";
      notice("link", error.message);
    }
  } finally {
    looking = false;
    timer = setTimeout(look, document.hidden ? 10 * EVERY_MS : EVERY_MS);
  }
}

// 2. What is seen.
function showJobs(jobs) {
  $("no-jobs").hidden = jobs.length > 0;
  const old = new Map([...$("jobs").children].map((card) => [card.dataset.job, card]));
  $("jobs").replaceChildren(...jobs.map((job) => cardOf(old.get(job.id), job)));
}

function cardOf(old, job) {
  const state = JSON.stringify([job, chosen === job.id, job.estimated_finish && minutesLeft(job)]);
  if (old?.dataset.state === state) return old;
  const card = make("li", chosen === job.id ? "card chosen" : "card");
  card.dataset.job = job.id;
  card.dataset.state = state;
  const head = make("div", "card-head");
  const name = button(`${job.method.type} of ${job.model}${job.suffix ? `, ${job.suffix}` : ""}`, () => choose(job.id));
  name.className = "name";
  const chip = make("span", "chip", job.status.replace("_", " "));
  chip.dataset.state = job.status;
  head.append(name, chip);
  card.append(head, make("p", "aside", told(job)));
  if (job.progress?.total_steps) {
    const bar = make("progress");
    bar.max = job.progress.total_steps;
    bar.value = job.progress.step;
    bar.setAttribute("aria-label", "Progress");
    card.append(bar);
  }
  const actions = make("div", "actions");
  for (const action of ACTIONS[job.status] ?? []) {
    actions.append(button(action[0].toUpperCase() + action.slice(1), () => act(job, action)));
  }
  card.append(actions);
  return card;
}

/** A job's second line. */
function told(job) {
  if (job.error) return job.error.message;
  const parts = [job.training_file];
  if (job.progress?.stage) parts.push(job.progress.stage);
  if (job.progress) parts.push(`step ${job.progress.step}${job.progress.total_steps ? ` of ${job.progress.total_steps}` : ""}`);
  if (job.estimated_finish) parts.push(`${minutesLeft(job)} left`);
  if (job.dry_run) parts.push("dry run");
  return parts.join(" · ");
}

function minutesLeft(job) {
  const minutes = Math.max(0, job.estimated_finish - Date.now() / 1000) / 60;
  return minutes < 1 ? "less than a minute" : minutes < 90 ? `${Math.round(minutes)} min` : `${(minutes / 60).toFixed(1)} h`;
}

async function showDetail() {
  $("detail").hidden = !chosen;
  if (!chosen) return;
  const path = `/fine_tuning/jobs/${encodeURIComponent(chosen)}`;
  const [job, events, measured] = await Promise.all([
    askJson(path),
    askJson(`${path}/events?type=message&limit=200`),
    askJson(`${path}/events?type=metrics&limit=1`), // a new one says that the curves have grown
  ]);
  $("detail-title").textContent = job.fine_tuned_model ?? job.id;
  const tuning = job.method[job.method.type];
  const asked = Object.entries(tuning.hyperparameters).map(([key, value]) => `${key} ${value}`);
  const facts = [`${job.method.type} (${tuning.configuration})`, job.training_file, `seed ${job.seed}`, ...asked, lasted(job)];
  if (job.device) facts.push(`device ${job.device}`);
  $("detail-facts").textContent = [...facts, job.run_folder].join(" · ");
  $("detail-error").hidden = !job.error;
  $("detail-error").textContent = job.error?.message ?? "";
  $("detail-report").hidden = !job.report;
  $("detail-report").textContent = job.report ?? "";
  await showCurves(job, path, measured.data[0]?.id);
  showEvents(events.data);
  await showFiles(job);
  showBuild(job);
  if ($("log-box").open) {
    const log = await (await ask(`${path}/logs`)).text();
    if ($("log").textContent !== log) $("log").textContent = log;
  }
}

/** When a job was created, and how long it has taken since. */
function lasted(job) {
  const minutes = ((job.finished_at ?? Date.now() / 1000) - job.created_at) / 60;
  const time = minutes < 1 ? "less than a minute" : minutes < 90 ? `${Math.round(minutes)} min` : `${(minutes / 60).toFixed(1)} h`;
  return `created ${new Date(job.created_at * 1000).toLocaleString()}, ${job.finished_at ? "took" : "for"} ${time}`;
}

/** Asks for all measurements only where there are new ones. */
async function showCurves(job, path, event) {
  const state = JSON.stringify([job.id, job.status, job.progress, event]);
  if ($("curves").dataset.of === state) return;
  const metrics = await askJson(`${path}/metrics`);
  if (!$("curves").dataset.of?.includes(job.id)) $("curves").replaceChildren(); // another job's look alike
  $("curves").dataset.of = state;
  $("no-curves").hidden = metrics.data.length > 0;
  drawCurves($("curves"), metrics.data);
}

function showEvents(events) {
  if ($("events").dataset.last === events[0]?.id) return;
  $("events").dataset.last = events[0]?.id ?? "";
  $("events").replaceChildren(
    ...events.map((event) => {
      const line = make("li", event.level);
      line.append(make("time", "", new Date(event.created_at * 1000).toLocaleTimeString()), make("span", "", event.message));
      return line;
    }),
  );
}

async function showFiles(job) {
  $("files-title").hidden = job.result_files.length === 0;
  if ($("files").dataset.of === job.result_files.join()) return;
  $("files").dataset.of = job.result_files.join();
  const files = await Promise.all(job.result_files.map((id) => askJson(`/files/${id}`)));
  $("files").replaceChildren(
    ...files.map((file) => {
      const line = make("li");
      line.append(button(file.filename, () => download(`/files/${file.id}/content`, file.filename).catch((error) => complain(error.message))));
      return line;
    }),
  );
}

/** The form that takes a job's result into service; what somebody has written in it stays. */
function showBuild(job) {
  $("build").hidden = !job.fine_tuned_model || packs.length === 0;
  const offered = packs.map((pack) => pack.id).join();
  if ($("build").dataset.of === `${job.id} ${offered}`) return;
  const another = !$("build").dataset.of?.startsWith(`${job.id} `);
  $("build").dataset.of = `${job.id} ${offered}`;
  const was = $("build-like").value;
  $("build-like").replaceChildren(...packs.map((pack) => new Option(pack.id + (pack.current ? " (current)" : ""), pack.id)));
  const parent = packs.find((pack) => pack.current && pack.name === job.model.split("@")[0]) ?? packs.find((pack) => pack.current);
  $("build-like").value = another || !packs.some((pack) => pack.id === was) ? (parent ?? packs[0]).id : was;
  if (!another) return;
  $("build-said").textContent = "";
  $("build").querySelectorAll(".refused").forEach((part) => part.remove());
  $("build-name").value = `${$("build-like").value.split("@")[0]}@${job.suffix ?? job.id.slice(-6)}`;
}

/** One notice a subject; empty words take it away. */
function notice(subject, words) {
  const old = $("notices").querySelector(`[data-subject="${subject}"]`);
  if (old?.firstChild.textContent === words) return;
  old?.remove();
  if (!words) return;
  const line = make("div", "notice");
  line.dataset.subject = subject;
  line.setAttribute("role", "alert");
  const close = button("×", () => line.remove());
  close.setAttribute("aria-label", "Close this message");
  line.append(make("p", "", words), close);
  $("notices").append(line);
}

function complain(words) {
  notice("refused", words);
}

function askForKey(error) {
  if (hasKey()) $("key-hint").textContent = error.message;
  $("link").textContent = "A key is needed";
  $("key-dialog").showModal();
}

// 3. What the operator does.
async function choose(id) {
  chosen = id;
  history.replaceState(null, "", `#${id}`);
  await look();
  if (!wide.matches) $("detail").scrollIntoView(); // it is below the lists there
}

async function act(job, action) {
  if (action === "cancel" && !confirm("End this job for good? Pause keeps its place.")) return;
  try {
    await askJson(`/fine_tuning/jobs/${job.id}/${action}`, { method: "POST" });
    notice("refused", "");
  } catch (error) {
    complain(error.message);
  }
  look();
}

$("build").onsubmit = async (event) => {
  event.preventDefault();
  const name = $("build-name").value;
  const submit = $("build").querySelector("button");
  $("build").querySelectorAll(".refused").forEach((part) => part.remove());
  $("build-said").textContent = `Building ${name} ...`;
  submit.disabled = true;
  try {
    await buildAndPromote(chosen, $("build-like").value, name);
    $("build-said").textContent = `${name} is current: sessions that begin from now on get it.`;
  } catch (error) {
    $("build-said").textContent = error.code === "gate_missed" ? `${name} is built. Evaluate it (parley evaluate), then promote it in the list.` : "";
    $("build").append(refusal(error.message));
  }
  submit.disabled = false;
  look();
};
$("log-box").ontoggle = () => look();
$("older").onclick = () => {
  shownJobs = Math.min(1000, shownJobs + 50);
  look();
};
$("create").ontoggle = () => $("create").open && offer(packs).catch((error) => complain(error.message));
onCreate(choose);
$("key-form").onsubmit = () => {
  keepKey($("key").value);
  $("key").value = "";
  setTimeout(look); // once the dialog is closed
};
document.onvisibilitychange = () => !document.hidden && look();
look();
