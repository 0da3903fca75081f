// Owns the question whether the service and its workers are there, and the words for it. Knows no page or socket.

const CALM_MS = 10000;
const WORRIED_MS = 3000; // while something is missing, so that its return is soon seen
const ANSWER_MS = 4000;

const WITHOUT = {
  recognizer: "The recognizer is not answering: speech is not understood at the moment. Typed requests still work.",
  language: "The language model is not answering: there are no replies at the moment.",
  synthesizer: "The synthesizer is not answering: replies cannot be spoken at the moment.",
};

/**
 * Polls GET /health while the page is visible. Calls onHealth(answer), or onHealth(null) when
 * nobody answers. Resolves to the first answer.
 */
export function watchHealth(onHealth) {
  let timer = 0;
  const ask = async () => {
    clearTimeout(timer);
    const health = await fetch("/health", { signal: AbortSignal.timeout(ANSWER_MS) })
      .then((answer) => answer.json())
      .catch(() => null);
    onHealth(health);
    if (!document.hidden) timer = setTimeout(ask, health?.status === "ok" ? CALM_MS : WORRIED_MS);
    return health;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
  return ask();
}

/** [{stage, down, words}] of a health answer; words is what to tell the caller. */
export function stages(health) {
  return Object.entries(health.workers ?? {}).map(([stage, { state }]) => ({
    stage,
    down: state !== "ok",
    words: WITHOUT[stage] ?? `The ${stage} is not answering.`,
  }));
}
