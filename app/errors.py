"""Every error that Parley raises on purpose; one catch at each boundary turns it into a protocol event.

ParleyError
├── BadRequest            the caller sent something that cannot be accepted; nothing has changed
│   ├── BadAudio          bytes that are not the audio they claim to be
│   ├── BadArchive        an archive that is not unpacked: damaged, too large, or with names that lead elsewhere
│   ├── UnknownModel      a pack, voice or model name that is not served here
│   └── NotFound          a file, data set or fine-tuning job that is not there
├── AccessDenied          no or wrong key, foreign Origin or Host
├── LimitReached          a key has used what it may
├── DatabaseUnavailable   a database that cannot be used
├── PackError             a language pack that cannot be used as it lies on disk
│   └── GateMissed        a pack that its evaluation card says should not be promoted
├── JobsUnavailable       fine-tuning jobs cannot be run or looked at here
├── LicenceError          a model, pack or library whose licence nobody has accepted
├── DownloadError         a file that could not be fetched, or is not the one it should be
├── SettingsError         a setting that makes no sense, or an unsafe combination of them
├── ServiceFull           as many callers as the service may take; trying again later may succeed
├── ResumedElsewhere      a conversation that another call goes on with; this call has ended
├── SlowClient            a client that does not take what is sent to it; its session has ended
├── IllegalTransition     an event that the turn's present state has no transition for; nothing has changed
└── WorkerError           a worker failed; the session lives on
    ├── WorkerUnavailable nobody answers there
    ├── WorkerBusy        the worker is full; trying again later may succeed
    │   ├── InsufficientMemory  there is not enough memory for one more pack
    │   └── PackInUse     a pack cannot be unloaded while it is used
    ├── WrongBase         no language worker serves the base that a pack was trained on
    └── WireError         bytes on the private wire that are not a message
"""

from __future__ import annotations


class ParleyError(Exception):
    """Root of the tree. `code` is the wire's error code, `message` is one sentence for a human."""

    code = "server_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """Path of the offending parameter, where one parameter is to blame."""
        if code is not None:
            self.code = code


class BadRequest(ParleyError):
    """The caller's fault: answered with 400 or an `error` event, session unchanged."""

    code = "invalid_value"
    event_id: str | None = None
    """The client event to blame, where it said its id."""


class BadAudio(BadRequest):
    """Audio that cannot be decoded, or has no samples."""

    code = "invalid_audio"


class UnknownModel(BadRequest):
    """No such pack, voice or model here: 404."""

    code = "model_not_found"


class BadArchive(BadRequest):
    """An uploaded archive that cannot be unpacked without danger."""

    code = "invalid_archive"


class NotFound(BadRequest):
    """No such file, data set or fine-tuning job: 404."""

    code = "not_found"


class AccessDenied(ParleyError):
    """No or wrong key: 401; a foreign Origin or Host, or a caller's key on an operator's route: 403."""

    code = "invalid_api_key"


class LimitReached(ParleyError):
    """A key has as many sessions, requests or minutes of audio as it may: 429."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after
        """Seconds until it is worth another try."""


class DatabaseUnavailable(ParleyError):
    """The database of keys or conversations cannot be read or written: 503."""

    code = "database_unavailable"


class PackError(ParleyError):
    """A pack's manifest or files are wrong; the message names the file and what was expected."""

    code = "pack_error"


class GateMissed(PackError):
    """A pack with failed gates, or none measured, is promoted only in words that its card keeps."""

    code = "gate_missed"


class JobsUnavailable(ParleyError):
    """Jobs are off, training is not installed, or the jobs' database or folder cannot be used: 503."""

    code = "jobs_unavailable"


class LicenceError(ParleyError):
    """A licence outside of the allow-list, not accepted by the operator."""

    code = "licence_error"


class DownloadError(ParleyError):
    """A model hub that cannot be reached or refuses, wrong bytes, or a disk that takes no more."""

    code = "download_error"


class SettingsError(ParleyError):
    """Refused at start-up, before a port is opened."""

    code = "settings_error"


class ServiceFull(ParleyError):
    """Every session that the operator allows is taken: 503 at the handshake."""

    code = "service_full"


class ResumedElsewhere(ParleyError):
    """Another call has taken the conversation over: this one ends, close code 1008."""

    code = "resumed_elsewhere"


class SlowClient(ParleyError):
    """The client took no frame for too long: its session is ended, close code 1008."""

    code = "slow_client"


class IllegalTransition(ParleyError):
    """A turn event that the present state does not allow."""

    code = "illegal_transition"


class WorkerError(ParleyError):
    """A stage failed on our side; the response fails, the session does not."""

    code = "worker_error"


class WorkerUnavailable(WorkerError):
    """No process answers at the worker's URL."""

    code = "worker_unavailable"


class WorkerBusy(WorkerError):
    """The worker has as many utterances as it can carry."""

    code = "worker_busy"


class InsufficientMemory(WorkerBusy):
    """Loading one more pack would need more memory than is free: 507."""

    code = "insufficient_memory"


class PackInUse(WorkerBusy):
    """Utterances, replies or clauses of the pack are under way: 409."""

    code = "pack_in_use"


class WrongBase(WorkerError):
    """A pack's adapter needs a base that none of the language workers has."""

    code = "wrong_language_base"


class WireError(WorkerError):
    """A malformed message on the private wire; never taken for the end of a stream."""

    code = "wire_error"
