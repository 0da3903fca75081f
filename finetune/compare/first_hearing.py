"""A new recognizer's first lesson: which sound each moment is, and which moments each token is written from.

Made-up speech says when each sound ends. Without that lesson a small Whisper finds no alignment within minutes of a
CPU; with it the ordinary recipe goes on from there. B rows, T mel frames, S encoder states (T / 2), L tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from finetune.checkpoint import seed_everything
from finetune.compare.formants import LETTERS
from finetune.compare.small_language import sounds
from finetune.data.rows import Utterance
from finetune.joint.byte_spans import token_spans
from finetune.loop import Training
from finetune.recipes.recognizer_clips import Features, padded_frames
from finetune.recipes.recognizer_config import Config
from finetune.recipes.recognizer_model import Network, load
from finetune.recipes.recognizer_rows import IGNORED, Encoder

STATE_SECONDS: Final = 0.02
ROWS: Final = 16
RATE: Final = 2e-3
MARGIN_SECONDS: Final = 0.1
"""Of silence behind a clip, as the recipe and the pack have it."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One clip."""

    mel: Tensor
    """[M, T]."""
    given: list[int]
    """Prompt and tokens [L]."""
    expected: list[int]
    """What is written after each of them [L]."""
    sounds: list[int]
    """Of each encoder state; 0 is silence."""
    times: list[tuple[int, int]]
    """Encoder states [begin, end) from which each of `expected` is written; empty where it is none."""


def teach(folder: Path, rows: Sequence[Utterance], seed: int, steps: int) -> None:
    """Trains the Whisper in a Hugging Face folder, and writes it back. The audio of rows is a path."""
    training = Training(steps=steps, learning_rate=RATE, threads=1, device="cpu")
    config = Config("", str(folder), (), training, text="words", margin_seconds=MARGIN_SECONDS, spec_augment=0.0)
    torch.set_num_threads(training.threads)
    network, tokenizer = load(folder, config)
    encoder = Encoder(tokenizer.backend_tokenizer, network.multilingual, config.text)
    features = Features(config, network.whisper.config.num_mel_bins)
    lessons = [_lesson(row, seed, features, encoder, tokenizer.backend_tokenizer) for row in rows]
    seed_everything(seed)
    head = nn.Linear(network.whisper.config.d_model, len(LETTERS) + 1)
    weights = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE)
    draw = random.Random(seed)
    network.train()
    for step in range(steps):
        share = min(1.0, (step + 1) / 30) * min(1.0, 2 * (1 - step / steps))
        for group in optimizer.param_groups:
            group["lr"] = RATE * share
        losses = loss(network, head, draw.sample(lessons, min(ROWS, len(lessons))), config)
        total = torch.stack(list(losses.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0 or step == steps - 1:
            print(
                f"first hearing, step {step}: {', '.join(f'{n} {v.item():.3f}' for n, v in losses.items())}", flush=True
            )
    network.whisper.save_pretrained(folder)


def loss(network: Network, head: nn.Module, lessons: Sequence[Lesson], config: Config) -> dict[str, Tensor]:
    """Cross-entropy of text and of sounds, and how little of the attention lies where a token is said."""
    frames = padded_frames(max(one.mel.shape[1] for one in lessons), config, whole=False)
    mels = torch.stack([functional.pad(one.mel, (0, frames - one.mel.shape[1])) for one in lessons])
    states = network.encode(mels)  # [B, S, D]
    longest = max(len(one.given) for one in lessons)
    given = torch.tensor([one.given + [0] * (longest - len(one.given)) for one in lessons])
    expected = torch.tensor([one.expected + [IGNORED] * (longest - len(one.expected)) for one in lessons])
    made = network.whisper.model.decoder(
        input_ids=given, encoder_hidden_states=states, use_cache=False, output_attentions=True
    )
    logits = network.whisper.proj_out(made.last_hidden_state)
    heard = torch.zeros(states.shape[:2], dtype=torch.long)
    for row, one in enumerate(lessons):
        heard[row, : len(one.sounds)] = torch.tensor(one.sounds[: heard.shape[1]])
    attended = torch.stack(made.cross_attentions).mean((0, 2))  # over layers and heads: [B, L, S]
    aimed = [
        attended[row, place, begin:end].sum()
        for row, one in enumerate(lessons)
        for place, (begin, end) in enumerate(one.times)
        if end > begin
    ]
    return {
        "text": functional.cross_entropy(logits.flatten(0, 1), expected.flatten(), ignore_index=IGNORED),
        "sounds": functional.cross_entropy(head(states).flatten(0, 1), heard.flatten()),
        "attention": -torch.stack(aimed).clamp(min=1e-4).log().mean(),
    }


def _lesson(row: Utterance, seed: int, features: Features, encoder: Encoder, tokenizer: Any) -> Lesson:
    mel = torch.from_numpy(features.of(row, 0))
    target = encoder.target(row)
    states: list[int] = []
    letters: list[tuple[int, int]] = []  # states of each letter of the text, which a stop's two halves share
    for sound, end in sounds(row, seed):
        until = round(end / STATE_SECONDS)
        begin = len(states)
        states += [LETTERS.find(sound) + 1] * (until - begin)
        letters.append((begin, max(until, begin + 1)))
    spans = _letters(row, seed, letters)
    _, covered = token_spans(tokenizer, " " + row.text)
    times = [(spans[first][0], spans[last - 1][1]) for first, last in covered]
    before = len(target.given) - len(times)
    return Lesson(mel, list(target.given), list(target.expected), states, [*[(0, 0)] * before, *times, (0, 0)])


def _letters(row: Utterance, seed: int, parts: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Encoder states of each letter of " " + text: the parts of one sound are put together."""
    names = [name for name, _ in sounds(row, seed)]
    found: list[tuple[int, int]] = []
    place = 0
    for letter in " " + row.text:
        begin, end = parts[place]
        place += 1
        if letter in "pktbdg":  # closure and burst
            end = parts[place][1]
            place += 1
        assert names[place - 1] == letter
        found.append((begin, end))
    return found
