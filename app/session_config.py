"""The session object of the Realtime protocol (section 4): defaults, merge rules, what reads back. Knows no audio.

Where it departs from the service it imitates: end-of-turn silence is the pack's (500 ms for the starter, OpenAI's
documentation), and the instructions are the pack's prompt until a client sends its own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.errors import BadRequest
from app.events import Strict, explain
from app.packs import Pack

Json: TypeAlias = dict[str, Any]

_NULLABLE = {"turn_detection", "transcription", "noise_reduction", "tracing", "prompt", "include", "idle_timeout_ms"}
"""Keys for which null means off; null for any other key means its default."""
_REPLACED = {"turn_detection", "tools", "tool_choice", "tracing", "prompt", "format", "voice", "truncation"}
"""Keys whose object is taken as a whole, with defaults filled in, instead of being merged into the old one."""


class PcmFormat(Strict):
    """24 kHz PCM16, mono."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] = 24000


class ServerVad(Strict):
    """The service decides when a turn ends, by silence."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    prefix_padding_ms: int = Field(default=300, ge=0, le=5000)
    silence_duration_ms: int = Field(default=500, ge=0, le=10_000)
    idle_timeout_ms: int | None = None
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(Strict):
    """Accepted, since several clients ask for it by default; the decision behind it is server_vad's."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


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

    format: PcmFormat = PcmFormat()
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: Annotated[TurnDetection, Field(discriminator="type")] | None = ServerVad()


class AudioOutput(Strict):
    """What the caller hears."""

    format: PcmFormat = PcmFormat()
    voice: str | Json = "alloy"
    speed: float = Field(default=1.0, ge=0.25, le=1.5)


class Audio(Strict):
    """Both directions."""

    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


class SessionConfig(Strict):
    """The effective session, less the keys that only the service sets."""

    type: Literal["realtime"] = "realtime"
    model: str
    output_modalities: list[Literal["text", "audio"]] = Field(default=["audio"])
    instructions: str = ""
    tools: list[Json] = Field(default=[])
    tool_choice: str | Json = "auto"
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"] = "inf"
    tracing: str | Json | None = None
    truncation: str | Json = "auto"
    prompt: Json | None = None
    include: list[str] | None = None
    audio: Audio = Audio()

    @model_validator(mode="after")
    def _check(self) -> SessionConfig:
        if not self.output_modalities:
            raise ValueError("output_modalities must name text or audio")
        for tool in self.tools:
            if tool.get("type") != "function" or not isinstance(tool.get("name"), str):
                raise ValueError("every tool needs type function and a name")
        return self

    @property
    def speaks(self) -> bool:
        """Whether replies are audio; both modalities together count as audio."""
        return "audio" in self.output_modalities


def initial_config(pack: Pack, model: str) -> SessionConfig:
    """The session before its first update, with the pack's end-of-turn settings and prompt."""
    vad = ServerVad(
        threshold=pack.turn.threshold,
        prefix_padding_ms=pack.turn.prefix_padding_ms,
        silence_duration_ms=pack.turn.silence_duration_ms,
    )
    return SessionConfig(
        model=model,
        instructions=pack.language_model.prompt,
        audio=Audio(input=AudioInput(turn_detection=vad)),
    )


def merge(current: SessionConfig, patch: Json, defaults: SessionConfig) -> SessionConfig:
    """The session after a partial update. Raises BadRequest with `param`; the current one is never changed."""
    for read_only in ("id", "object", "expires_at"):
        patch = {key: value for key, value in patch.items() if key != read_only}
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


def dump(config: SessionConfig) -> Json:
    """As JSON; `transcription` has only its three keys and those that the client set (pipecat refuses others)."""
    return config.model_dump(mode="json")


def voice_name(voice: str | Json) -> str:
    """The voice's name, from a name or {"id": NAME}. Raises BadRequest."""
    name = voice.get("id") if isinstance(voice, dict) else voice
    if not isinstance(name, str):
        raise BadRequest(f"voice must be a name or {{'id': NAME}}, got {voice!r}", param="session.audio.output.voice")
    return name


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
