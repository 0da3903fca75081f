"""`make prove-images`: the steps of docker/Dockerfile and docker-compose.yml without a container engine.

Every COPY, ENV, RUN, HEALTHCHECK, ENTRYPOINT and CMD of the cpu profile's images is carried out below one temporary
folder that stands for the container's root, with nothing of this checkout's environment. Then the four processes of the
compose file run on loopback, each with its own health check, and a caller asks each worker something. What only an
image can show is skipped by name: users and their rights (useradd, install -o, USER), ports, volumes, capabilities.
Python is the one at hand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
SERVICES = ("recognizer", "language", "synthesizer", "gateway")
NEEDS_AN_IMAGE = ("useradd ", "install -d -o ")
PATHS = re.compile(r"(?<![\w.])/(?=(?:opt|models|state)\b)")
READY_SECONDS = 180
KEY = "prove-images"

Instruction = tuple[str, str]


class Stage:
    """What the instructions of one target have made so far: a root folder, an environment, commands."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root
        self.environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "HOME": str(root), "LANG": "C.UTF-8"}
        self.commands: dict[str, list[str]] = {}

    def here(self, text: str) -> str:
        """The container's paths as paths below the root."""
        return PATHS.sub(f"{self.root}/", text)

    def follow(self, instruction: str, rest: str) -> None:
        """Carries one instruction out, or says that only an image can."""
        if instruction == "WORKDIR":
            self.folder = Path(self.here(rest))
            self.folder.mkdir(parents=True, exist_ok=True)
        elif instruction == "ENV":
            for name, value in re.findall(r"(\w+)=(\S+)", rest):
                self.environment[name] = self.here(value).replace("$PATH", self.environment["PATH"])
        elif instruction == "COPY":
            self._copy(rest.split())
        elif instruction == "RUN":
            for command in rest.split(" && "):
                if command.startswith(NEEDS_AN_IMAGE):
                    say(f"      (only in an image: {command})")
                else:
                    say(f"      RUN {command}")
                    run(self.here(command), self.folder, self.environment)
        elif instruction in ("ENTRYPOINT", "CMD"):
            self.commands[instruction] = json.loads(rest)
        elif instruction == "HEALTHCHECK":
            self.commands[instruction] = json.loads(rest[rest.index("CMD") + 3 :])
        elif instruction not in ("USER", "VOLUME", "EXPOSE"):
            sys.exit(f"docker/Dockerfile has {instruction}, which this proof does not know")

    def _copy(self, words: list[str]) -> None:
        if words[0].startswith("--from="):
            return  # another target below the same root: it is in place
        *sources, target = words
        for source in sources:
            path = REPOSITORY / source
            if path.is_dir():
                shutil.copytree(path, self.folder / target, dirs_exist_ok=True, ignore=ignored)
            else:
                shutil.copy(path, self.folder / target)


def ignored(folder: str, names: list[str]) -> set[str]:
    """What .dockerignore leaves out of the copied folders."""
    packs = {name for name in names if name != "en-starter"} if folder.endswith("/packs") else set()
    return packs | {name for name in names if name == "__pycache__"}


