"""The session object of the Realtime protocol (section 4): defaults, merge rules, what reads back. Knows no audio.

Where it departs from the service it imitates: end-of-turn silence is the pack's (500 ms for the starter, OpenAI's
documentation), and the instructions are the pack's prompt until a client sends its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.errors import BadRequest
from app.events import FunctionTool, Strict, explain
from app.names import is_alias, voice_of
from app.packs import Pack

Json: TypeAlias = dict[str, Any]

_NULLABLE = {
    "reasoning",
    "parallel_tool_calls",
    "turn_detection",
    "transcription",
    "noise_reduction",
    "tracing",
    "prompt",
    "include",
    "idle_timeout_ms",
}
"""Keys for which null means off; null for any other key means its default."""
_REPLACED = {"turn_detection", "tools", "tool_choice", "tracing", "prompt", "format", "voice", "truncation"}
"""Keys whose object is taken as a whole, with defaults filled in, instead of being merged into the old one."""


class PcmFormat(Strict):
    """24 kHz PCM16, mono."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] = 24000


class TelephoneFormat(Strict):
    """G.711, 8 kHz, a byte a sample."""

    type: Literal["audio/pcmu", "audio/pcma"]


AudioFormat: TypeAlias = Annotated[PcmFormat | TelephoneFormat, Field(discriminator="type")]


BackChannels: TypeAlias = bool | None
"""Ours, not part of the OpenAI API: whether "mm-hmm" leaves a reply as it is. None, which clients are never shown: yes;
true: yes, and events say so; false: any speech ends the reply."""


class ServerVad(Strict):
    """The service decides when a turn ends, by silence."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    prefix_padding_ms: int = Field(default=300, ge=0, le=5000)
    silence_duration_ms: int = Field(default=500, ge=0, le=10_000)
    idle_timeout_ms: int | None = Field(default=None, ge=1000, le=120_000)
    """Silence after a reply has been heard until the service speaks again by itself."""
    create_response: bool = True
    interrupt_response: bool = True
    back_channels: BackChannels = None


class SemanticVad(Strict):
    """The service decides when a turn ends, by what was said and how (`app/end_of_turn.py`)."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True
    back_channels: BackChannels = None


TurnDetection: TypeAlias = ServerVad | SemanticVad


class Transcription(BaseModel):
    """Asks for the caller's words; reads back the three keys and whatever else the client set."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model: str | None = None
    language: str | None = None
    prompt: str | None = None


class NoiseReduction(Strict):
    """Stored and read back; the recognizers are trained on noise instead."""

    type: Literal["near_field", "far_field"]


class AudioInput(Strict):
    """What the caller sends."""

    format: AudioFormat = PcmFormat()
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: Annotated[TurnDetection, Field(discriminator="type")] | None = ServerVad()


class AudioOutput(Strict):
    """What the caller hears."""

    format: AudioFormat = PcmFormat()
    voice: str | Json = "alloy"
    speed: float = Field(default=1.0, ge=0.25, le=1.5)


class Audio(Strict):
    """Both directions."""

    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | Json


class SessionConfig(Strict):
    """The effective session, less the keys that only the service sets."""

    type: Literal["realtime", "transcription"] = "realtime"
    model: str
    output_modalities: list[Literal["text", "audio"]] = Field(default=["audio"])
    instructions: str = ""
    tools: list[FunctionTool] = Field(default=[])
    tool_choice: ToolChoice = "auto"
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"] = "inf"
    tracing: str | Json | None = None
    truncation: str | Json = "auto"
    prompt: Json | None = None
    include: list[str] | None = None
    reasoning: Json | None = None
    parallel_tool_calls: bool | None = None
    """Like `reasoning` stored and read back, no more: clients send both for models that have a use for them."""
    audio: Audio = Audio()

    @model_validator(mode="after")
    def _check(self) -> SessionConfig:
        if not self.output_modalities:
            raise ValueError("output_modalities must name text or audio")
        return self

    @property
    def answers(self) -> bool:
        """False for a session that only transcribes."""
        return self.type == "realtime"


def initial_config(pack: Pack, model: str, *, answers: bool = True) -> SessionConfig:
    """The session before its first update, with the pack's end-of-turn settings and prompt.

    One that `answers` is false for transcribes from its first utterance on.
    """
    vad = ServerVad(
        threshold=pack.turn.threshold,
        prefix_padding_ms=pack.turn.prefix_padding_ms,
        silence_duration_ms=pack.turn.silence_duration_ms,
    )
    return SessionConfig(
        model=model,
        type="realtime" if answers else "transcription",
        instructions=pack.language_model.prompt,
        audio=Audio(
            input=AudioInput(turn_detection=vad, transcription=None if answers else Transcription(model=model))
        ),
    )


def merge(current: SessionConfig, patch: Json, defaults: SessionConfig) -> SessionConfig:
    """The session after a partial update. Raises BadRequest with `param`; the current one is never changed."""
    patch = {key: value for key, value in patch.items() if key not in ("id", "object", "expires_at")}
    if (wanted := patch.get("type") or current.type) != current.type:
        raise BadRequest(f"a session of type {current.type} cannot become {wanted!r}", param="session.type")
    if not current.answers:
        _check_transcription(patch)
    turn_detection = _lookup(patch, "audio", "input", "turn_detection")
    if isinstance(turn_detection, dict) and turn_detection.get("type", "server_vad") == "server_vad":
        pack_vad = defaults.audio.input.turn_detection
        filled = {**(pack_vad.model_dump() if isinstance(pack_vad, ServerVad) else {}), **turn_detection}
        patch = _deep(patch, {"audio": {"input": {"turn_detection": filled}}}, {})
    merged = _deep(dump(current), patch, dump(defaults))
    try:
        return SessionConfig.model_validate(merged)
    except ValidationError as error:
        raise explain(error, prefix="session") from error


def changed(current: SessionConfig, patch: Mapping[str, Any], defaults: SessionConfig, pack: Pack) -> SessionConfig:
    """As `merge`, of a session that speaks by `pack`: its model stays, its voice is one of the pack's."""
    config = merge(current, dict(patch), defaults)
    if not is_alias(config.model) and config.model not in (pack.name, pack.reference):
        raise BadRequest(f"the model of a session cannot change, got {config.model!r}", param="session.model")
    voice_of(voice_name(config.audio.output.voice), pack.voice.names)
    return config


