"""One step of joint training: a batch of each kind, the separate losses, and the edges between the models.

Knows no schedule but that of the edges, and no files. Losses are means over tokens, or over clips.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from app.spoken import spoken_form
from app.workers.whisper_windows import Window
from finetune import processes
from finetune.data.rows import Dialogue
from finetune.joint import transcript_edge
from finetune.joint.byte_spans import token_spans
from finetune.joint.chain_edge import chain_loss
from finetune.joint.edges import Crossing
from finetune.joint.hypotheses import drawn, likeliest, log_probabilities, scores
from finetune.joint.log_mel import LogMel
from finetune.joint.losses import agreement, distinct, expected_loss
from finetune.joint.token_table import heard_embeddings, token_table
from finetune.joint.transcript_edge import Heard, Transcripts
from finetune.recipes import language
from finetune.recipes.joint_pairs import Pair, features, last_reply, said_in, until_reply
from finetune.recipes.joint_parts import Parts
from finetune.recipes.language_rows import IGNORED, Row, tensors
from finetune.recipes.recognizer_clips import padded_frames
from finetune.recipes.recognizer_measure import loss as heard_loss
from finetune.recipes.recognizer_rows import Target

EDGES = ("transcript", "chain", "reply_to_voice", "sequence", "unpaired")
HALF = 0.5
"""Weight of the language model's loss on the right text, and as much on transcripts."""


