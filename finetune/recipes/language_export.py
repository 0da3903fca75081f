"""The trained language model in the forms that workers serve, each proved against the trainer. Knows no training.

EXPORT/adapter     safetensors of the LoRA, and parley_base.json: for vLLM
EXPORT/hf          the merged model as transformers has it
EXPORT/language    the merged model for the embedded engine: CTranslate2
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from app.packs import LanguageSettings, Pack
from app.workers import connect
from app.workers.adapters import BASE_FILE, check_adapter
from app.workers.base import ChatRequest, LanguageModel, Message, TextDelta, Tool, ToolCall
from app.workers.base_hash import base_sha256
from app.workers.hermes import HermesParser, ParsedCall
from finetune import near_ties, threads
from finetune.data.rows import Dialogue
from finetune.errors import ExportError, ParityError
from finetune.recipes.language_config import Export
from finetune.recipes.language_rows import Encoder
from finetune.run import Run, write_whole

SERVED = ("tokenizer.json", "chat_template.jinja", "generation_config.json")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A dialogue of dev up to a reply."""

    dialogue: Dialogue
    """As far as the reply."""
    messages: list[Message]
    tools: list[Tool]
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was written: text, and calls as (name, arguments)."""

    text: str
    calls: tuple[tuple[str, str], ...] = ()


def export(
    run: Run, model: Any, tokenizer: Any, encoder: Encoder, dev: Sequence[Dialogue], base: Path, name: str, how: Export
) -> None:
    """Writes the forms asked for; a PEFT model is merged by that. Notes parity in the run's facts.

    Raises ParityError, with nothing left to serve, where one of them answers otherwise than the model.
    """
    from peft import PeftModel

    shutil.rmtree(run.export, ignore_errors=True)  # of an export that was killed
    model = model.float().eval()
    tokens = how.parity_tokens
    prompts = prompts_of(encoder, dev, how.parity_prompts)
    answers = [greedy(model, tokenizer, prompt.ids, tokens) for prompt in prompts]
    parity: dict[str, dict[str, int]] = {}
    try:
        if how.form in ("both", "adapter"):
            folder = run.export / "adapter"
            save_adapter(model, folder, base, name)
            again = reloaded(base, folder).to(model.device)
            found = [greedy(again, tokenizer, prompt.ids, tokens) for prompt in prompts]
            del again
            parity["adapter"] = compare(
                "adapter", model, tokenizer, prompts, answers, found, tokens=tokens, tie_nats=0.0
            )
        if how.form in ("both", "merged"):
            merged = model.merge_and_unload() if isinstance(model, PeftModel) else model
            save_merged(merged, tokenizer, run.export / "hf")
            convert(run.export / "hf", run.export / "language", how.quantization)
            found = served(run.export, prompts, tokens)
            parity["merged"] = compare(
                "language", merged, tokenizer, prompts, answers, found, tokens=tokens, tie_nats=how.tie_nats
            )
    except ParityError as error:
        converted = (run.export / "language").exists()
        rounded = converted and served(run.export, prompts, tokens, compute_type="float32") == answers
        shutil.rmtree(run.export)
        why = (
            f"; in float32 it answers as the trainer, so rounding to int8 is to blame: {near_ties.UNROUNDED}"
            if rounded
            else ""
        )
        raise ParityError(error.message + why) from error
    run.note(export=sorted(path.name for path in run.export.iterdir()), parity=parity)
    for form, counts in parity.items():
        print(
            f"{form}: {counts['same']} of {counts['prompts']} replies are the trainer's, {counts['ties']} near ties, "
            f"{counts['refused']} calls of tools that are not there"
        )


def end_tokens(model: Any) -> list[int]:
    """Tokens that end a reply of this model. Raises ExportError where nothing says."""
    ends = model.generation_config.eos_token_id
    ends = model.config.eos_token_id if ends is None else ends
    if ends is None:
        raise ExportError("the base names no token that ends a reply, expected eos_token_id in generation_config.json")
    return list(ends) if isinstance(ends, list) else [ends]


def save_adapter(model: Any, folder: Path, base: Path, name: str) -> None:
    """The LoRA as PEFT writes it, with the hash of its base."""
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    modules = sorted(config["target_modules"])  # a set to PEFT, which writes it in another order each time
    named = {**config, "base_model_name_or_path": name, "target_modules": modules}
    write_whole(folder / "adapter_config.json", json.dumps(named, indent=2))
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    digest = base_sha256(base)
    write_whole(folder / BASE_FILE, json.dumps({"base_sha256": digest}) + "\n")
    check_adapter(folder, digest)


def reloaded(base: Path, folder: Path) -> Any:
    """The base as it lies on disk with the adapter as it lies on disk."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, folder).eval()


