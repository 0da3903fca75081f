"""`parley models list|pull`: fetches the models of a profile and makes a language pack of them.

Knows no engine: what it leaves behind are files, as `app/packs.py` reads them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import httpx

from app.download import download
from app.download_progress import ProgressLine
from app.errors import DownloadError, SettingsError
from app.licences import check_licence, is_allowed
from app.packs import MANIFEST
from app.registry import Model, Profile, read_registry

FOLDER = Path(__file__).resolve().parent.parent / "models"
"""The registry's folder."""
LOCK = "models.lock.json"
TIMEOUT = httpx.Timeout(30.0)  # to connect, and without a byte; a slow download is none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley models`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the profiles, their models, sizes and licences")
    pull = actions.add_parser("pull", help="fetches the models of a profile; goes on where it was interrupted")
    pull.add_argument("profile", metavar="PROFILE")
    pull.add_argument("--to", type=Path, default=FOLDER / "packs", help="folder of packs to put it in [models/packs]")
    pull.add_argument(
        "--accept-licence", action="store_true", help="you have read the licences and may use models under them"
    )


def run(args: argparse.Namespace) -> int:
    """Does it; raises ParleyError."""
    profiles = read_registry(FOLDER / "registry.toml")
    if args.action == "list":
        print(listing(profiles))
        return 0
    if args.profile not in profiles:
        raise SettingsError(f"no profile {args.profile!r}; there are: {', '.join(profiles)}")
    endpoint, token = _hub()
    with httpx.Client(timeout=TIMEOUT) as client:
        pull(
            profiles[args.profile],
            args.to,
            accepted=args.accept_licence,
            client=client,
            endpoint=endpoint,
            token=token,
            out=sys.stderr,
        )
    return 0


def listing(profiles: Mapping[str, Profile]) -> str:
    """A paragraph a profile, a line a model."""
    lines = []
    for profile in profiles.values():
        size = f"{profile.megabytes} MB to download" if profile.models else "nothing to download"
        lines.append(f"{profile.name}: {size}" + (f", makes the pack {profile.pack}" if profile.pack else ""))
        lines.append(f"  {profile.about}")
        for model in profile.models:
            source = f"{model.repository}@{model.revision[:7]}" if model.repository else "in this repository"
            asks = "" if is_allowed(model.licence) else ", --accept-licence"
            lines.append(
                f"    {model.stage:<11} {model.name:<23} {model.megabytes:>6} MB  {model.licence}{asks}  {source}"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def pull(
    profile: Profile,
    folder: Path,
    *,
    accepted: bool,
    client: httpx.Client,
    endpoint: str,
    token: str = "",
    out: TextIO,
    shelf: Path = FOLDER,
) -> None:
    """Fetches a profile's models into `folder`; a file that is there and right is not fetched again.

    `endpoint` is the hub's base URL, `shelf` the folder of the registry. Raises LicenceError before anything is
    fetched, DownloadError, SettingsError.
    """
    for model in profile.models:
        check_licence(model.licence, accepted, f"model {model.name}")
    if not profile.models:
        print(f"{profile.name} needs nothing: {profile.about}", file=out)
        return
    _check_room(profile, folder)
    for model in profile.models:
        target = _place(profile, model, folder)
        if model.shipped:
            shutil.copytree(shelf / model.shipped, target, dirs_exist_ok=True)
        else:
            _fetch(model, target, folder / LOCK, client, endpoint, token, out)
        if model.stage == "language":
            _write_chat_template(target)
        print(f"{model.name} is in {target} ({model.licence})", file=out)
        if model.convert:
            voice = folder / profile.pack / model.stage if profile.pack else target.with_name(f"{model.name}-voice")
            command = model.convert.format(source=target, voice=voice)
            print(f"  it is a checkpoint, not yet a voice; in the environment of its engine: {command}", file=out)
    if profile.pack:
        manifest = folder / profile.pack / MANIFEST
        if not manifest.exists():  # an operator's changes to it stay
            shutil.copyfile(shelf / "profiles" / f"{profile.pack}.toml", manifest)
        print(f"serve it: parley serve --packs {folder} --pack {profile.pack}", file=out)


def _fetch(
    model: Model, target: Path, lock: Path, client: httpx.Client, endpoint: str, token: str, out: TextIO
) -> None:
    from huggingface_hub import hf_hub_url

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for file, sha256 in (model.files or {}).items():
        known = json.loads(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
        key = f"{model.repository}@{model.revision}/{file}"
        line = ProgressLine(f"{model.name}/{file}", out)
        url = hf_hub_url(model.repository, file, revision=model.revision, endpoint=endpoint)
        try:
            found = download(
                client, url, target / file, sha256=sha256 or known.get(key, ""), headers=headers, progress=line
            )
        finally:
            line.end()
        if not sha256 and key not in known:
            lock.write_text(json.dumps({**known, key: found}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _place(profile: Profile, model: Model, folder: Path) -> Path:
    """Checkpoints that must be converted stay out of the pack: it may hold nothing that loading could execute."""
    if model.convert or not profile.pack:
        return folder / "sources" / model.name
    return folder / profile.pack / model.stage


def _check_room(profile: Profile, folder: Path) -> None:
    places = [_place(profile, model, folder) for model in profile.models]
    there = sum(file.stat().st_size for place in places for file in place.rglob("*") if file.is_file())
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free // 1_000_000
    if profile.megabytes - there // 1_000_000 > free:
        raise DownloadError(f"{profile.name} needs {profile.megabytes} MB in {folder}, {free} MB are free there")


def _write_chat_template(folder: Path) -> None:
    """Older repositories keep the template inside of tokenizer_config.json; the embedded engine reads a file of it."""
    template, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if template.exists() or not config.is_file():
        return
    text = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
    if isinstance(text, str):
        template.write_text(text, encoding="utf-8")


def _hub() -> tuple[str, str]:
    """Base URL of the model hub and the operator's token for it: HF_ENDPOINT and HF_TOKEN, or the library's own."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise SettingsError("HF_HUB_OFFLINE is set: nothing is downloaded. Unset it to pull models")
    return constants.ENDPOINT, get_token() or ""
