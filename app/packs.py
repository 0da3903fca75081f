"""Language packs on disk: the manifest `pack.toml`, read strictly. Knows no engine, session or training.

A pack is one folder with everything that a language needs in the cascade. Paths in it are relative to the folder
and stay inside it; weights are CTranslate2, ONNX or safetensors, and nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from app.errors import PackError, UnknownModel

MANIFEST = "pack.toml"
FORMAT = 1
CURRENT = ".current"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
EXECUTABLE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin.index", ".npy", ".npz", ".py", ".so"}
"""Files whose loading could run code; a pack that has one is refused. CTranslate2's model.bin is no pickle."""


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """[turn]: defaults of a session's server_vad, which a client's session.update wins over; what callers say."""

    threshold: float = 0.5
    """Speech probability from which a frame counts as speech, 0..1."""
    prefix_padding_ms: int = 300
    """Audio kept from before the detected start."""
    silence_duration_ms: int = 500
    """Silence that ends a turn."""
    endings: str = ""
    """File of the pack with what its sentences end with (`app/endings.py`), for semantic_vad; empty: none."""
    speculation: bool = False
    """Whether the language model begins on a likely end of a turn, in vain where the caller goes on: no matter where it
    runs on this machine, money where somebody charges for it."""
    back_channels: tuple[str, ...] = ()
    """What callers say while they listen, such as "mm-hmm": it does not end the reply that it is said over."""


@dataclass(frozen=True, slots=True)
class RecognizerSettings:
    """[recognizer]: weights of the CTranslate2 Whisper and how they were trained."""

    path: str = "recognizer"
    trained_short: bool = False
    """True where training saw unpadded windows: the encoder then runs only as long as the utterance."""
    margin_seconds: float = 0.4
    """Silence appended to an utterance before encoding, where `trained_short`."""
    beam_size: int = 1
    language_token: str = ""
    """Whisper's code whose token stands for the pack's language, where the model was trained so; empty: its own."""
    no_speech_threshold: float = 0.6
    """No-speech probability above which an utterance is taken for silence or noise: empty text."""
    min_confidence: float = 0.0
    """Confidence below which words are taken for noise: empty text."""
    hallucinations: tuple[str, ...] = ()
    """Phrases that the model writes over silence, such as "thank you for watching": dropped where it is unsure."""
    hallucination_confidence: float = 0.8
    """Confidence times probability of speech from which the model is sure enough to keep them."""
    max_compression: float = 2.4
    """Bytes over zlib's bytes above which a text that never ended, or is unsure, is taken for a loop."""
    second_opinion: str = ""
    """`pocketsphinx`, or empty for none."""
    second_opinion_below: float = 0.0
    """Whisper confidence below which the second opinion is asked."""
    second_opinion_words: str = ""
    """File of the pack with PocketSphinx's n-gram model of what callers say; empty: its own of general English."""


@dataclass(frozen=True, slots=True)
class LanguageSettings:
    """[language]: the chat model and its prompt."""

    path: str = "language"
    """Folder of a CTranslate2 generator with tokenizer.json and chat_template.jinja."""
    prompt: str = ""
    """Instructions of a session that brings none."""
    spoken_input: bool = False
    """True where the model was trained on recognizer output: typed text is put into spoken form first."""
    tools: tuple[str, ...] = ()
    """Names of the service's own tools (`app/tools.py`) that this pack's model was taught."""
    max_tokens: int = 256
    """Longest reply."""
    context_tokens: int = 1024
    """Prompt and reply together; older turns are left out beyond it."""
    base: str = ""
    """The model on vLLM: a Hugging Face folder, of the pack or anywhere, or a hub name. Empty: embedded only."""
    base_hash: str = ""
    """SHA-256 of the base, as `workers/base_hash.py` defines it; empty: that of the folder as it lies there."""
    adapter: str = ""
    """Folder of a PEFT LoRA of that base within the pack; empty: the base as it is."""
    tool_parser: str = ""
    """vLLM's parser of the form in which the base writes tool calls, for instance hermes; empty: it calls none."""


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """[voice]: the synthesizer's model."""

    engine: str = "onnx"
    """onnx, or an engine of an environment of its own (docs/voices.md): coqui-vits, coqui-xtts or chattts."""
    path: str = "voice"
    names: tuple[str, ...] = ()
    """Voices by name, the first is the default. OpenAI's own voice names are aliases of it."""
    sample_rate: int = 24_000
    """Hertz."""
    licence: str = ""
    """Of the weights, an SPDX expression or CPML. Engines other than onnx ask for it; see `app/licences.py`."""
    reference: str = ""
    """Recording in the voice's folder that a coqui-xtts voice is cloned from."""
    consent: str = ""
    """Who agreed that the voice of `reference` is cloned, and to what use. Without it no voice is cloned."""


