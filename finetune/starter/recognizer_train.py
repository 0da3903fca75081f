"""Training of the starter's recognizer: schedule, losses, checkpoints. Knows no voices, no export and no gates.

The schedule runs over the share of the compute budget that is spent, so it fits any machine; a killed run goes on from
its last checkpoint.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from finetune.measure import wer
from finetune.starter.recognizer_batch import FRAMES_PER_BATCH, IGNORED, Batch, Clips, Variation, collate
from finetune.starter.recognizer_data import Clip
from finetune.starter.recognizer_model import Network, Shape, special_tokens

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Budget:
    """When training ends; the schedule follows whichever is spent further."""

    core_minutes: float = 75.0
    wall_minutes: float = 240.0
    steps: int = 0
    """0: no limit by steps."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What changes over training, as shares of the budget."""

    peak_rate: float = 1.2e-3
    warmup_steps: int = 250
    hold_until: float = 0.3
    """From here the rate falls in a straight line to nothing."""
    phones_until: float = 0.10
    """Until here only the encoder learns, mostly phones: without it, attention takes several times as long to find
    the audio."""
    warp_from: float = 0.25
    noise_from: float = 0.35
    masks_from: float = 0.75
    warp: float = 0.8
    noise: float = 0.4
    masks: float = 0.3
    """Strengths of `Variation`: in so short a training, harder batches cost more than they teach."""
    core_from: float = 0.65
    """From here the synthetic clips are those of the domain's words alone."""
    long_pads_from: float = 0.88
    """From here some batches are padded to 10 and 30 s, for decoders that always pad."""


@dataclass(slots=True)
class Progress:
    """What a checkpoint remembers of the run besides the weights."""

    step: int = 0
    core_seconds: float = 0.0
    wall_seconds: float = 0.0

    def share(self, budget: Budget) -> float:
        """0..1: how much of the budget is spent."""
        spent = [self.core_seconds / 60 / budget.core_minutes, self.wall_seconds / 60 / budget.wall_minutes]
        return min(1.0, max([*spent, self.step / budget.steps if budget.steps else 0.0]))


