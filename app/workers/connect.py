"""The only place that decides how a stage is reached: over a URL, or by loading an engine into this process.

Engines are imported inside the function that needs them, since each brings its own heavy libraries.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from app.errors import PackError, SettingsError
from app.licences import check_licence
from app.packs import Pack
from app.workers.base import LanguageModel, Recognizer, Synthesizer

OPENAI = "openai:"  # before the URL of a server of OpenAI's API that is none of our workers
RECOGNIZERS = ("whisper", "pocketsphinx")
VOICES = ("onnx", "coqui-vits", "coqui-xtts", "chattts")


def reach_recognizer(urls: str, *, api_key: str = "") -> Recognizer:
    """The recognizer workers at URLs separated by commas, as one; `openai:URL` is any server of OpenAI's audio API.

    Raises SettingsError.
    """
    from app.workers.openai_audio import OpenAIRecognizer
    from app.workers.remote import RemoteRecognizer
    from app.workers.spread_recognizer import SpreadRecognizer

    def at(url: str) -> Recognizer:
        if url.startswith(OPENAI):
            return OpenAIRecognizer(url.removeprefix(OPENAI), api_key=api_key)
        return RemoteRecognizer(url, api_key=api_key)

    return SpreadRecognizer({url: at(url) for url in _urls(urls)})


def reach_language(urls: str, *, api_key: str = "", model: str = "") -> LanguageModel:
    """OpenAI-compatible chat servers at URLs separated by commas; `model` overrides the name that sessions ask for."""
    from app.workers.openai_chat import OpenAIChat
    from app.workers.spread import SpreadLanguage

    return SpreadLanguage(
        {url: OpenAIChat(url.removeprefix(OPENAI), api_key=api_key, model=model) for url in _urls(urls)}
    )


def reach_synthesizer(urls: str, *, api_key: str = "") -> Synthesizer:
    """The synthesizer workers at URLs separated by commas, as one; `openai:URL` as for `reach_recognizer`."""
    from app.workers.openai_audio import OpenAISynthesizer
    from app.workers.remote import RemoteSynthesizer
    from app.workers.spread import SpreadSynthesizer

    def at(url: str) -> Synthesizer:
        if url.startswith(OPENAI):
            return OpenAISynthesizer(url.removeprefix(OPENAI), api_key=api_key)
        return RemoteSynthesizer(url, api_key=api_key)

    return SpreadSynthesizer({url: at(url) for url in _urls(urls)})


def is_url(setting: str) -> bool:
    """Whether a stage's setting says where to reach it, and not which engine to load."""
    return setting.removeprefix(OPENAI).startswith(("http://", "https://"))


def check_recognizer(setting: str) -> None:
    """Raises SettingsError for what is neither a URL nor an engine."""
    if not is_url(setting) and setting not in RECOGNIZERS:
        raise SettingsError(f"no recognizer engine {setting!r}; there are: {', '.join(RECOGNIZERS)}, or a URL")


def load_recognizer(
    pack: Pack, engine: str, *, device: str = "auto", compute_type: str = "default", threads: int = 1
) -> Recognizer:
    """The pack's recognizer; `pocketsphinx` alone needs nothing of the pack. Raises SettingsError, PackError."""
    check_recognizer(engine)
    if engine == "pocketsphinx":
        return _load_sphinx(pack)
    from app.workers.whisper import WhisperRecognizer

    settings = pack.recognizer
    # A path that is no folder of the pack and has a slash is a hub name, such as Systran/faster-whisper-small.
    named = "/" in settings.path and not pack.recognizer_folder.exists()
    whisper = WhisperRecognizer(
        settings.path if named else str(pack.recognizer_folder),
        device=device,
        compute_type=compute_type,
        threads=threads,
        trained_short=settings.trained_short,
        margin_seconds=settings.margin_seconds,
        beam_size=settings.beam_size,
        no_speech_threshold=settings.no_speech_threshold,
        min_confidence=settings.min_confidence,
        hallucinations=settings.hallucinations,
        hallucination_confidence=settings.hallucination_confidence,
        max_compression=settings.max_compression,
        language=pack.language,
        language_token=settings.language_token,
        name=pack.name,
    )
    if not settings.second_opinion:
        return whisper
    if settings.second_opinion != "pocketsphinx":
        raise SettingsError(f"no recognizer {settings.second_opinion!r} for a second opinion; there is: pocketsphinx")
    from app.workers.opinion import SecondOpinion

    return SecondOpinion(whisper, _load_sphinx(pack), below=settings.second_opinion_below)


