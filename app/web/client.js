// Owns the page's controls: joins microphone, loudspeaker, connection and call to what is seen. The page's story.

import { Call } from "./call.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { Guide } from "./guide.js";
import { watchHealth } from "./health.js";
import { Menus } from "./menus.js";
import { Microphone } from "./microphone.js";
import { Playback } from "./playback.js";
import { Settings } from "./settings.js";
import { legend } from "./timeline.js";
import { download } from "./transcript.js";
import { TurnTimes } from "./turn_times.js";

const DEFAULT_MODEL = "en-starter";
const LOUDEST_DB = -12; // RMS of speech close to the microphone: the meter's full width
const QUIETEST_DB = -60;

const $ = (id) => document.getElementById(id);
const page = Object.fromEntries(
  ["announcer", "examples", "form", "greeting", "guide", "key", "key-dialog", "key-form", "key-hint", "knows", "legend"]
    .concat(["level", "notices", "pack", "ptt", "scroller", "state", "stop", "talk", "talk-label", "text", "turns"])
    .concat(["small", "workers", "model", "voice", "voice-hint", "looks", "download", "times", "times-summary"])
    .map((id) => [id, $(id)]),
);

const wide = window.matchMedia("(min-width: 900px)"); // as in style.css

// 1. The parts.
let preferred = DEFAULT_MODEL; // the service's own choice, once it has told it
let link = { state: "connecting" }; // of the connection
const settings = new Settings();
const times = new TurnTimes({ list: page.times, summary: page["times-summary"] });
const conversation = new Conversation(page.turns, page.scroller);
const playback = new Playback({
  onStart: () => show(),
  onPlayed: (item, milliseconds) => (conversation.find(item).heardMs = milliseconds),
  onEnd: (item, milliseconds) => {
    conversation.find(item).heardMs = milliseconds;
    call.heardAll(item);
  },
});
const connection = new Connection({
  onEvent: (event) => call.handle(event),
  onState: (state, detail = {}) => {
    const was = link.state;
    link = { state, ...detail };
    if (was === "open") call.lost();
    if (state === "open") {
      notice("connection", "");
      notice("kept", detail.kept ? "The operator of this service keeps the words that are said here." : "");
    }
    if (state === "waiting") {
      notice("connection", "The service is gone. This page keeps trying to reach it.");
      guide.show(null, state);
    }
    if (state === "key") askForKey(detail.wrong);
    show();
  },
  onModels: (models, asked) => {
    const gone = asked === settings.get("model") && !models.some(({ id }) => id === asked); // a pack removed since
    const model = gone ? preferred : asked;
    menus.show(models, model);
    call.voice = menus.voice(model);
    const pack = menus.find(model);
    if (pack?.version) guide.showPack({ name: model, ...pack });
    return model;
  },
});
const call = new Call({
  connection,
  playback,
  conversation,
  onChange: () => show(),
  onProblem: (words) => notice("call", words),
  onTimings: (event, words) => times.add(event, words),
  onVoiceRefused: () => connection.open(), // a session that has spoken keeps its voice: the next one has the new voice
  announce: (words) => (page.announcer.textContent = words),
});
const menus = new Menus({
  page,
  settings,
  onModel: (model) => connection.open(model),
  onVoice: (name) => call.setVoice(name),
});
const microphone = new Microphone({
  onFrame: (pcm, level) => {
    call.hear(pcm);
    showLevel(level);
  },
  onLost: () => {
    call.hangUp();
    notice("microphone", "The microphone was unplugged or taken back by the browser.");
    show();
  },
});

// 2. What is seen.
function show() {
  const { phase } = call;
  const words = {
    hearing: "Hearing you",
    speaking: "Speaking",
    thinking: "Thinking",
    idle: microphone.open ? (call.pushToTalk ? "Hold the button or the space bar" : "Listening") : "Ready",
  };
  const links = {
    connecting: "Connecting",
    waiting: `No connection; trying again in ${Math.max(1, Math.round(link.seconds))} s`,
    key: "A key is needed",
  };
  const state = link.state === "open" ? (phase === "idle" && microphone.open ? "listening" : phase) : link.state;
  const sentence = links[link.state] ?? words[phase];
  if (page.state.textContent !== sentence) page.state.textContent = sentence; // else a screen reader repeats it
  document.body.dataset.state = state;
  page.talk.disabled = link.state !== "open" && !microphone.open; // one can always hang up
  page.talk.classList.toggle("live", microphone.open);
  page.talk.classList.toggle("held", call.pressed);
  page["talk-label"].textContent = talkLabel();
  page.stop.disabled = !call.canStop;
  page.download.disabled = conversation.empty;
  if (!conversation.empty && !page.greeting.hidden) {
    page.greeting.hidden = true;
    if (!wide.matches) page.guide.open = false; // a phone has no room for both
  }
  if (!microphone.open) showLevel(0);
}