def merge_output(output: AudioOutput, patch: Json) -> AudioOutput:
    """What one reply changes of the session's output. Raises BadRequest with `param`."""
    changed = patch.get("output") or {}
    if not isinstance(changed, dict):
        raise BadRequest(f"got {changed!r}, expected an object", param="response.audio.output")
    default = AudioOutput().model_dump(mode="json")
    try:
        return AudioOutput.model_validate(_deep(output.model_dump(mode="json"), changed, default))
    except ValidationError as error:
        raise explain(error, prefix="response.audio.output") from error


def dump(config: SessionConfig) -> Json:
    """As JSON; `transcription` has only its three keys and those that the client set (pipecat refuses others)."""
    whole = config.model_dump(mode="json")
    if (detection := whole["audio"]["input"]["turn_detection"]) and detection["back_channels"] is None:
        del detection["back_channels"]
    for key in ("reasoning", "parallel_tool_calls"):
        if whole[key] is None:
            del whole[key]
    return whole


def shown(config: SessionConfig) -> Json:
    """What the client is told: of a session that only transcribes, nothing of replies."""
    whole = dump(config)
    if config.answers:
        return {"object": "realtime.session", **whole}
    heard = {"audio": {"input": whole["audio"]["input"]}, "include": whole["include"]}
    return {"object": "realtime.transcription_session", "type": whole["type"], **heard}


def voice_name(voice: str | Json) -> str:
    """The voice's name, from a name or {"id": NAME}. Raises BadRequest."""
    name = voice.get("id") if isinstance(voice, dict) else voice
    if not isinstance(name, str):
        raise BadRequest(f"voice must be a name or {{'id': NAME}}, got {voice!r}", param="session.audio.output.voice")
    return name


def _check_transcription(patch: Json) -> None:
    """Raises BadRequest for what only a session with replies has."""
    audio = patch.get("audio")
    unknown = [f"session.{key}" for key in patch if key not in ("type", "audio", "include")]
    unknown += [f"session.audio.{key}" for key in (audio if isinstance(audio, dict) else {}) if key != "input"]
    if unknown:
        raise BadRequest(
            f"unknown parameter {unknown[0]} of a transcription session", code="unknown_parameter", param=unknown[0]
        )


def _lookup(tree: Any, *path: str) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _deep(old: Any, new: Any, default: Any) -> Any:
    """`new` laid over `old`: objects merge, null gives the default, everything else replaces."""
    merged = dict(old)
    for key, value in new.items():
        base = default.get(key) if isinstance(default, dict) else None
        if value is None and key not in _NULLABLE:
            merged[key] = base
        elif isinstance(value, dict) and isinstance(old.get(key), dict) and key not in _REPLACED:
            merged[key] = _deep(old[key], value, base)
        else:
            merged[key] = value
    return merged
