// @openai/agents-realtime in Node: spoken, pushed, typed and interrupted turns, and a function.
// PARLEY_URL is the service, PARLEY_PCM a file with the recorded question, PCM16 at 24 kHz with silence behind it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { z } from "zod";

const URL = process.env.PARLEY_URL.replace("http", "ws") + "/v1/realtime?model=gpt-realtime";
const QUESTION = readFileSync(process.env.PARLEY_PCM);
const PATIENCE = 90_000;
const TRANSCRIBED = "conversation.item.input_audio_transcription.completed";

async function connected(config, work, tools = []) {
  const agent = new RealtimeAgent({ name: "Anna", instructions: "", tools });
  const session = new RealtimeSession(agent, { transport: "websocket", config, tracingDisabled: true });
  const log = [];
  const waiting = new Set();
  const errors = [];
  session.on("error", ({ error }) => errors.push(error));
  session.on("transport_event", (event) => {
    log.push(event);
    for (const wake of [...waiting]) wake();
  });
  // The count-th event of a type, from the beginning of the session.
  const event = (type, count = 1) =>
    new Promise((found, failed) => {
      const late = setTimeout(
        () => failed(new Error(`no ${type} among ${log.map((one) => one.type)}; ${JSON.stringify(errors)}`)),
        PATIENCE,
      );
      const look = () => {
        const all = log.filter((one) => one.type === type);
        if (all.length < count) return;
        clearTimeout(late);
        waiting.delete(look);
        found(all[count - 1]);
      };
      waiting.add(look);
      look();
    });
  await session.connect({ apiKey: "unused", url: URL });
  try {
    await event("session.updated");
    await work({ session, log, event });
  } finally {
    session.close();
  }
  assert.deepEqual(errors, []);
}

function say(session, pcm) {
  for (let start = 0; start < pcm.length; start += 4800) {
    const chunk = pcm.subarray(start, start + 4800);
    session.sendAudio(chunk.buffer.slice(chunk.byteOffset, chunk.byteOffset + chunk.length));
  }
}

function assertHeard(text) {
  const missing = ["we", "ever", "forget", "it"].filter((word) => !text.toLowerCase().split(/\W+/).includes(word));
  assert.ok(missing.length <= 1, text);
}

const textOf = (log, type) => log.filter((one) => one.type === type).map((one) => one.delta).join("");

test("a recorded question is heard and answered, and the history is in order", async () => {
  const audio = { input: { transcription: { model: "gpt-4o-transcribe" }, turnDetection: { type: "server_vad" } } };
  await connected({ audio }, async ({ session, log, event }) => {
    let bytes = 0;
    session.on("audio", ({ data }) => (bytes += data.byteLength));
    say(session, QUESTION);
    assertHeard((await event(TRANSCRIBED)).transcript);
    const done = await event("response.done");
    assert.equal(done.response.status, "completed");
    assert.ok(bytes > 24_000, `${bytes} bytes of audio`);
    await event("conversation.item.retrieved"); // the client asks for the item that was transcribed
    const [user, assistant] = session.history;
    assert.equal(session.history.length, 2);
    assert.equal(user.role, "user");
    assertHeard(user.content[0].transcript);
    assert.equal(assistant.content[0].transcript, textOf(log, "response.output_audio_transcript.delta"));
  });
});

test("push to talk", async () => {
  const audio = { input: { transcription: { model: "gpt-4o-transcribe" }, turnDetection: null } };
  await connected({ audio }, async ({ session, log, event }) => {
    say(session, QUESTION);
    session.transport.sendEvent({ type: "input_audio_buffer.commit" });
    session.transport.sendEvent({ type: "response.create" });
    assert.equal((await event("response.done")).response.status, "completed");
    assertHeard((await event(TRANSCRIBED)).transcript);
    assert.ok(!log.some((one) => one.type === "input_audio_buffer.speech_started"));
  });
});

test("a typed question is answered in writing", async () => {
  await connected({ outputModalities: ["text"] }, async ({ session, log, event }) => {
    session.sendMessage("what is twelve plus thirty");
    await event("response.done");
    assert.match(textOf(log, "response.output_text.delta"), /42|forty.two/i);
    assert.equal(session.history.length, 2);
  });
});

test("speaking over a reply, with the default turn detection", async () => {
  await connected({}, async ({ session, event }) => {
    let interruptions = 0;
    session.on("audio_interrupted", () => (interruptions += 1));
    session.sendMessage("tell me a story");
    await event("response.output_audio.delta");
    say(session, QUESTION);
    const done = await event("response.done");
    assert.equal(done.response.status_details.reason, "turn_detected");
    await event("conversation.item.truncated"); // sent by the client, of what it has played
    say(session, Buffer.alloc(24_000 * 2 * 8));
    assert.equal((await event("response.done", 2)).response.status, "completed");
    assert.ok(interruptions > 0);
  });
});

test("interrupted by hand", async () => {
  await connected({}, async ({ session, event }) => {
    session.sendMessage("tell me a story");
    await event("response.output_audio.delta");
    session.interrupt();
    assert.equal((await event("response.done")).response.status, "cancelled");
    session.sendMessage("hello");
    assert.equal((await event("response.done", 2)).response.status, "completed");
  });
});

test("a function that must be called is called with arguments of its schema", async () => {
  const calls = [];
  let open;
  const book = tool({
    name: "book_table",
    description: "Books a table in a restaurant",
    parameters: z.object({ guests: z.number().int(), place: z.string() }),
    execute: async (given) => {
      calls.push(given);
      open.transport.sendEvent({ type: "session.update", session: { type: "realtime", tool_choice: "none" } });
      return "booked";
    },
  });
  await connected({ toolChoice: "required" }, async ({ session, event }) => {
    open = session;
    session.sendMessage("book a table for four at the harbour");
    const [call] = (await event("response.done")).response.output;
    assert.equal(call.name, "book_table");
    const answer = (await event("response.done", 2)).response; // the client sends the result and asks for it
    assert.equal(answer.status, "completed");
    assert.equal(calls.length, 1);
    assert.ok(Number.isInteger(calls[0].guests) && typeof calls[0].place === "string");
  }, [book]);
});
