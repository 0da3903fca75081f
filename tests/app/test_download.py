"""Downloads against a real server on loopback: resumed, verified, whole or not there, and refusals in words."""

from __future__ import annotations

import hashlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.download import download
from app.download_progress import ProgressLine, describe
from app.errors import DownloadError
from tests.hub import Hub, running_hub

BODY = bytes(range(256)) * 20_000  # 5 MB: several blocks
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        hub.files["/model.bin"] = BODY
        yield hub


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as client:
        yield client


def test_a_file_arrives_whole(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    target = tmp_path / "deep" / "model.bin"
    got = download(client, f"{hub.url}/model.bin", target, sha256=SHA256, progress=lambda *now: seen.append(now))
    assert got == SHA256
    assert target.read_bytes() == BODY
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert [path.name for path in target.parent.iterdir()] == ["model.bin"]


def test_a_dropped_connection_is_taken_up_where_it_broke(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    hub.drop_after = [2_000_000, 1_000_000]
    download(client, f"{hub.url}/model.bin", tmp_path / "model.bin", sha256=SHA256)
    assert (tmp_path / "model.bin").read_bytes() == BODY
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0 for _, asked in hub.asked]
    assert len(starts) == 3
    assert starts == sorted(set(starts))  # every request began where the last had ended


def test_a_later_run_goes_on_from_what_is_there(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "model.bin.part").write_bytes(BODY[:3_000_000])
    seen: list[tuple[int, int]] = []
    target = tmp_path / "model.bin"
    download(client, f"{hub.url}/model.bin", target, sha256=SHA256, progress=lambda *now: seen.append(now))
    assert target.read_bytes() == BODY
    assert hub.asked == [("/model.bin", "bytes=3000000-")]
    assert seen[0] == (3_000_000, len(BODY))


def test_a_server_without_range_sends_it_all_again(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    hub.knows_range = False
    (tmp_path / "model.bin.part").write_bytes(b"x" * 100)
    download(client, f"{hub.url}/model.bin", tmp_path / "model.bin", sha256=SHA256)
    assert (tmp_path / "model.bin").read_bytes() == BODY


def test_a_part_that_is_whole_is_only_put_in_place(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "model.bin.part").write_bytes(BODY)
    assert download(client, f"{hub.url}/model.bin", tmp_path / "model.bin", sha256=SHA256) == SHA256
    assert len(hub.asked) == 1
    assert (tmp_path / "model.bin").read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "model.bin.part").write_bytes(BODY + b"more")
    download(client, f"{hub.url}/model.bin", tmp_path / "model.bin", sha256=SHA256)
    assert (tmp_path / "model.bin").read_bytes() == BODY


def test_wrong_bytes_are_refused_and_not_kept(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    hub.files["/model.bin"] = b"something else"
    with pytest.raises(DownloadError) as caught:
        download(client, f"{hub.url}/model.bin", tmp_path / "model.bin", sha256=SHA256)
    assert caught.value.code == "download_error"
    assert hashlib.sha256(b"something else").hexdigest() in caught.value.message
    assert SHA256 in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_right_is_not_fetched(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(BODY)
    assert download(client, f"{hub.url}/model.bin", tmp_path / "model.bin", sha256=SHA256) == SHA256
    assert hub.asked == []


def test_a_damaged_file_is_fetched_again(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(BODY[:-1] + b"?")
    download(client, f"{hub.url}/model.bin", tmp_path / "model.bin", sha256=SHA256)
    assert (tmp_path / "model.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    ("status", "words"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "has no /model.bin"), (503, "answered 503")]
)
def test_refusals_are_words(hub: Hub, client: httpx.Client, tmp_path: Path, status: int, words: str) -> None:
    hub.status = status
    with pytest.raises(DownloadError, match=words):
        download(client, f"{hub.url}/model.bin", tmp_path / "model.bin")


def test_a_hub_that_is_down_is_named(client: httpx.Client, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DownloadError, match=rf"cannot reach 127\.0\.0\.1:{port}"):
        download(client, f"http://127.0.0.1:{port}/model.bin", tmp_path / "model.bin")


def test_a_hub_that_breaks_off_at_once_ends_it_and_keeps_the_part(
    hub: Hub, client: httpx.Client, tmp_path: Path
) -> None:
    hub.drop_after = [2_000_000, 0]
    with pytest.raises(DownloadError, match="the same command goes on"):
        download(client, f"{hub.url}/model.bin", tmp_path / "model.bin", sha256=SHA256)
    assert not (tmp_path / "model.bin").exists()
    part = (tmp_path / "model.bin.part").read_bytes()
    assert part
    assert part == BODY[: len(part)]
    download(client, f"{hub.url}/model.bin", tmp_path / "model.bin", sha256=SHA256)
    assert (tmp_path / "model.bin").read_bytes() == BODY


def test_a_place_that_cannot_be_written_is_named(hub: Hub, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot write"):
        download(client, f"{hub.url}/model.bin", tmp_path / "file" / "model.bin")


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ((203_000_000, 484_000_000, 113_000_000, 10.0), "m  41 %  203 of 484 MB  11.3 MB/s  25 s left"),
        ((0, 0, 0, 0.0), "m  0 MB"),
        ((1_000_000, 5_000_000_000, 1_000_000, 1.0), "m  0 %  1 of 5000 MB  1.0 MB/s  1 h 23 min left"),
        ((5_000_000, 5_000_000, 5_000_000, 5.0), "m  100 %  5 of 5 MB  1.0 MB/s"),
        ((1_000_000, 301_000_000, 1_000_000, 1.0), "m  0 %  1 of 301 MB  1.0 MB/s  5 min left"),
    ],
)
def test_the_progress_line(numbers: tuple[int, int, int, float], line: str) -> None:
    assert describe("m", *numbers) == line


def test_a_log_gets_few_lines() -> None:
    out = io.StringIO()
    now = iter(float(second) for second in range(101))
    line = ProgressLine("m", out, clock=lambda: next(now))
    for done in range(101):
        line(done * 1_000_000, 100_000_000)
    line.end()
    lines = out.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[-1] == "m  100 %  100 of 100 MB  1.0 MB/s"


def test_a_terminal_gets_one_line_that_is_written_over() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    now = iter([0.0, 0.1, 0.5, 1.0])
    line = ProgressLine("m", out, clock=lambda: next(now))
    for done in (0, 1_000_000, 5_000_000, 10_000_000):
        line(done, 10_000_000)
    line.end()
    drawn = out.getvalue().split("\r\x1b[K")
    assert drawn[0] == ""
    assert len(drawn) == 4  # the second came too soon after the first
    assert drawn[-1] == "m  100 %  10 of 10 MB  10.0 MB/s\n"
