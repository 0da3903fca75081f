"""`parley jobs`: fine-tuning jobs of a running service, over its REST. Knows no file and no process of the service."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from app.errors import AccessDenied, BadRequest, JobsUnavailable, ParleyError, WorkerUnavailable
from app.jobs.methods import DATASET, METHODS

DEFAULT_URL = "http://127.0.0.1:8000"
POLL_SECONDS = 1.0
FINAL = ("succeeded", "failed", "cancelled")
BAR = 24  # characters of a progress bar
UPLOAD_SECONDS = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley jobs`."""
    parser.add_argument("--url", default=DEFAULT_URL, help=f"where the service is [{DEFAULT_URL}]")
    parser.add_argument(
        "--key", default=os.environ.get("PARLEY_OPERATOR_KEY", ""), help="an operator's [$PARLEY_OPERATOR_KEY]"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="trains a stage, or all, on a data set or an archive")
    create.add_argument("method", choices=[name for name in METHODS if name != "supervised"], metavar="METHOD",
                        help="recognizer, language, synthesizer or joint")  # fmt: skip
    create.add_argument("--model", required=True, help="what to begin from: a pack, a hub's OWNER/NAME, or a base")
    create.add_argument(
        "--data", required=True, metavar="DATA", help="dataset:NAME, or an archive or JSONL, which is uploaded"
    )
    create.add_argument("--validation", metavar="FILE", help="JSONL of chats for dev")
    create.add_argument("--configuration", metavar="NAME", help="of the recipe: language_tiny, for instance")
    create.add_argument("--suffix", help="a name for what is trained")
    create.add_argument("--seed", type=int)
    create.add_argument("--dry-run", action="store_true", help="says what it would take, and trains nothing")
    create.add_argument("--follow", action="store_true", help="shows progress until it is over")
    create.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="hyperparameters: n_epochs=3 training.steps=200"
    )
    listed = actions.add_parser("list", help="jobs, newest first")
    listed.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many [20]")
    show = actions.add_parser("show", help="one job: state, progress, what has happened")
    show.add_argument("job")
    show.add_argument("--follow", action="store_true", help="shows progress until it is over")
    for name, what in (("logs", "what its process has written"), ("cancel", "ends it for good"),
                       ("pause", "ends its process, and keeps its place"), ("resume", "goes on")):  # fmt: skip
        actions.add_parser(name, help=what).add_argument("job")
    for action in actions.choices.values():  # people write these last, too
        for name in ("--url", "--key"):
            action.add_argument(name, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Does it; 1 where a job that was followed has failed. Raises ParleyError."""
    headers = {"authorization": f"Bearer {args.key}"} if args.key else {}
    with httpx.Client(base_url=f"{args.url.rstrip('/')}/v1", headers=headers, trust_env=False) as client:
        match args.action:
            case "create":
                job = _create(client, args)
                print(f"{job['id']} is created")
                return _follow(client, job["id"]) if args.follow else 0
            case "list":
                jobs = _ask(client, "GET", "/fine_tuning/jobs", params={"limit": args.limit})["data"]
                print("\n".join(line(job) for job in jobs) or "no fine-tuning jobs")
            case "show":
                if args.follow:
                    return _follow(client, args.job)
                print("\n".join(_shown(client, args.job)))
            case "logs":
                print(_answered(client, "GET", f"/fine_tuning/jobs/{args.job}/logs").text)
            case action:
                print(line(_ask(client, "POST", f"/fine_tuning/jobs/{args.job}/{action}")))
    return 0


def line(job: dict[str, Any]) -> str:
    """A job in one line."""
    done = job["progress"] or {}
    stage = f"{done['stage']} " if done.get("stage") else ""
    steps = f"{stage}step {done['step']}/{done['total_steps'] or '?'}" if done else ""
    left = f"{max(0, job['estimated_finish'] - int(time.time())) // 60} min left" if job["estimated_finish"] else ""
    name = job["fine_tuned_model"] or f"{job['method']['type']} of {job['model']}"
    return "  ".join(part for part in (job["id"], f"{job['status']:<16}", name, steps, left) if part)


def _create(client: httpx.Client, args: argparse.Namespace) -> dict[str, Any]:
    given = {}
    for pair in args.set:
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadRequest(f"got {pair!r}, expected KEY=VALUE")
        try:
            given[key] = json.loads(value)
        except ValueError:
            given[key] = value
    tuning = {"hyperparameters": given, "configuration": args.configuration}
    body = {
        "model": args.model, "training_file": _sent(client, args.data), "suffix": args.suffix, "seed": args.seed,
        "validation_file": _sent(client, args.validation) if args.validation else None, "dry_run": args.dry_run,
        "method": {"type": args.method, args.method: tuning},
    }  # fmt: skip
    return _ask(client, "POST", "/fine_tuning/jobs", json=body)


def _sent(client: httpx.Client, data: str) -> str:
    """The data's name in the service; a file of this machine is uploaded."""
    if data.startswith((DATASET, "file-")):
        return data
    path = Path(data)
    if not path.is_file():
        raise BadRequest(f"got {data!r}, expected {DATASET}NAME, the id of an uploaded file, or a file here")
    with path.open("rb") as file:
        print(f"sending {path.name}, {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
        sent = _ask(
            client, "POST", "/files", data={"purpose": "fine-tune"}, files={"file": (path.name, file)},
            timeout=UPLOAD_SECONDS,
        )  # fmt: skip
    return str(sent["id"])


def _shown(client: httpx.Client, name: str) -> Iterator[str]:
    job = _ask(client, "GET", f"/fine_tuning/jobs/{name}")
    yield line(job)
    yield f"  {job['method']['type']} {job['method'][job['method']['type']]['configuration']} on {job['training_file']}"
    if job["error"]:
        yield f"  failed: {job['error']['message']}"
    if job["report"]:
        yield from (f"  {text}" for text in job["report"].splitlines())
    if job["exports"]:
        yield "  for `parley packs build`: " + " ".join(f"--{stage} {run}" for stage, run in job["exports"].items())
    for event in (*_events(client, name, "message", 50), *_events(client, name, "metrics", 3)):
        yield f"  {time.strftime('%H:%M:%S', time.localtime(event['created_at']))}  {event['message']}"


def _follow(client: httpx.Client, name: str) -> int:
    """Events as they come, and a bar where a terminal is looked at; ends with the job."""
    seen: set[str] = set()
    while True:
        job = _ask(client, "GET", f"/fine_tuning/jobs/{name}")
        events = _ask(client, "GET", f"/fine_tuning/jobs/{name}/events", params={"limit": 100})["data"]
        for event in reversed([event for event in events if event["id"] not in seen]):
            seen.add(event["id"])
            print(f"\r\x1b[K{event['message']}" if sys.stdout.isatty() else event["message"], flush=True)
        if job["status"] in FINAL:
            print("\n".join(_shown(client, name)))
            return 0 if job["status"] == "succeeded" else 1
        if (done := job["progress"]) and done["total_steps"] and sys.stdout.isatty():
            full = BAR * done["step"] // done["total_steps"]
            print(f"\r\x1b[K[{'#' * full}{'.' * (BAR - full)}] {line(job)}", end="", flush=True)
        time.sleep(POLL_SECONDS)


def _events(client: httpx.Client, name: str, kind: str, limit: int) -> list[dict[str, Any]]:
    """The newest of one type, oldest first."""
    found = _ask(client, "GET", f"/fine_tuning/jobs/{name}/events", params={"limit": limit, "type": kind})["data"]
    return list(reversed(found))


def _ask(client: httpx.Client, method: str, path: str, **request: Any) -> dict[str, Any]:
    answer: dict[str, Any] = _answered(client, method, path, **request).json()
    return answer


def _answered(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    """The answer to a request. Raises the error that the service answers with, WorkerUnavailable where none answers,
    BadRequest for what is no address."""
    url = str(client.base_url).removesuffix("/v1/")
    try:
        answer = client.request(method, path, **request)
    except httpx.UnsupportedProtocol as error:
        raise BadRequest(f"{url!r} is not the address of a service; expected for instance {DEFAULT_URL}") from error
    except httpx.HTTPError as error:
        raise WorkerUnavailable(f"no service answers at {url}; start it with `parley serve` ({error})") from error
    if answer.is_success:
        return answer
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"{url} answered with status {answer.status_code}, expected a service of Parley"
    kinds: dict[int, type[ParleyError]] = {401: AccessDenied, 403: AccessDenied, 503: JobsUnavailable}
    raise kinds.get(answer.status_code, BadRequest)(message)