@dataclass(frozen=True, slots=True)
class ClauseSettings:
    """[clauses]: where a reply is cut for synthesis; characters."""

    first_min: int = 8
    """Shortest first clause: the caller waits for this one."""
    min: int = 24
    """Shortest later clause: longer ones sound better."""
    max: int = 160
    """Longest clause; cut at a space when no punctuation comes."""


@dataclass(frozen=True, slots=True)
class Pack:
    """One language pack."""

    folder: Path
    name: str
    version: str
    language: str
    """BCP 47."""
    description: str = ""
    knows: str = ""
    """What a caller can ask, in one or two sentences, shown on the page."""
    examples: tuple[str, ...] = ()
    """Requests to try."""
    greeting: str = ""
    turn: TurnSettings = field(default_factory=TurnSettings)
    recognizer: RecognizerSettings = field(default_factory=RecognizerSettings)
    language_model: LanguageSettings = field(default_factory=LanguageSettings)
    voice: VoiceSettings = field(default_factory=VoiceSettings)
    clauses: ClauseSettings = field(default_factory=ClauseSettings)

    @property
    def endings_file(self) -> Path | None:
        """What its sentences end with; None where it has no such file, and prosody decides alone."""
        file = self.folder / self.turn.endings
        return file if file.is_file() else None

    @property
    def reference(self) -> str:
        """NAME@VERSION: these very weights, whatever version is current."""
        return f"{self.name}@{self.version}"

    @property
    def recognizer_folder(self) -> Path:
        """Where the CTranslate2 Whisper lies."""
        return self.folder / self.recognizer.path

    @property
    def language_folder(self) -> Path:
        """Where the CTranslate2 generator lies."""
        return self.folder / self.language_model.path

    @property
    def adapter_folder(self) -> Path | None:
        """Where the LoRA of the language model lies."""
        return self.folder / self.language_model.adapter if self.language_model.adapter else None

    @property
    def voice_folder(self) -> Path:
        """Where the ONNX voice lies."""
        return self.folder / self.voice.path


_SECTIONS: dict[str, tuple[str, type[Any]]] = {
    # table of pack.toml -> (field of Pack, its class)
    "turn": ("turn", TurnSettings),
    "recognizer": ("recognizer", RecognizerSettings),
    "language": ("language_model", LanguageSettings),
    "voice": ("voice", VoiceSettings),
    "clauses": ("clauses", ClauseSettings),
}
_Section = TypeVar("_Section")