def targets(dockerfile: Path) -> dict[str, tuple[str, list[Instruction]]]:
    """Name of each target -> what it starts from, and its instructions."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: dict[str, tuple[str, list[Instruction]]] = {}
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = (base, [])
        elif instruction:
            found[name][1].append((instruction, rest.strip()))
    return found


def build(target: str, known: Mapping[str, tuple[str, list[Instruction]]], root: Path, done: dict[str, Stage]) -> Stage:
    """The target's stage; what several targets share is carried out once, as an image's layers are."""
    if target in done:
        return done[target]
    base, instructions = known[target]
    stage = Stage(root)
    if base in known:
        parent = build(base, known, root, done)
        stage.folder, stage.environment = parent.folder, dict(parent.environment)
        stage.commands = dict(parent.commands)
    say(f"   target {target}, from {base}")
    for instruction, rest in instructions:
        if instruction == "COPY" and rest.startswith("--from="):
            build(rest.split()[0].removeprefix("--from="), known, root, done)
        stage.follow(instruction, rest)
    done[target] = stage
    return stage


def run(command: str, folder: Path, environment: Mapping[str, str]) -> None:
    """A shell command, or the end of the proof."""
    result = subprocess.run(command, shell=True, cwd=folder, env={**environment, **index_of_this_machine()})
    if result.returncode:
        sys.exit(f"failed with {result.returncode}: {command}")


def index_of_this_machine() -> dict[str, str]:
    """Where pip and TLS find their things here; an image's builder has its own."""
    names = ("PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
    return {"PIP_QUIET": "1", **{name: value for name, value in os.environ.items() if name.startswith(names)}}


def environment_of(service: Mapping[str, Any], ports: Mapping[str, int], stage: Stage) -> dict[str, str]:
    """A compose service's environment: variables filled in, names in the network as ports of loopback."""
    filled = {}
    for name, value in service["environment"].items():
        text = re.sub(r"\$\{PARLEY_KEY:\?[^}]*\}", KEY, str(value))
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        text = re.sub(r"http://(\w+):8000", lambda found: f"http://127.0.0.1:{ports[found[1]]}", text)
        filled[name] = stage.here(text)
    return filled


def prove(root: Path) -> None:
    """All of it below `root`."""
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    known = targets(REPOSITORY / "docker" / "Dockerfile")
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    done: dict[str, Stage] = {}
    ports = {name: free_port() for name in SERVICES}
    processes = {}
    try:
        for name in SERVICES:
            service = compose[name]
            say(f"{name}: the image")
            stage = build(service["build"]["target"], known, root, done)
            environment = {
                **stage.environment,
                **environment_of(service, ports, stage),
                "PARLEY_PORT": str(ports[name]),
            }
            command = [*stage.commands["ENTRYPOINT"], *service.get("command", stage.commands["CMD"])]
            say(f"{name}: {' '.join(command)}")
            processes[name] = subprocess.Popen(command_in(command, environment), cwd=stage.folder, env=environment)
            wait_until_well(name, stage, environment, processes[name])
        ask(ports["gateway"])
        for name in reversed(SERVICES):
            processes[name].terminate()
            code = processes[name].wait(30)
            say(f"{name}: ended with {code} after SIGTERM")
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def command_in(command: list[str], environment: Mapping[str, str]) -> list[str]:
    """The command with its program found on the container's PATH, not on ours."""
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        sys.exit(f"no {command[0]} on {environment['PATH']}")
    return [program, *command[1:]]


def wait_until_well(name: str, stage: Stage, environment: Mapping[str, str], process: subprocess.Popen[bytes]) -> None:
    """Runs the image's own health check until it passes."""
    check = command_in(stage.commands["HEALTHCHECK"], environment)
    deadline = time.monotonic() + READY_SECONDS
    while subprocess.run(check, cwd=stage.folder, env=environment, stderr=subprocess.DEVNULL).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{name} did not become well: exit code {process.poll()}")
        time.sleep(0.5)
    say(f"{name}: HEALTHCHECK {' '.join(stage.commands['HEALTHCHECK'])} passed")


def ask(port: int) -> None:
    """Speech out of the gateway, into the gateway, and a written answer: every worker has its turn."""
    speech = post(port, "audio/speech", {"model": "en-starter", "voice": "alloy", "input": "What time is it?"})
    say(f"synthesizer through the gateway: {len(speech)} bytes of speech")
    body = b"\r\n".join(
        [
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nen-starter',
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="q.mp3"\r\n\r\n' + speech,
            b"--b--\r\n",
        ]
    )
    heard = json.loads(post(port, "audio/transcriptions", body, "multipart/form-data; boundary=b"))["text"]
    say(f"recognizer through the gateway: {heard!r}")
    messages = [{"role": "user", "content": "hello, how are you"}]
    reply = json.loads(post(port, "chat/completions", {"model": "en-starter", "messages": messages}))
    said = reply["choices"][0]["message"]["content"]
    say(f"language through the gateway: {said!r}")
    if not (len(speech) > 1000 and heard and said):
        sys.exit("a worker answered nothing")


def post(port: int, path: str, body: dict[str, Any] | bytes, kind: str = "application/json") -> bytes:
    """The answer of the gateway's REST."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": kind}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        sys.exit(f"{path} answered {error.code}: {error.read().decode()}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def say(text: str) -> None:
    """One line of the proof."""
    print(text, flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="parley-images-") as folder:
        prove(Path(folder))
    say("The images' steps hold.")
