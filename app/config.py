"""Settings of the service: command line first, then PARLEY_* of the environment, then the default. Imports no engine.

Only the wiring (`app.__main__`, `app.serve`, `app.process`) reads this; everything below it takes flat arguments.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from app import REPOSITORY
from app.access import check_keys
from app.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that an operator may set."""

    host: str = "127.0.0.1"
    """Address to listen on. A public one needs an API key, set here or made by `parley keys`."""
    port: int = 8000
    """TCP port; 0 lets the system choose."""
    packs: str = str(REPOSITORY / "models" / "packs")
    """Folder of language packs."""
    pack: str = "en-starter"
    """Default language pack: NAME, which follows its current version, or NAME@VERSION. Callers may name any other."""
    recognizer: str = "whisper"
    """whisper, pocketsphinx, or URLs of recognizer workers, separated by commas; openai:URL is any OpenAI audio API."""
    language: str = ""
    """URLs of language workers or OpenAI-compatible chat servers, separated by commas; empty: the pack's, embedded."""
    language_model: str = ""
    """Model name to ask that server for; empty: NAME@VERSION of the session's pack."""
    language_key: str = ""
    """API key of that server."""
    engine: str = ""
    """Engine of the language worker: vllm, or empty for the pack's model, embedded."""
    vllm_python: str = ""
    """Python interpreter of the environment that vLLM is installed in; empty: that of `make vllm`."""
    vllm_arguments: str = ""
    """More arguments of vLLM's server, as on a command line."""
    synthesizer: str = ""
    """URLs of workers, separated by commas; openai:URL is any OpenAI audio API; empty: the pack's voice, embedded."""
    api_key: str = ""
    """API keys of callers, separated by commas. Without any, here or made by `parley keys`, no key is asked for."""
    operator_key: str = ""
    """API keys of operators, for fine-tuning and packs, separated by commas. Needed where callers have keys."""
    worker_key: str = ""
    """API key that the gateway sends to recognizers and synthesizers; our own workers on loopback need none."""
    key_database: str = str(REPOSITORY / "runs" / "access.sqlite")
    """Keys made by `parley keys`, client secrets and what they use: an SQLite file, or an SQLAlchemy URL."""
    store: str = ""
    """Where conversations are kept: an SQLite file, or an SQLAlchemy URL. Empty: nowhere."""
    allow_host: str = ""
    """Host names beside loopback under which the service is reached, separated by commas."""
    allow_origin: str = ""
    """Foreign web origins whose pages may call, separated by commas."""
    tls_cert: str = ""
    """PEM certificate chain. Browsers give a microphone only to localhost and https."""
    tls_key: str = ""
    """PEM private key of the certificate."""
    max_sessions: int = 256
    """Callers at once in each gateway process; further ones are refused."""
    drain_seconds: int = 20
    """How long a gateway that is asked to leave lets running turns come to their end."""
    resident_packs: int = 4
    """Packs that a worker holds in memory at most; idle ones make room for others."""
    device: str = "auto"
    """Where engines run: auto, cpu or cuda."""
    compute_type: str = "default"
    """Numbers that the recognizer computes with: default (as stored), int8, float16, int8_float16 or float32."""
    workers: int = 1
    """Gateway processes that share the port; each carries dozens of callers on one core."""
    threads: int = 1
    """CPU threads of each engine."""
    accept_licence: str = ""
    """Licences of voices that are taken on the operator's word, separated by commas, for instance CPML."""
    log_level: str = "info"
    """debug, info, warning or error."""
    jobs: str = str(REPOSITORY / "runs" / "jobs")
    """Folder of fine-tuning jobs. Empty: there are none."""
    jobs_database: str = ""
    """SQLAlchemy URL of their database, such as postgresql+pg8000://USER:PASSWORD@HOST/NAME. Empty: SQLite there."""
    job_devices: str = ""
    """CUDA devices that jobs train on, one job each, such as 0,1, or cpu. Empty: one job at a time, anywhere."""
    datasets: str = str(REPOSITORY / "data")
    """Folder of data sets that jobs may name, as `parley data import` writes them."""
    otel_endpoint: str = ""
    """OTLP/HTTP collector that gets traces of turns, such as http://127.0.0.1:4318. Empty: no traces."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port must be 0 to 65535, got {self.port}")
        if self.workers < 1:
            raise SettingsError(f"workers must be at least 1, got {self.workers}")
        if self.max_sessions < 1:
            raise SettingsError(f"max-sessions must be at least 1, got {self.max_sessions}")
        if self.drain_seconds < 0:
            raise SettingsError(f"drain-seconds must be at least 0, got {self.drain_seconds}")
        if self.resident_packs < 1:
            raise SettingsError(f"resident-packs must be at least 1, got {self.resident_packs}")
        if self.threads < 1:
            raise SettingsError(f"threads must be at least 1, got {self.threads}")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise SettingsError("--tls-cert and --tls-key belong together, got only one of them")
        for name in (self.tls_cert, self.tls_key):
            if name and not Path(name).is_file():
                raise SettingsError(f"there is no file {name}")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError(f"log-level must be debug, info, warning or error, got {self.log_level!r}")
        if self.engine not in ("", "vllm"):
            raise SettingsError(f"engine must be vllm or empty, got {self.engine!r}")
        check_keys(self.api_keys | self.operator_keys)

    @property
    def api_keys(self) -> frozenset[str]:
        """The callers' keys."""
        return frozenset(_list(self.api_key))

    @property
    def operator_keys(self) -> frozenset[str]:
        """The operators' keys."""
        return frozenset(_list(self.operator_key))

    @property
    def devices(self) -> tuple[str, ...]:
        """Where jobs are trained; the empty one is training's own choice."""
        return _list(self.job_devices) or ("",)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names that the Host header may carry."""
        return (self.host, *_list(self.allow_host))

    @property
    def origins(self) -> tuple[str, ...]:
        """Foreign origins that the Origin header may carry."""
        return _list(self.allow_origin)

    @property
    def accepted_licences(self) -> tuple[str, ...]:
        """Licences outside of the allow-list that the operator accepts."""
        return _list(self.accept_licence)

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self.tls_cert else "http"

    def url_at(self, port: int) -> str:
        """Where the service is reached from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "", "::") else self.host
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One option a setting; its help is the setting's docstring."""
    helps = _docstrings()
    for field in fields(Settings):
        kind = int if field.type == "int" else str
        shown = f" [{field.default}]" if field.default and str(REPOSITORY) not in str(field.default) else ""
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            metavar=kind.__name__.upper(),
            help=helps[field.name] + shown,
        )


