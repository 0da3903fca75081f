"""Merge rules of session.update (protocol section 4)."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import BadRequest
from app.session_config import SessionConfig, dump, initial_config, merge
from tests.packs import SCRIPTED

DEFAULTS = initial_config(SCRIPTED, "scripted")


def update(*patches: dict[str, Any]) -> SessionConfig:
    config = DEFAULTS
    for patch in patches:
        config = merge(config, patch, DEFAULTS)
    return config


def test_defaults_are_the_packs() -> None:
    detection = dump(DEFAULTS)["audio"]["input"]["turn_detection"]
    assert detection == {
        "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500,
        "idle_timeout_ms": None, "create_response": True, "interrupt_response": True,
    }  # fmt: skip
    assert DEFAULTS.instructions == "Be brief."


def test_what_only_other_models_use_is_read_back_where_it_was_set() -> None:
    assert {"reasoning", "parallel_tool_calls"}.isdisjoint(dump(update({})))
    changed = dump(update({"reasoning": {"effort": "low"}, "parallel_tool_calls": False}))
    assert (changed["reasoning"], changed["parallel_tool_calls"]) == ({"effort": "low"}, False)


def test_absent_keys_stay_and_deep_keys_merge() -> None:
    config = update({"instructions": "Sing."}, {"audio": {"output": {"speed": 1.2}}}, {"audio": {"input": {}}})
    assert config.instructions == "Sing."
    assert config.audio.output.speed == 1.2
    assert config.audio.output.voice == "alloy"


def test_a_new_turn_detection_object_is_filled_with_defaults() -> None:
    config = update(
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}},
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}}},
    )
    detection = dump(config)["audio"]["input"]["turn_detection"]
    assert (detection["threshold"], detection["create_response"], detection["interrupt_response"]) == (0.7, True, True)


@pytest.mark.parametrize("key", ["turn_detection", "transcription", "noise_reduction"])
def test_null_turns_off_what_can_be_off(key: str) -> None:
    config = update({"audio": {"input": {"transcription": {"model": "whisper-1"}, key: None}}})
    assert dump(config)["audio"]["input"][key] is None


def test_null_elsewhere_means_the_default() -> None:
    config = update({"audio": {"output": {"speed": 1.5}}}, {"audio": {"output": {"speed": None}}, "instructions": None})
    assert config.audio.output.speed == 1.0
    assert config.instructions == "Be brief."


def test_empty_values_clear() -> None:
    tool = {"type": "function", "name": "f", "parameters": {}}
    config = update({"instructions": "Sing.", "tools": [tool]}, {"instructions": "", "tools": []})
    assert (config.instructions, config.tools) == ("", [])


def test_semantic_vad_is_accepted_and_read_back() -> None:
    config = update({"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}}})
    detection = dump(config)["audio"]["input"]["turn_detection"]
    assert (detection["type"], detection["eagerness"], detection["interrupt_response"]) == ("semantic_vad", "low", True)


def test_transcription_reads_back_with_only_what_was_set() -> None:
    config = update({"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
    assert dump(config)["audio"]["input"]["transcription"] == {"model": "whisper-1", "language": None, "prompt": None}


@pytest.mark.parametrize(
    ("patch", "code", "param"),
    [
        ({"surprise": 1}, "unknown_parameter", "session.surprise"),
        ({"audio": {"output": {"speed": 9}}}, "invalid_value", "session.audio.output.speed"),
        ({"audio": {"input": {"format": {"type": "audio/opus"}}}}, "invalid_value", "session.audio.input.format.type"),
        ({"output_modalities": ["smell"]}, "invalid_value", "session.output_modalities.0"),
        ({"output_modalities": []}, "invalid_value", "session"),
        ({"tools": [{"type": "function"}]}, "invalid_value", "session.tools.0"),
        ({"audio": "loud"}, "invalid_value", "session.audio"),
    ],
)
def test_a_refused_update_names_its_parameter(patch: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        update(patch)
    assert (refused.value.code, refused.value.param) == (code, param)