def read_pack(folder: Path) -> Pack:
    """Reads and checks a pack's manifest; weights are not opened. Raises PackError naming file and fault."""
    manifest = folder / MANIFEST
    try:
        tables = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackError(f"{folder} is not a language pack: it has no {MANIFEST}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PackError(f"{manifest} is not TOML: {error}") from error
    head = tables.pop("pack", None)
    if not isinstance(head, dict):
        raise PackError(f"{manifest}: table [pack] is missing")
    if head.pop("format", None) != FORMAT:
        raise PackError(f"{manifest}: [pack] format must be {FORMAT}")
    sections = {}
    for table, values in tables.items():
        if table not in _SECTIONS:
            raise PackError(f"{manifest}: unknown table [{table}], expected one of {sorted(_SECTIONS)}")
        name, kind = _SECTIONS[table]
        sections[name] = _fill(kind, values, f"{manifest}: [{table}]")
    pack: Pack = _fill(Pack, {"folder": folder, **head, **sections}, f"{manifest}: [pack]")
    for path in (
        pack.recognizer_folder,
        pack.language_folder,
        pack.voice_folder,
        pack.adapter_folder or folder,
        pack.endings_file or folder,
    ):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise PackError(f"{manifest}: {path} lies outside of the pack")
    for path in folder.rglob("*"):
        if path.suffix in EXECUTABLE_SUFFIXES:
            raise PackError(
                f"{path}: a pack may not hold {path.suffix} files, since loading one can run code; "
                f"python -m app.workers.coqui_convert makes safetensors of a Coqui checkpoint"
            )
    return pack


def list_packs(root: Path) -> list[Pack]:
    """Every pack directly below `root`, in all its versions. Raises PackError for a broken one."""
    return [read_pack(manifest.parent) for manifest in sorted(root.glob(f"*/{MANIFEST}"))]


def pack_names(root: Path) -> list[str]:
    """Every name below `root` that `find_pack` takes: NAME where a version is current, and each NAME@VERSION folder."""
    folders = {manifest.parent.name for manifest in root.glob(f"*/{MANIFEST}")}
    return sorted(folders | {path.name.removesuffix(CURRENT) for path in root.glob(f"*{CURRENT}")})


def find_pack(root: Path, name: str, read: Callable[[Path], Pack] = read_pack) -> Pack:
    """The pack NAME, in its current version, or NAME@VERSION. Raises UnknownModel naming what there is, PackError.

    Versions lie side by side: `root`/NAME@VERSION, and one of them may be plain `root`/NAME. The one-line file
    `root`/NAME.current says which version NAME means; without it, NAME is the plain folder. `read` reads a folder.
    """
    plain, _, version = name.partition("@")
    if not NAME.fullmatch(plain) or (version and not NAME.fullmatch(version)):
        raise UnknownModel(f"no language pack {name!r}: a name has letters, digits, and . _ - inside")
    pointer = root / f"{plain}{CURRENT}"
    if not version and pointer.is_file():
        version = pointer.read_text(encoding="utf-8").strip()
    for folder in (root / f"{plain}@{version}", root / plain):
        if not (folder / MANIFEST).is_file():
            continue
        pack = read(folder)
        if pack.name != plain or ("@" in folder.name and pack.version != version):
            raise PackError(f"{folder} holds {pack.reference}, expected the pack that the folder is named after")
        if version in ("", pack.version):
            return pack
    known = ", ".join(pack_names(root)) or "none"
    wanted = f"{plain!r} in version {version}" if version else repr(plain)
    raise UnknownModel(f"no language pack {wanted} in {root}; there are: {known}")


def _fill(kind: type[_Section], values: Mapping[str, Any], where: str) -> _Section:
    """A dataclass from a TOML table: every key known, every type right, none missing. Raises PackError."""
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(fields)):
        raise PackError(f"{where} has unknown keys {unknown}; known are {sorted(fields)}")
    filled: dict[str, Any] = {}
    for name, spec in fields.items():
        if name not in values:
            if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
                raise PackError(f"{where} lacks {name!r}")
            continue
        filled[name] = _typed(values[name], str(spec.type), f"{where} {name}")
    return kind(**filled)


def _typed(value: Any, kind: str, where: str) -> Any:
    """The TOML value as the annotated type; int passes for float, list for tuple of str."""
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind == "tuple[str, ...]" and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    simple = {"str": str, "int": int, "bool": bool}
    if (kind in simple and type(value) is not simple[kind]) or kind in ("float", "tuple[str, ...]"):
        raise PackError(f"{where} must be {kind}, got {value!r}")
    return value
