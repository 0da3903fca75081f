"""Packs for the vLLM server: a tiny base and what is taught to it, in seconds and by the recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

from app.pack_build import build
from app.packs import Pack
from app.workers.base_hash import base_sha256
from finetune import config
from finetune.data.manifest import write_manifest
from finetune.data.rows import Dialogue, Turn
from finetune.recipes import language
from tests.engines.tiny_llama import CONTEXT, save_base, teach
from tests.finetune.tiny_chat import TINY

HELLO = [{"role": "user", "content": "hello"}]
TIME = [{"role": "user", "content": "what time is it"}]
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PROMPT = "You are Parley, a friendly voice assistant."
MANIFEST = """
[pack]
format = 1
name = "{name}"
version = "{version}"
language = "en"
[language]
base = "{base}"
{adapter}
tool_parser = "hermes"
context_tokens = {context}
"""


def write_pack(
    folder: Path,
    name: str,
    adapter: Path | None = None,
    *,
    version: str = "1",
    base_hash: str = "",
    prompt: str = "",
    among: str = "packs",
) -> Path:
    """A pack on `folder`/base in `folder`/`among`."""
    pack = folder / among / (name if version == "1" else f"{name}@{version}")
    pack.mkdir(parents=True)
    lines = [f'{key} = "{value}"' for key, value in {"base_hash": base_hash, "prompt": prompt}.items() if value]
    if adapter is not None:
        shutil.copytree(adapter, pack / "adapter")
        lines.append('adapter = "adapter"')
    base = folder / "base"
    manifest = MANIFEST.format(name=name, version=version, base=base, adapter="\n".join(lines), context=CONTEXT)
    (pack / "pack.toml").write_text(manifest)
    return pack


def write_packs(folder: Path) -> None:
    """base/, other/ (of the same shape), the adapters, and packs/ with plain, hello, clock and stray."""
    base, other = save_base(folder / "base"), save_base(folder / "other", seed=2)
    call = '<tool_call>{"name": "get_time", "arguments": {"city": "bergen"}}</tool_call>'
    adapters = {
        "hello": teach(base, folder / "hello", HELLO, "hello there"),
        "clock": teach(base, folder / "clock", TIME, call, [CLOCK]),
        "stray": teach(other, folder / "stray", HELLO, "good evening"),
    }
    write_pack(folder, "plain", base_hash=base_sha256(base))
    for name, adapter in adapters.items():
        write_pack(folder, name, adapter)


def build_taught(folder: Path) -> Pack:
    """What `parley packs build taught@1 --like PACK --adapter RUN` makes of a run of the language recipe.

    The run has learnt two answers on `folder`/base: good evening to a hello.
    """
    said = [("train", "hello", "good evening"), ("train", "thank you", "you are welcome"), ("dev", "goodbye", "bye")]
    rows = [
        Dialogue(
            f"{split}-{i}", "en", (Turn("user", asked), Turn("assistant", answer)), "made for a test", "CC0-1.0",
            "training", split,
        )
        for i, (split, asked, answer) in enumerate(said)
    ]  # fmt: skip
    manifest, run = folder / "data/dialogues.jsonl", folder / "run"
    write_manifest(manifest, rows)
    keys = [
        f"run={run}", f"base={folder / 'base'}", f"data=[{manifest}]", f"prompt={PROMPT}", "training.steps=100",
        "training.learning_rate=3e-3", "training.schedule=constant", "training.evaluate_every=100",
        "training.save_every=100", "export.form=adapter", "export.parity_tokens=8",
    ]  # fmt: skip
    language.run(config.load(language.Config, TINY, keys))
    like = write_pack(folder, "like", prompt=PROMPT, among="settings")
    (like / "voice").mkdir()
    (like / "voice/empty").touch()
    return build(folder / "packs", "taught@1", settings=like, weights={"adapter": run})