class Training:
    """A network with its optimizer, averaged weights and progress, on disk as one checkpoint."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, shape: Shape, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.folder = folder
        self.seed = seed
        self.tokenizer = tokenizer
        self.special = special_tokens(tokenizer)
        self.network = Network(tokenizer.get_vocab_size(), self.special, shape)
        self.progress = Progress()
        self._trained: list[Tensor] = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self._trained, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.average = [parameter.detach().clone() for parameter in self._trained]
        """Exponential average of the weights: what is measured and exported."""
        self._bfloat16 = _bfloat16_is_faster()
        if (folder / CHECKPOINT).exists():
            self._load()

    def run(self, clips: Clips, development: dict[str, list[Clip]], budget: Budget, schedule: Schedule) -> None:
        """Trains until the budget is spent. Prints losses, rates and the time left."""
        print(f"{clips.rescan()} clips, {sum(p.numel() for p in self._trained) / 1e6:.1f} M parameters", flush=True)
        wall, core = time.monotonic(), time.process_time()
        saved = measured = self.progress.wall_seconds
        sums, steps = np.zeros(4), 0
        while (share := self.progress.share(budget)) < 1.0:
            sums += self._step(clips, share, schedule)
            self.progress.step, steps = self.progress.step + 1, steps + 1
            self.progress.wall_seconds += time.monotonic() - wall
            self.progress.core_seconds += time.process_time() - core
            wall, core = time.monotonic(), time.process_time()
            if self.progress.step % 50 == 0:
                self._report(sums / steps, budget)
                sums, steps = np.zeros(4), 0
            if self.progress.wall_seconds - saved > 150:
                self.save()
                clips.rescan()
                saved = self.progress.wall_seconds
            if self.progress.wall_seconds - measured > 480 and share > schedule.phones_until:
                print(f"development: {self.measure(development)}", flush=True)
                measured = self.progress.wall_seconds
        self.save()
        print(f"trained {self.progress.step} steps; development: {self.measure(development)}", flush=True)

    def _step(self, clips: Clips, share: float, schedule: Schedule) -> tuple[float, float, float, float]:
        """One update; the token, character and phone losses and the number of clips."""
        # Drawn from the step's own seed, so that a resumed run does not repeat the batches it has seen.
        rng = np.random.default_rng((self.seed, self.progress.step))
        only_phones = share < schedule.phones_until
        pad_to, frames = 0, FRAMES_PER_BATCH
        chance = rng.random()
        if share > schedule.long_pads_from and chance < 0.03:
            pad_to, frames = 3000, 700
        elif chance < (0.09 if share > schedule.long_pads_from else 0.02) and not only_phones:
            pad_to, frames = 1000, 1500
        batch = collate(
            clips.draw(
                rng, "aligned" if only_phones else "core" if share > schedule.core_from else "synthetic", frames
            ),
            self.tokenizer,
            self.special,
            rng,
            Variation(
                warp=schedule.warp * _ramp(share, schedule.warp_from),
                noise=schedule.noise * _ramp(share, schedule.noise_from),
                masks=schedule.masks * _ramp(share, schedule.masks_from),
            ),
            pad_to,
        )
        rate = schedule.peak_rate * min(1.0, (self.progress.step + 1) / schedule.warmup_steps)
        rate *= min(1.0, max(0.01, (1 - share) / (1 - schedule.hold_until)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        token, character, phone = self._losses(batch, only_phones)
        if only_phones:
            loss = phone + 0.3 * character
        else:
            weight = 0.6 if share < 0.4 else 0.3
            loss = (1 - weight) * token + weight * character + (0.5 if share < 0.4 else 0.2) * phone
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self.optimizer.step()
        decay = min(0.998, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self._trained, 1 - decay)
        return token.item(), character.item(), phone.item(), len(batch.mels)

    def _losses(self, batch: Batch, only_phones: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Mean token cross entropy, character CTC loss and phone cross entropy; nats."""
        nothing = torch.zeros(())
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            states = self.network.encode(batch.mels)
            characters = self.network.characters(states)
            phones = self.network.phones(states)
            logits = None if only_phones else self.network.decode(batch.inputs, states)
        token = nothing
        if logits is not None:
            token = F.cross_entropy(logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
        spoken = batch.character_counts > 0
        # Silent clips are the decoder's to learn: for CTC they are all blank, and being so long they would drown the
        # letters of every other clip.
        character = nothing
        if spoken.any():
            character = F.ctc_loss(
                characters.float().log_softmax(-1).transpose(0, 1)[:, spoken],
                batch.characters,
                batch.states[spoken],
                batch.character_counts[spoken],
                reduction="sum",
                zero_infinity=True,
            ) / len(batch.characters)
        known = batch.phones.flatten() != IGNORED
        phone = (
            F.cross_entropy(phones.float().flatten(0, 1)[known], batch.phones.flatten()[known])
            if known.any()
            else nothing
        )
        return token, character, phone

    def averaged(self) -> Network:
        """The network with the averaged weights put in; `restore` puts the trained ones back."""
        self._kept = [parameter.detach().clone() for parameter in self._trained]
        with torch.no_grad():
            for parameter, mean in zip(self._trained, self.average, strict=True):
                parameter.copy_(mean)
        return self.network

    def restore(self) -> None:
        """Undoes `averaged`."""
        with torch.no_grad():
            for parameter, kept in zip(self._trained, self._kept, strict=True):
                parameter.copy_(kept)

    def measure(self, development: dict[str, list[Clip]]) -> dict[str, str]:
        """WER of the averaged weights per development set, greedy, in per cent."""
        network = self.averaged().eval()
        figures = {}
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            for name, clips in development.items():
                pairs = []
                for clip in clips:
                    mels = torch.zeros(1, len(clip.mel) + len(clip.mel) % 2 + 40, 80)
                    mels[0, : len(clip.mel)] = torch.from_numpy(clip.mel.astype(np.float32))
                    heard = self.tokenizer.decode(network.transcribe(mels)[0]).strip()
                    pairs.append((clip.text, heard))
                figures[name] = f"{100 * wer(pairs):.1f} %"
        network.train()
        self.restore()
        return figures

    def save(self) -> None:
        """Writes the checkpoint whole or not at all."""
        content = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "progress": {
                "step": self.progress.step,
                "core_seconds": self.progress.core_seconds,
                "wall_seconds": self.progress.wall_seconds,
            },
        }
        unfinished = self.folder / f"{CHECKPOINT}.part"
        torch.save(content, unfinished)
        os.replace(unfinished, self.folder / CHECKPOINT)

    def _load(self) -> None:
        content: dict[str, Any] = torch.load(self.folder / CHECKPOINT, weights_only=True)
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.average = content["average"]
        self.progress = Progress(**content["progress"])

    def _report(self, means: np.ndarray[Any, np.dtype[np.float64]], budget: Budget) -> None:
        share, step = self.progress.share(budget), self.progress.step
        left = self.progress.wall_seconds / max(share, 1e-6) * (1 - share) / 60
        print(
            f"step {step}, {100 * share:.1f} %, {self.progress.core_seconds / 60:.1f} core-min: "
            f"tokens {means[0]:.3f}, characters {means[1]:.3f}, phones {means[2]:.3f}, "
            f"{self.progress.core_seconds / step:.2f} core-s a step, {means[3]:.0f} clips, {left:.0f} min left",
            flush=True,
        )


def _bfloat16_is_faster() -> bool:
    """Measured, since processors without bf16 instructions emulate them at a fiftieth of float32's speed."""
    seconds = []
    for kind in (torch.float32, torch.bfloat16):
        matrix = torch.ones(256, 256, dtype=kind)
        matrix @ matrix
        started = time.perf_counter()
        for _ in range(8):
            matrix @ matrix
        seconds.append(time.perf_counter() - started)
    return seconds[1] < seconds[0]


def _ramp(share: float, start: float, width: float = 0.1) -> float:
    """0 before `start`, then rising to 1 over `width`; halved at the very end, where clean detail is learnt."""
    return min(1.0, max(0.0, (share - start) / width)) * (0.5 if share > 0.92 else 1.0)
