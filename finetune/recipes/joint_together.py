"""The three models brought together: with the best weights of their own runs, or as their bases are, to be measured.

Knows no stage.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from finetune.data.errors import DataError
from finetune.data.rows import Dialogue
from finetune.errors import ConfigError
from finetune.joint.voice_gate import Gate
from finetune.recipes import joint_parts as parts_of
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_pairs import Pairs, pairs_of
from finetune.recipes.joint_parts import Parts

MODELS = ("recognizer", "language", "voice")


def together(config: Config, trained: Collection[str] = MODELS) -> Parts:
    """All models, the gate, the pairs; those that are `trained` have finished runs.

    Raises DataError where no clip says what a user says in a dialogue.
    """
    from accelerate import PartialState

    heard = parts_of.load_recognizer(config.recognizer, "recognizer" in trained)
    # All clips are heard before a stage would take it to its device.
    heard.network.to(PartialState(cpu=config.recognizer.training.device == "cpu").device)
    chat = parts_of.load_language(config.language, "language" in trained)
    voice = parts_of.load_voice(config.voice, "voice" in trained)
    width = chat.model.get_input_embeddings().embedding_dim
    pairs = pairs_of(heard.data.train, chat.data.train)
    dev = pairs_of(heard.data.dev, chat.data.dev)
    print(f"{len(pairs)} clips say what a user says in a dialogue, {len(dev)} of dev")
    return Parts(
        config=config,
        recognizer=heard,
        language=chat,
        voice=voice,
        gate=Gate(width, voice.model.width),
        pairs=Pairs(pairs, heard.windows, config.rows, config.recognizer.training.seed),
        dev_pairs=dev[: config.recognizer.dev_clips],
        texts=texts_of(config, [pair.clip.text for pair in pairs], chat.data.train),
    )


def exported(config: Any) -> dict[str, Any]:
    """The facts of a model's own run, if that is finished; else nothing."""
    path = Path(config.run) / "facts.json"
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return facts if "parity" in facts else {}


def texts_of(config: Config, said: Sequence[str], dialogues: Sequence[Dialogue]) -> list[str]:
    """Sentences for the chain. Raises DataError for a file without any."""
    if not config.texts:
        replies = [turn.text for row in dialogues for turn in row.turns if turn.role == "assistant"]
        return sorted({text for text in [*said, *replies] if text.strip()})
    found: list[str] = []
    for name in config.texts:
        try:
            lines = Path(name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"texts: {name} cannot be read: {error}") from error
        own = [line.strip() for line in lines if line.strip()]
        if not own:
            raise DataError(f"texts: got no line in {name}, expected sentences, one a line")
        found += own
    return sorted(set(found))