def settings_of(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Settings:
    """The effective settings. Raises SettingsError naming the setting."""
    values: dict[str, str | int] = {}
    for field in fields(Settings):
        given = getattr(args, field.name, None)
        variable = f"PARLEY_{field.name.upper()}"
        if given is None and environment.get(variable):
            given = environment[variable]
            if field.type == "int":
                try:
                    given = int(given)
                except ValueError:
                    raise SettingsError(f"{variable} must be a whole number, got {given!r}") from None
        if given is not None:
            values[field.name] = given
    return Settings(**values)  # type: ignore[arg-type]


def arguments_of(settings: Settings) -> list[str]:
    """The command line that gives these settings again: for the processes that `parley serve` starts.

    Keys are left out, since every user of a machine can read its command lines; `secrets_of` has them.
    """
    line = []
    for field in fields(Settings):
        if field.name not in _SECRETS and getattr(settings, field.name) != field.default:
            # In one piece: a value that begins with a dash would be taken for the next option.
            line.append(f"--{field.name.replace('_', '-')}={getattr(settings, field.name)}")
    return line


def secrets_of(settings: Settings) -> dict[str, str]:
    """The environment that carries the keys."""
    return {f"PARLEY_{name.upper()}": getattr(settings, name) for name in _SECRETS}


_SECRETS = ("api_key", "operator_key", "language_key", "worker_key", "jobs_database", "key_database", "store")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _docstrings() -> dict[str, str]:
    """The string beneath each field of Settings, read from this file: the one place where a setting is described."""
    import ast

    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    found = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = str(ast.literal_eval(text.value)).replace("%", "%%")
    return found