class Step:
    """Batches, losses and measures of the stages in which the models meet."""

    def __init__(self, parts: Parts, *, separate: Sequence[str], edges: Sequence[str], every: int = 1) -> None:
        """`separate`: which models have their own losses; `edges`: which edges count, in each `every`-th step."""
        self._parts, self._separate, self._edges, self._every = parts, separate, edges, every
        recognizer, chat = parts.recognizer, parts.language
        self.crossings = {name: Crossing() for name in edges}
        end = recognizer.vocabulary.end
        spoken = spoken_form if parts.config.spoken_input else str
        self._transcripts = Transcripts(chat.encoder, recognizer.tokenizer.backend_tokenizer, end, spoken)
        self._embeddings = chat.model.get_input_embeddings()
        self._table = token_table(
            recognizer.tokenizer.backend_tokenizer,
            chat.encoder.tokenizer,
            until=end,
            rows=recognizer.network.whisper.config.vocab_size,
            columns=self._embeddings.num_embeddings,
        )
        self._log_mel = LogMel(recognizer.network.whisper.config.num_mel_bins)
        self._example = recognizer.data.train[0]

    def batch(self, number: int) -> dict[str, Any]:
        """A batch of each model's own, pairs with their windows, and texts; by number."""
        parts = self._parts
        own = {"recognizer": parts.recognizer.batches, "language": parts.language.batches, "voice": parts.voice.task}
        made: dict[str, Any] = {name: own[name].batch(number) for name in self._separate}  # type: ignore[attr-defined]
        turn, process = divmod(number, processes.count())  # all processes have edges in the same steps
        if turn % self._every:
            return made
        nth = turn // self._every * processes.count() + process
        pairs = parts.pairs.batch(nth)
        windows = parts.pairs.windows(pairs)
        heard = [i for i, window in enumerate(windows) if window.frames]
        made |= {"number": number, "pairs": [pairs[i] for i in heard], "windows": [windows[i] for i in heard]}
        made["mels"] = features(made["windows"]) if heard else torch.zeros(0)
        chance = random.Random(f"texts {parts.recognizer.config.training.seed} {number}")
        made["texts"] = chance.sample(list(parts.texts), min(parts.config.rows, len(parts.texts)))
        if parts.unpaired and "unpaired" in self._edges:
            made["unpaired"] = parts.unpaired.batch(nth)
        return made

    def losses(self, step: int, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weighted, by name."""
        parts, edges = self._parts, self._parts.config.edges
        found: dict[str, Tensor] = {}
        if "recognizer" in batch:
            found["recognizer_loss"] = _mean(heard_loss(parts.recognizer.network, batch["recognizer"]))
        if "language" in batch:
            found["language_loss"] = HALF * _mean(language.loss(parts.language.model, batch["language"]))
        if "voice" in batch:
            found["voice_loss"] = _mean(parts.voice.task.loss(parts.voice.task.model, batch["voice"]))
        if "pairs" not in batch:
            return found
        if self._on("transcript", step) and batch["pairs"]:
            found |= self._transcript(step, batch)
        if self._on("sequence", step) and batch["pairs"]:
            found["sequence_loss"] = edges.sequence.weight * self._sequence(step, batch)
        if self._on("chain", step) and batch["texts"]:
            found["chain_loss"] = edges.chain.weight * self._chain("chain", step, batch["texts"])
        if self._on("reply_to_voice", step) and batch["pairs"]:
            found["reply_to_voice_loss"] = edges.reply_to_voice.weight * self._replies(step, batch["pairs"])
        if self._on("unpaired", step) and "unpaired" in batch:
            own = batch["unpaired"]
            found["unpaired_loss"] = edges.unpaired.weight * _mean(heard_loss(parts.recognizer.network, own["heard"]))
            if edges.chain.weight:
                found["unpaired_chain_loss"] = edges.chain.weight * self._chain("unpaired", step, own["texts"])
        return found

    @torch.no_grad()
    def dev(self) -> dict[str, float]:
        """All three models, the first measure being the sum of the logarithms of their losses: no model's unit counts
        more than another's. The language model's is that of replies after what the recognizer writes now."""
        parts = self._parts
        found = dict(parts.recognizer.dev.measure(parts.recognizer.network))
        found["dev_voice_loss"] = next(iter(parts.voice.task.dev(parts.voice.task.model).values()))
        summed = counted = 0.0
        heard = self.heard(parts.dev_pairs)
        replies = [one.row if one else self._unheard(pair) for one, pair in zip(heard, parts.dev_pairs, strict=True)]
        for first in range(0, len(replies), parts.language.config.rows):
            rows = replies[first : first + parts.language.config.rows]
            loss, count = language.loss(parts.language.model, _moved(tensors([[row] for row in rows]), self._device))
            summed, counted = summed + float(loss), counted + count
        found["dev_reply_loss"] = summed / max(1.0, counted)
        parts_of_it = [found["dev_loss"], found["dev_reply_loss"], found["dev_voice_loss"]]
        together = sum(float(torch.tensor(max(one, 1e-6)).log()) for one in parts_of_it)
        return {"dev_together": together, **found}

    def written(self, pairs: Sequence[Pair]) -> list[list[int]]:
        """What the recognizer hears in each clip now, as in the service; nothing where nobody speaks."""
        return self._likeliest(self._parts.pairs.windows(pairs), pairs)

    def transcripts(self, pairs: Sequence[Pair]) -> list[str]:
        """`written` as the language model reads it."""
        return [self._transcripts.read(ids) for ids in self.written(pairs)]

    def heard(self, pairs: Sequence[Pair]) -> list[Heard | None]:
        """Dialogues with what the recognizer hears now; None where that is nothing."""
        written = self.written(pairs)
        return [self._transcripts.heard(pair.dialogue, ids) for pair, ids in zip(pairs, written, strict=True)]

    def _unheard(self, pair: Pair) -> Row:
        """Where nothing was heard the reply is measured after no words: to hear nothing must not look better."""
        return last_reply(self._parts.language.encoder.rows(said_in(pair.dialogue, ""))[-1])

    def _transcript(self, step: int, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        parts, edge = self._parts, self._parts.config.edges.transcript
        pairs, end = batch["pairs"], parts.recognizer.vocabulary.end
        mels, prompts = batch["mels"], self._prompts(pairs)
        written = self._likeliest(batch["windows"], pairs)
        logits = scores(parts.recognizer.network, mels, prompts, written, end)  # [B, N + 1, Vw]
        logits = self.crossings["transcript"](logits, edge.scale(step))
        self._table = self._table.to(logits.device)
        words = heard_embeddings(self._table, self._embeddings.weight)
        heard, soft, dialogues = [], [], []
        for row, (pair, ids) in enumerate(zip(pairs, written, strict=True)):
            one = self._transcripts.heard(pair.dialogue, ids)
            if one is not None:
                posteriors = (logits[row, : len(ids)].float() / parts.config.temperature).softmax(-1)
                heard.append(one)
                soft.append(posteriors @ words)
                dialogues.append(pair.dialogue)
        if not heard:
            return {}
        made = transcript_edge.inputs(heard, soft, self._embeddings)
        replies = self._reply_logits(made)
        found = {"transcript_loss": HALF * edge.weight * _cross_entropy(replies, made["labels"])}
        if weight := parts.config.edges.agreement:
            found["agreement_loss"] = weight * self._agreement(dialogues, replies, made["labels"])
        return found

    def _agreement(self, dialogues: Sequence[Dialogue], replies: Tensor, labels: Tensor) -> Tensor:
        """Mean over the tokens of replies; a reply that is cut otherwise after the other text is left out."""
        rows = [self._parts.language.encoder.rows(until_reply(row))[-1] for row in dialogues]
        rows = [last_reply(row) for row in rows]
        batch = _moved(tensors([[row] for row in rows]), self._device)
        with torch.no_grad():
            wanted = self._reply_logits(batch)
        total, count = replies.sum() * 0, 0
        for row in range(len(rows)):
            right, heard = batch["labels"][row], labels[row]
            right_at, heard_at = ((one[1:] != IGNORED).nonzero()[:, 0] for one in (right, heard))
            if torch.equal(right[1:][right_at], heard[1:][heard_at]):
                total = total + agreement(wanted[row, right_at], replies[row, heard_at])
                count += len(right_at)
        return total / max(1, count)

    def _sequence(self, step: int, batch: Mapping[str, Any]) -> Tensor:
        parts, edge = self._parts, self._parts.config.edges.sequence
        network, end = parts.recognizer.network, parts.recognizer.vocabulary.end
        chance = torch.Generator().manual_seed(batch["number"])
        losses = []
        for row, pair in enumerate(batch["pairs"]):
            mels, prompts, window = batch["mels"][row : row + 1], self._prompts([pair]), batch["windows"][row]
            best = self._likeliest([window], [pair])
            many = [
                drawn(network, mels, prompts, window.longest, end, chance)[0] for _ in range(parts.config.hypotheses)
            ]
            found = [ids for ids in distinct([*best, *many]) if self._transcripts.read(ids)]
            if len(found) < 2:
                continue
            costs = []
            for ids in found:
                one = self._transcripts.heard(pair.dialogue, ids)
                assert one is not None
                with torch.no_grad():
                    made = _moved(tensors([[one.row]]), self._device)
                    costs.append(float(_cross_entropy(self._reply_logits(made), made["labels"])))
            logits = scores(network, mels.expand(len(found), -1, -1), prompts * len(found), found, end)
            logs = self.crossings["sequence"](log_probabilities(logits, found, end), edge.scale(step))
            losses.append(expected_loss(logs, costs))
        return torch.stack(losses).mean() if losses else torch.zeros((), device=self._device)

    def _chain(self, edge: str, step: int, texts: Sequence[str]) -> Tensor:
        scale = getattr(self._parts.config.edges, edge).scale(step)
        return self._understood(texts, [self.crossings[edge](w, scale) for w in self._voice.speak(texts)])

    def _replies(self, step: int, pairs: Sequence[Pair]) -> Tensor:
        """The voice says the right replies with what the language model thinks of them."""
        parts, edge = self._parts, self._parts.config.edges.reply_to_voice
        encoder, said = parts.language.encoder, []
        for pair in pairs:
            cut = until_reply(pair.dialogue)
            text = cut.turns[-1].text
            if symbols := self._voice.symbols(text):
                prompt = encoder.prompt(encoder.messages(cut)[:-1], list(cut.tools))
                ids, spans = token_spans(encoder.tokenizer, text)
                said.append(
                    (text, symbols, spans, len(prompt), Row((*prompt, *ids), (False,) * (len(prompt) + len(ids))))
                )
        if not said:
            return torch.zeros((), device=self._device)
        batch = _moved(tensors([[row] for *_, row in said]), self._device)
        del batch["labels"]
        hidden = parts.language.model(**batch, use_cache=False, output_hidden_states=True).hidden_states[-1]
        hidden = self.crossings["reply_to_voice"](hidden.float(), edge.scale(step))
        added = [
            parts.gate(hidden[number, begin : len(row.ids)], symbols, spans)
            for number, (_, symbols, spans, begin, row) in enumerate(said)
        ]
        texts = [text for text, *_ in said]
        return self._understood(texts, self._voice.speak(texts, added))

    def _understood(self, texts: Sequence[str], waveforms: Sequence[Tensor]) -> Tensor:
        recognizer = self._parts.recognizer
        said = [(text, one) for text, one in zip(texts, waveforms, strict=True) if len(one)]
        if not said:
            return torch.zeros((), device=self._device)
        frames = partial(padded_frames, config=recognizer.config, whole=False)
        network, rate = recognizer.network, self._voice.rate
        targets = [self._target(text) for text, _ in said]
        return _mean(
            chain_loss(network, self._log_mel.to(self._device), [one for _, one in said], rate, targets, frames)
        )

    def _target(self, text: str) -> Target:
        return self._parts.recognizer.vocabulary.target(dataclasses.replace(self._example, text=text, translation=""))

    def _likeliest(self, windows: Sequence[Window], pairs: Sequence[Pair]) -> list[list[int]]:
        recognizer = self._parts.recognizer
        prompts, end = self._prompts(pairs), recognizer.vocabulary.end
        return likeliest(recognizer.network, windows, prompts, recognizer.config.rows, end)

    def _prompts(self, pairs: Sequence[Pair]) -> list[list[int]]:
        return [self._parts.recognizer.vocabulary.prompt(pair.clip.language) for pair in pairs]

    def _reply_logits(self, batch: Mapping[str, Tensor]) -> Tensor:
        """[B, T - 1, V], of the tokens from the second on."""
        given = {name: batch[name] for name in ("input_ids", "inputs_embeds") if name in batch}
        logits: Tensor = self._parts.language.model(**given, position_ids=batch["position_ids"], use_cache=False).logits
        return logits[:, :-1]

    def _on(self, name: str, step: int) -> bool:
        return name in self._edges and getattr(self._parts.config.edges, name).on(step)

    @property
    def _voice(self) -> Any:
        return self._parts.voice.model

    @property
    def _device(self) -> torch.device:
        return next(self._parts.recognizer.network.parameters()).device


def _mean(summed: tuple[Tensor, float]) -> Tensor:
    return summed[0] / max(1.0, summed[1])


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over what is learnt; logits [B, T - 1, V], labels [B, T]."""
    targets = labels[:, 1:]
    learnt = targets != IGNORED
    return functional.cross_entropy(logits[learnt].float(), targets[learnt])


def _moved(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in batch.items()}
