"""`parley models`: what the registry says, and profiles pulled from a hub on loopback."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app import REPOSITORY
from app.errors import DownloadError, LicenceError, SettingsError
from app.licences import is_allowed
from app.models import FOLDER, LOCK, listing, pull
from app.packs import read_pack
from app.registry import Model, Profile, read_registry
from tests.hub import Hub, running_hub

REVISION = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = b"weights" * 1000


def model(name: str = "ears", stage: str = "recognizer", licence: str = "MIT", **more: object) -> Model:
    files = {"model.bin": hashlib.sha256(WEIGHTS).hexdigest(), "config.json": ""}
    values = {"repository": f"someone/{name}", "revision": REVISION, "files": files} | more
    return Model(name, stage, licence, 1, **values)  # type: ignore[arg-type]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        for name in ("ears", "mind", "mouth"):
            path = f"/someone/{name}/resolve/{REVISION}"
            hub.files[f"{path}/model.bin"] = WEIGHTS
            hub.files[f"{path}/config.json"] = b"{}"
        yield hub


def pull_from(hub: Hub, profile: Profile, folder: Path, *, accepted: bool = False, shelf: Path = FOLDER) -> str:
    out = io.StringIO()
    with httpx.Client(trust_env=False) as client:
        pull(profile, folder, accepted=accepted, client=client, endpoint=hub.url, token="t", out=out, shelf=shelf)
    return out.getvalue()


def test_every_profile_of_the_registry_is_sound() -> None:
    profiles = read_registry(FOLDER / "registry.toml")
    assert {"cpu", "cpu-small", "gpu", "non-commercial"} <= set(profiles)
    for name, profile in profiles.items():
        free = all(is_allowed(licence) for licence in profile.licences)
        assert free == (name != "non-commercial")  # the default profiles never ask
        if profile.pack:
            assert (FOLDER / "profiles" / f"{profile.pack}.toml").is_file()
        for one in profile.models:
            assert not one.shipped or (FOLDER / one.shipped).is_dir()


def test_the_list_says_sizes_licences_and_what_asks() -> None:
    text = listing(read_registry(FOLDER / "registry.toml"))
    assert "cpu: nothing to download" in text
    assert "gpu: 17011 MB to download, makes the pack en-gpu" in text
    assert "CPML, --accept-licence" in text
    assert "MIT, --accept-licence" not in text


@pytest.mark.parametrize("pack", [path.stem for path in (FOLDER / "profiles").glob("*.toml")])
def test_a_profile_s_manifest_is_a_pack(pack: str, tmp_path: Path) -> None:
    (tmp_path / "pack.toml").write_bytes((FOLDER / "profiles" / f"{pack}.toml").read_bytes())
    assert read_pack(tmp_path).name == pack


def test_a_profile_becomes_a_pack(hub: Hub, tmp_path: Path) -> None:
    path = f"/someone/mind/resolve/{REVISION}"
    hub.files[f"{path}/config.json"] = b'{"chat_template": "{{ messages }}"}'
    hub.files[f"{path}/tokenizer_config.json"] = b'{"chat_template": "{{ messages }}"}'
    mind = model("mind", "language", files={"model.bin": "", "tokenizer_config.json": ""})
    voice = Model("voice", "voice", "Apache-2.0", 7, shipped="packs/en-starter/voice")
    said = pull_from(hub, Profile("small", "", (model(), mind, voice), pack="en-small"), tmp_path)
    pack = read_pack(tmp_path / "en-small")
    assert (pack.recognizer_folder / "model.bin").read_bytes() == WEIGHTS
    assert (pack.language_folder / "chat_template.jinja").read_text() == "{{ messages }}"
    shipped = REPOSITORY / "models" / "packs" / "en-starter" / "voice" / "voice.json"
    assert (pack.voice_folder / "voice.json").read_bytes() == shipped.read_bytes()
    assert "--pack en-small" in said
    assert hub.tokens == ["Bearer t"] * 4


def test_pulling_again_fetches_nothing_and_keeps_the_manifest(hub: Hub, tmp_path: Path) -> None:
    profile = Profile("small", "", (model(),), pack="en-small")
    pull_from(hub, profile, tmp_path)
    manifest = tmp_path / "en-small" / "pack.toml"
    manifest.write_text(manifest.read_text().replace("How can I help", "What can I do"))
    hub.asked.clear()
    pull_from(hub, profile, tmp_path)
    assert hub.asked == []
    assert "What can I do" in manifest.read_text()


def test_an_unknown_hash_is_recorded_and_held_to(hub: Hub, tmp_path: Path) -> None:
    profile = Profile("p", "", (model(),))
    pull_from(hub, profile, tmp_path)
    key = f"someone/ears@{REVISION}/config.json"
    assert json.loads((tmp_path / LOCK).read_text()) == {key: hashlib.sha256(b"{}").hexdigest()}
    (tmp_path / "sources" / "ears" / "config.json").unlink()
    hub.files[f"/someone/ears/resolve/{REVISION}/config.json"] = b'{"other": 1}'
    with pytest.raises(DownloadError, match="other bytes than expected"):
        pull_from(hub, profile, tmp_path)


def test_nothing_is_fetched_before_every_licence_is_accepted(hub: Hub, tmp_path: Path) -> None:
    profile = Profile("p", "", (model(), model("mouth", "voice", "CPML")))
    with pytest.raises(LicenceError, match="model mouth is under CPML"):
        pull_from(hub, profile, tmp_path)
    assert hub.asked == []
    pull_from(hub, profile, tmp_path, accepted=True)
    assert (tmp_path / "sources" / "mouth" / "model.bin").exists()


def test_a_checkpoint_to_convert_stays_out_of_the_pack(hub: Hub, tmp_path: Path) -> None:
    voice = model("mouth", "voice", convert="convert {source} to {voice}")
    said = pull_from(hub, Profile("p", "", (model(), voice), pack="en-small"), tmp_path)
    assert (tmp_path / "sources" / "mouth" / "model.bin").exists()
    assert not (tmp_path / "en-small" / "voice").exists()
    assert f"convert {tmp_path}/sources/mouth to {tmp_path}/en-small/voice" in said


def test_a_profile_without_models_needs_no_hub(tmp_path: Path, hub: Hub) -> None:
    assert "needs nothing" in pull_from(hub, Profile("cpu", "ships", ()), tmp_path)
    assert hub.asked == []


def test_a_disk_too_small_is_said_before(hub: Hub, tmp_path: Path) -> None:
    huge = Model("huge", "language", "MIT", 10**12, repository="a/b", revision=REVISION, files={"x": ""})
    with pytest.raises(DownloadError, match="needs 1000000000000 MB"):
        pull_from(hub, Profile("p", "", (huge,)), tmp_path)


MODEL = f'[models.a]\nstage = "voice"\nlicence = "MIT"\nmegabytes = 1\nrepository = "a/b"\nrevision = "{REVISION}"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "is not TOML"),
        ("[other]", "unknown tables"),
        (MODEL, "needs a revision of 40 digits and files"),
        (MODEL.replace("voice", "nose") + 'files = { x = "" }', "stage must be one of"),
        (MODEL + 'files = { "../x" = "" }', "outside of the model's folder"),
        (MODEL + 'files = { x = "abc" }', "SHA-256 of 64 digits"),
        (MODEL + 'files = { x = "" }\nshipped = "y"', "either repository or shipped"),
        (MODEL + 'files = { x = "" }\ncolour = "red"', "unknown keys"),
        (MODEL.replace("megabytes = 1", 'megabytes = "1"'), "must be int"),
        ('[models.a]\nstage = "voice"', "lacks"),
        ('[profiles.p]\nabout = ""\nmodels = ["x"]', "unknown models"),
    ],
)
def test_a_wrong_registry_says_where(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "registry.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        read_registry(path)


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no model registry"):
        read_registry(tmp_path / "registry.toml")


def parley(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, as an operator runs it."""
    command = [sys.executable, "-m", "app", "models", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_PROXY": "*", **environment})


def test_the_command_asks_the_hub_that_the_environment_names(hub: Hub, tmp_path: Path) -> None:
    done = parley(
        "pull", "cpu-small", "--to", str(tmp_path), HF_ENDPOINT=hub.url, HF_TOKEN="secret", HF_HUB_OFFLINE="0"
    )
    assert done.returncode == 1
    assert "127.0.0.1 has no /Systran/faster-whisper-small/resolve/" in done.stderr
    assert hub.tokens == ["Bearer secret"]


def test_the_command_downloads_nothing_where_the_hub_is_switched_off(tmp_path: Path) -> None:
    done = parley("pull", "cpu-small", "--to", str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set" in done.stderr


def test_the_command_names_the_profiles() -> None:
    done = parley("pull", "cpu-big")
    assert done.returncode == 1
    assert "no profile 'cpu-big'; there are: cpu, cpu-small, gpu, non-commercial" in done.stderr
    assert "en-small" in parley("list").stdout