def load_language(pack: Pack, *, device: str = "auto", compute_type: str = "int8", threads: int = 1) -> LanguageModel:
    """The pack's language model on the embedded engine."""
    from app.workers.chat import CTranslate2Chat

    settings = pack.language_model
    return CTranslate2Chat(
        str(pack.language_folder),
        device=device,
        compute_type=compute_type,
        threads=threads,
        context_tokens=settings.context_tokens,
        max_tokens=settings.max_tokens,
        name=pack.name,
    )


def load_vllm(
    pack: Pack, packs: Path, *, python: str = "", arguments: Sequence[str] = (), url: str = "", api_key: str = ""
) -> LanguageModel:
    """The pack's base and all packs' adapters on vLLM: started with `python`, or joined at `url`."""
    from app.workers.vllm import VllmLanguage

    return VllmLanguage(
        pack, packs, python=python, arguments=arguments, url=_urls(url)[0] if url else "", api_key=api_key
    )


def load_synthesizer(
    pack: Pack, *, device: str = "auto", threads: int = 1, accepted_licences: Sequence[str] = ()
) -> Synthesizer:
    """The pack's voice. Raises PackError, and LicenceError for weights whose licence the operator must accept."""
    settings, folder = pack.voice, pack.voice_folder
    if settings.engine == "onnx":
        from app.workers.voice import OnnxVoice

        return OnnxVoice(folder, names=settings.names, model=pack.name, threads=threads)
    check_licence(settings.licence, settings.licence in accepted_licences, f"the voice of pack {pack.name}")
    if settings.engine == "coqui-vits":
        _need("TTS", "Coqui TTS", "make coqui")
        from app.workers.coqui_vits import CoquiVits

        return CoquiVits(
            folder, names=settings.names, model=pack.name, language=pack.language, device=device, threads=threads
        )
    if settings.engine == "coqui-xtts":
        _need("TTS", "Coqui TTS", "make coqui")
        from app.workers.coqui_xtts import load_xtts

        return load_xtts(
            folder,
            reference=settings.reference,
            consent=settings.consent,
            language=pack.language,
            names=settings.names,
            model=pack.name,
            device=device,
            threads=threads,
        )
    if settings.engine == "chattts":
        from app.workers.chattts import CODE_LICENCE, load_chattts

        check_licence(CODE_LICENCE, CODE_LICENCE in accepted_licences, "the library ChatTTS")
        _need("ChatTTS", "ChatTTS", "make test-chattts")
        return load_chattts(folder, names=settings.names, model=pack.name, device=device, threads=threads)
    raise PackError(f"pack {pack.name} has voice engine {settings.engine!r}; there are: {', '.join(VOICES)}")


def _need(library: str, name: str, target: str) -> None:
    """Raises SettingsError where this environment lacks an engine's library."""
    if importlib.util.find_spec(library) is None:
        raise SettingsError(
            f"{name} is not installed in this environment. {target} installs it into .venv-coqui; "
            f"start the synthesizer there: .venv-coqui/bin/parley synthesizer (docs/voices.md)"
        )


def load_judge() -> Recognizer:
    """A recognizer that was trained on none of our voices, for one utterance at a time."""
    from app.workers.sphinx import SphinxRecognizer

    return SphinxRecognizer(processes=1)


def _load_sphinx(pack: Pack) -> Recognizer:
    from app.workers.sphinx import SphinxRecognizer

    words = pack.recognizer.second_opinion_words
    if words and not (pack.folder / words).is_file():
        raise PackError(f"the pack {pack.name} names {words}, but there is no such file in {pack.folder}")
    return SphinxRecognizer(words=str(pack.folder / words) if words else "")


def _urls(urls: str) -> list[str]:
    """Every URL of a list separated by commas, once."""
    found = list(dict.fromkeys(url.strip().rstrip("/") for url in urls.split(",") if url.strip()))
    for url in found or [urls]:
        if not is_url(url):
            raise SettingsError(f"a worker's URL begins with http:// or https://, or openai: before it, got {url!r}")
    return found
