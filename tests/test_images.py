"""Images and compose file, as far as they can be told without an engine; `make prove-images` goes through the steps."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app import REPOSITORY
from app.__main__ import COMMANDS
from app.config import Settings

DOCKERFILES = [REPOSITORY / "docker" / "Dockerfile", *sorted((REPOSITORY / "docker").glob("*.Dockerfile"))]
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
VARIABLES = {f"PARLEY_{field.name.upper()}" for field in fields(Settings)}
STAGES = {"gateway", "recognizer", "language", "synthesizer"}


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Instruction and rest, comments left out and lines joined."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


def environment(service: dict[str, Any]) -> dict[str, str]:
    """A service's environment; names alone are passed through from the operator's."""
    given = service.get("environment", {})
    return dict.fromkeys(given, "") if isinstance(given, list) else given


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    result = subprocess.run([hadolint, *DOCKERFILES], capture_output=True, text=True)
    assert result.stdout == ""
    assert result.returncode == 0


def test_the_compose_file_fits_its_schema() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(schema.read_text(encoding="utf-8")))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_not_root_and_says_whether_it_is_well(dockerfile: Path) -> None:
    steps = instructions(dockerfile)
    users = [rest for step, rest in steps if step == "USER"]
    assert users[-1] == "10001"
    assert any(step == "HEALTHCHECK" for step, _ in steps)
    for step, rest in steps:
        if step in ("ENTRYPOINT", "CMD"):
            assert isinstance(json.loads(rest), list)  # the process itself gets SIGTERM, not a shell
        if step == "FROM":
            image = rest.split()[0]
            assert "/" not in image or "." not in image.partition("/")[0]  # no registry is named
            assert ":" in image or any(other.endswith(f" AS {image}") for _, other in steps)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_an_image_copies_is_there_and_let_through(dockerfile: Path) -> None:
    let_through = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for step, rest in instructions(dockerfile):
        words = [word for word in rest.split() if not word.startswith("--chown")]
        if step == "COPY" and not words[0].startswith("--from"):
            for source in words[:-1]:
                assert source in let_through
                assert (REPOSITORY / source).exists(), source


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_a_profile_has_every_process_at_its_name(profile: str) -> None:
    reached = {}
    for name, service in SERVICES.items():
        if profile in service.get("profiles", []):
            for alias in service.get("networks", {}).get("default", {}).get("aliases", [name]):
                reached[alias] = service
    assert set(reached) == STAGES
    gateway = environment(reached["gateway"])
    for stage in STAGES - {"gateway"}:
        assert gateway[f"PARLEY_{stage.upper()}"] == f"http://{stage}:8000"
        assert environment(reached[stage])["PARLEY_ALLOW_HOST"] == stage  # or the gateway would be refused
        assert ("deploy" in reached[stage]) == (profile == "gpu")
    for service in reached.values():
        assert service["init"]
        assert service["cap_drop"] == ["ALL"]


def test_services_use_targets_commands_and_settings_that_exist() -> None:
    for name, service in SERVICES.items():
        assert {key for key in environment(service) if key.startswith("PARLEY_")} <= VARIABLES, name
        if "build" not in service:
            continue
        dockerfile = REPOSITORY / service["build"]["dockerfile"]
        steps = instructions(dockerfile)
        targets = [rest.split(" AS ")[1] for step, rest in steps if step == "FROM" and " AS " in rest]
        assert service["build"].get("target") in [None, *targets], name
        assert all(json.loads(rest)[0] in (*COMMANDS, "finetune.starter.recognizer") for s, rest in steps if s == "CMD")


def test_files_that_are_mounted_are_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (REPOSITORY / source).is_file()


def test_the_dashboard_shows_metrics_that_exist() -> None:
    documented = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    dashboard = json.loads((REPOSITORY / "docker" / "grafana" / "parley.json").read_text(encoding="utf-8"))
    shown = {
        re.sub(r"_(?:bucket|sum|count)$", "", name)
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b(?:parley|process)_\w+", target["expr"])
    }
    assert len(shown) > 10
    assert [name for name in sorted(shown) if f"`{name}`" not in documented] == []


def test_prometheus_asks_every_process() -> None:
    config = yaml.safe_load((REPOSITORY / "docker" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert {target.removesuffix(":8000") for target in job["static_configs"][0]["targets"]} == STAGES