function talkLabel() {
  if (call.pushToTalk) return call.pressed ? "Let go to send" : "Hold to talk";
  return microphone.open ? "Hang up" : "Start talking";
}

function showLevel(level) {
  const decibels = 20 * Math.log10(level + 1e-9);
  const share = Math.max(0, Math.min(1, (decibels - QUIETEST_DB) / (LOUDEST_DB - QUIETEST_DB)));
  page.level.style.transform = `scaleX(${share.toFixed(3)})`;
}

/** One notice per subject; empty words take it away. */
function notice(subject, words) {
  let line = page.notices.querySelector(`[data-subject="${subject}"]`);
  if (words === "") return line?.remove();
  if (line?.firstChild.textContent === words) return undefined;
  line?.remove();
  line = document.createElement("div");
  line.className = "notice";
  line.dataset.subject = subject;
  line.setAttribute("role", "alert");
  const text = document.createElement("p");
  text.textContent = words;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", "Close this message");
  close.onclick = () => line.remove();
  line.append(text, close);
  return page.notices.append(line);
}

function askForKey(wrong) {
  if (wrong) page["key-hint"].textContent = "That key was refused. Try again.";
  if (!page["key-dialog"].open) page["key-dialog"].showModal();
}

// 3. What the caller does.
async function startMicrophone() {
  try {
    await Promise.all([playback.unlock(), microphone.start()]);
    notice("microphone", "");
  } catch (error) {
    notice("microphone", error.message);
  }
  show();
  return microphone.open;
}

function stopMicrophone() {
  microphone.stop();
  call.hangUp();
  call.stop();
}

page.talk.addEventListener("click", () => {
  if (call.pushToTalk) return;
  notice("call", "");
  if (microphone.open) stopMicrophone();
  else startMicrophone();
});

page.ptt.addEventListener("change", async () => {
  const on = page.ptt.checked;
  if (!on && microphone.open) stopMicrophone();
  settings.set("pushToTalk", on);
  call.setPushToTalk(on);
  if (on && !microphone.open) await startMicrophone(); // the question for permission comes now, not in mid-sentence
  if (on) page.talk.focus(); // else the space bar would work the switch
  show();
});

async function press() {
  if (!call.pushToTalk || call.pressed || link.state !== "open") return;
  if (microphone.open) call.press();
  else await startMicrophone();
}

const isHoldKey = (event) =>
  event.code === "Space" && call.pushToTalk && !event.target.closest("input, summary, dialog, a"); // Enter still presses
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && call.canStop) call.stop();
  if (!isHoldKey(event)) return;
  event.preventDefault();
  if (!event.repeat) press();
});
document.addEventListener("keyup", (event) => {
  if (event.code === "Space" && call.pressed) {
    event.preventDefault();
    call.release();
  }
});
page.talk.addEventListener("pointerdown", (event) => {
  if (!call.pushToTalk) return;
  page.talk.setPointerCapture(event.pointerId);
  press();
});
for (const end of ["pointerup", "pointercancel"]) page.talk.addEventListener(end, () => call.release());
window.addEventListener("blur", () => call.release());
page.talk.addEventListener("contextmenu", (event) => call.pushToTalk && event.preventDefault()); // a long touch

page.stop.addEventListener("click", () => call.stop());

function say(text) {
  notice("call", "");
  playback.unlock().catch(() => notice("call", "This browser does not play the reply's sound."));
  call.say(text);
}

page.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = page.text.value.trim();
  if (text === "") return;
  page.text.value = "";
  say(text);
});

page.download.addEventListener("click", () => download(conversation.written, connection.model));

page["key-form"].addEventListener("submit", () => {
  connection.useKey(page.key.value);
  page.key.value = "";
});

// 4. Begin. Typing works without a microphone, so the socket opens at once.
const unfold = () => (page.guide.open = wide.matches || conversation.empty);
wide.addEventListener("change", unfold);
unfold();
page.guide.addEventListener("toggle", () => wide.matches && (page.guide.open = true)); // a column there, not a drawer
legend(page.legend);
if (!playback.possible) {
  notice("sound", "Replies are written only: browsers give sound and microphone to pages on localhost or https.");
}
const guide = new Guide({ page, notice, say });
page.ptt.checked = call.pushToTalk = settings.get("pushToTalk"); // the first press asks for the microphone
const wanted = new URLSearchParams(location.search).get("model");
watchHealth((health) => {
  guide.show(health, link.state);
}).then((health) => {
  if (health?.pack?.name) guide.showPack(health.pack); // until the key is known, by which the packs are listed
  preferred = health?.pack?.name ?? preferred;
  connection.open(wanted || settings.get("model") || preferred);
});
show();
