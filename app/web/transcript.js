// Owns the transcript as a file that the caller keeps. It is made in the browser: nothing is asked of the service.

const two = (number) => String(number).padStart(2, "0");
const clock = (at) => [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
const day = (at) => [at.getFullYear(), at.getMonth() + 1, at.getDate()].map(two).join("-");

/** The turns as text, a line each; `model` is who answered. */
export function written(turns, model) {
  const lines = turns.map(({ name, text, mark, at }) => `${clock(at)}  ${name}: ${text}${mark ? ` (${mark})` : ""}`);
  return `Parley, ${model}, ${day(turns[0].at)}\n\n${lines.join("\n")}\n`;
}

/** Gives the browser a file to save. */
export function download(turns, model) {
  const at = turns[0].at;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([written(turns, model)], { type: "text/plain;charset=utf-8" }));
  link.download = `parley-${day(at)}-${two(at.getHours())}${two(at.getMinutes())}.txt`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it meanwhile
}