def save_merged(model: Any, tokenizer: Any, folder: Path) -> None:
    """A Hugging Face folder: weights, tokenizer, template, and how replies end."""
    model.config.use_cache = True
    model.generation_config.eos_token_id = end_tokens(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")


def convert(folder: Path, target: Path, quantization: str) -> None:
    """A Hugging Face folder to what the embedded engine loads. Raises ExportError."""
    from ctranslate2.converters import TransformersConverter

    try:
        TransformersConverter(str(folder)).convert(str(target), quantization=quantization, force=True)
    except ValueError as error:  # an architecture that CTranslate2 has no converter for
        raise ExportError(f"{folder} cannot be converted, expected what CTranslate2 knows: {error}") from error
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    # A tokenizer without a first or an unknown token gives null, which CTranslate2 writes and then refuses to load.
    write_whole(
        target / "config.json",
        json.dumps({name: "" if value is None else value for name, value in config.items()}, indent=2),
    )
    for name in SERVED:
        shutil.copyfile(folder / name, target / name)


def prompts_of(encoder: Encoder, dialogues: Sequence[Dialogue], count: int) -> list[Prompt]:
    """Up to `count` prompts, one a dialogue and spread over them, each up to the dialogue's last reply."""
    found = []
    step = max(1, len(dialogues) // max(1, count))
    for dialogue in dialogues[::step][:count]:
        messages = encoder.messages(dialogue)
        last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=0)
        if last:
            before, tools = messages[:last], list(dialogue.tools)
            turns = dialogue.turns[: last - (len(messages) - len(dialogue.turns))]  # without the recipe's instructions
            asked = dataclasses.replace(dialogue, turns=turns)
            found.append(Prompt(asked, before, tools, encoder.prompt(before, tools)))
    if not found:
        raise ExportError("got no prompt from dev to prove the export with, expected parity_prompts of at least 1")
    return found


def greedy(model: Any, tokenizer: Any, ids: Sequence[int], tokens: int) -> Answer:
    """The trainer's likeliest reply, token by token."""
    prompt = torch.tensor([ids], device=model.device)
    with torch.no_grad():
        written = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            max_new_tokens=tokens,
            eos_token_id=end_tokens(model),
            pad_token_id=end_tokens(model)[0],
            use_cache=True,
        )[0, len(ids) :]
    return answer_of(tokenizer, written.tolist())


def served(folder: Path, prompts: Sequence[Prompt], tokens: int, *, compute_type: str = "int8") -> list[Answer]:
    """Replies of the embedded engine, asked as the service asks it: in int8."""
    context = 4 * (max(len(prompt.ids) for prompt in prompts) + tokens)  # no turn is left out
    settings = LanguageSettings(path="language", max_tokens=tokens, context_tokens=context)
    pack = Pack(folder=folder, name="export", version="1", language="und", language_model=settings)
    with threads.kept():
        engine = connect.load_language(pack, compute_type=compute_type)
        return asyncio.run(_replies(engine, prompts, tokens))


def compare(
    form: str,
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    expected: Sequence[Answer],
    found: Sequence[Answer],
    *,
    tokens: int,
    tie_nats: float,
) -> dict[str, int]:
    """Counts of prompts, of the same replies and of near ties. Raises ParityError at the first other reply.

    Where the trainer calls a tool that was not declared, nothing is compared: the service refuses such a reply.
    """
    ties = refused = 0
    for prompt, ours, theirs in zip(prompts, expected, found, strict=True):
        if {name for name, _ in ours.calls} - {str(tool["function"]["name"]) for tool in prompt.tools}:
            refused += 1
            continue
        if ours == theirs:
            continue
        nats = behind(model, tokenizer, prompt.ids, theirs, tokens)
        if nats > tie_nats:
            raise ParityError(
                f"{form}: on dialogue {prompt.dialogue.id} the exported model answers {theirs}, expected {ours}; the "
                f"trainer finds a token of it {nats:.2f} nats behind its own, tie_nats allows {tie_nats:g}"
            )
        ties += 1
    return {"prompts": len(prompts), "same": len(prompts) - ties - refused, "ties": ties, "refused": refused}


def behind(model: Any, tokenizer: Any, ids: Sequence[int], answer: Answer, tokens: int) -> float:
    """By how many nats the model's own choice is ahead, at most, on the way to an answer that it finds best.

    Infinity where there is no such way.
    """

    def scores(written: list[int]) -> torch.Tensor:
        with torch.no_grad():
            given = torch.tensor([[*ids, *written]], device=model.device)
            return torch.as_tensor(model(input_ids=given).logits[0, -1].float().log_softmax(-1))

    return near_ties.behind(
        scores,
        lambda written: _leads_to(answer, answer_of(tokenizer, written, ended=False)),
        lambda written: answer_of(tokenizer, written) == answer,
        end_tokens(model),
        tokens,
    )


def answer_of(tokenizer: Any, written: Sequence[int], *, ended: bool = True) -> Answer:
    """Tokens as the service reads them; where the reply goes on, only what is certain by now."""
    parser = HermesParser()
    text = tokenizer.backend_tokenizer.decode(list(written), skip_special_tokens=True)
    parts = parser.feed(text if ended else text.rstrip("\N{REPLACEMENT CHARACTER}"))  # half a letter
    parts += parser.finish() if ended else []
    calls = tuple((part.name, part.arguments) for part in parts if isinstance(part, ParsedCall))
    return Answer("".join(part for part in parts if isinstance(part, str)), calls)


def _leads_to(answer: Answer, so_far: Answer) -> bool:
    return answer.text.startswith(so_far.text) and answer.calls[: len(so_far.calls)] == so_far.calls


async def _replies(engine: LanguageModel, prompts: Sequence[Prompt], tokens: int) -> list[Answer]:
    answers = []
    for prompt in prompts:
        text, calls = "", []
        asked = ChatRequest(prompt.messages, prompt.tools, max_tokens=tokens, temperature=0.0)
        async for part in engine.reply(asked):
            if isinstance(part, TextDelta):
                text += part.text
            elif isinstance(part, ToolCall):
                calls.append((part.name, part.arguments))
        answers.append(Answer(text, tuple(calls)))
    return answers
