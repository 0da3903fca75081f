"""The operator's page in real Chromium: jobs with curves and buttons, a result built, refused, forced, rolled back."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from app.access import Access
from app.jobs.store import File, Store, new_id, now
from app.packs import find_pack
from tests.app.jobs.packs import measure, write_job, write_pack
from tests.app.jobs.place import Place
from tests.browser.chromium import chromium, page_at, shot
from tests.serving import serving

expect.set_options(timeout=120_000)  # milliseconds; reached only where something hangs


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    write_pack(made.packs)
    return made


@contextlib.asynccontextmanager
async def opened(place: Place, access: Access | None = None, **context: object) -> AsyncIterator[Page]:
    async with (
        serving(place.app(access=access)) as url,
        chromium() as browser,
        page_at(f"{url}/operator", browser, **context) as page,
    ):
        yield page


async def test_a_job_is_watched_and_cancelled(place: Place) -> None:
    write_job(place, "failed", error={"code": "training_failed", "message": "the loss is nan", "param": None})
    job = write_job(place, "paused", suffix="digits")
    run = place.jobs / "runs" / job.id / "run"
    async with opened(place) as page:
        cards = page.locator("#jobs .card")
        await expect(cards).to_have_count(2)
        await expect(cards.nth(1)).to_contain_text("the loss is nan")
        await expect(cards.first).to_contain_text("step 50 of 100")
        await cards.first.locator("button.name").click()
        await expect(page.locator(".curve")).to_have_count(3)
        await expect(page.locator(".curve figcaption").first).to_contain_text("loss")
        await expect(page.locator("#events li")).to_contain_text("The job is created; its data are looked at")
        count = await page.locator(".curve").first.get_attribute("data-count")
        measure(run, 60, 70)
        await expect(page.locator(".curve").first).not_to_have_attribute("data-count", str(count))  # live
        await page.locator("#log-box summary").click()
        await expect(page.locator("#log")).to_contain_text("a last line")
        await shot(page, "operator-job")
        await cards.first.get_by_text("Cancel").click()  # nothing, where the question is answered with no
        await expect(cards.first.locator(".chip")).to_have_text("paused")
        page.once("dialog", lambda question: question.accept())
        await cards.first.get_by_text("Cancel").click()
        await expect(cards.first.locator(".chip")).to_have_text("cancelled")
        await expect(cards.first.locator(".actions button")).to_have_count(0)


async def test_a_result_goes_into_service_by_its_gates(place: Place) -> None:
    job = write_job(place, "succeeded", evaluated=False, suffix="digits")
    store = Store(place.jobs)
    path = f"runs/{job.id}/run/metrics.jsonl"
    file = File(id=new_id("file"), created_at=now(), filename="metrics.jsonl", bytes=9, purpose="fine-tune-results",
                path=path)  # fmt: skip
    store.add(file)
    store.change(job.id, result_files=[file.id])
    async with opened(place, color_scheme="dark", viewport={"width": 1280, "height": 1000}) as page:
        await page.locator("#jobs button.name").click()
        await expect(page.locator("#build-name")).to_have_value("de@digits")
        await page.get_by_text("Build and promote").click()
        await expect(page.locator("#build .refused")).to_contain_text("recognizer, wer: 0.04 share")
        assert find_pack(place.packs, "de").version == "1"
        await expect(page.get_by_text("Roll back")).to_have_count(0)  # nothing was current before
        card = page.locator('#packs .card[data-pack="de@digits"]')
        await card.get_by_text("Promote", exact=True).click()
        await expect(card.locator(".refused")).to_contain_text("is not promoted")
        await card.locator(".gates summary").click()
        await shot(page, "operator-refused")
        await card.locator(".force input").fill("heard by hand")
        await card.get_by_text("Promote all the same").click()
        await expect(card.locator(".chip")).to_have_text("current")
        assert find_pack(place.packs, "de").version == "digits"
        async with page.expect_download() as waiting:
            await page.locator("#files button").click()
        assert (await waiting.value).suggested_filename == "metrics.jsonl"
        await card.get_by_text("Roll back to de@1").click()
        await expect(page.locator('#packs .card[data-pack="de@1"] .chip')).to_have_text("current")
        await expect(page.get_by_text("Roll back")).to_have_count(0)
        await card.locator(".gates summary").click()
        await expect(card.locator(".gates")).to_contain_text(re.compile("promoted all the same.*heard by hand"))


async def test_a_job_is_created_on_the_page(place: Place) -> None:
    folder = place.datasets / "digits"
    folder.mkdir(parents=True)
    (folder / "manifest.jsonl").write_text('{"id": "1"}')
    async with opened(place) as page:
        await page.locator("#create summary").click()
        await expect(page.locator("#create-model")).to_have_value("de")
        await expect(page.locator("#create-datasets option")).to_have_text(["dataset:digits"])
        await page.select_option("#create-method", "joint")
        await expect(page.locator("#create-datasets option")).to_have_count(0)  # it has no dialogues
        await page.select_option("#create-method", "recognizer")
        await page.fill("#create-data", "dataset:digits")
        await page.fill("#create-set", "n_epochs=2 patience")
        await page.fill("#create-suffix", "digits")
        await page.check("#create-dry")
        await shot(page, "operator-create")
        await page.locator("#create-form button").click()
        await expect(page.locator("#create-said")).to_have_text("Got patience, expected KEY=VALUE.")
        await page.fill("#create-set", "n_epochs=2 training.patience=1")
        await page.locator("#create-form button").click()
        await expect(page.locator("#jobs .card.chosen")).to_contain_text("recognizer of de, digits")
        await expect(page.locator("#detail-facts")).to_contain_text("n_epochs 2 · training.patience 1")
        (job,) = Store(place.jobs).jobs("", 9)[0]
        assert (job.method, job.dry_run, job.hyperparameters["training.patience"]) == ("recognizer", True, 1)

        await page.locator("#create summary").click()
        await page.select_option("#create-method", "language")
        await expect(page.locator("#create-data")).to_have_value("")
        await expect(page.locator("#create-model")).to_have_value("de")
        await page.set_input_files("#create-file", {"name": "c.jsonl", "mimeType": "", "buffer": b"x"})
        await page.locator("#create-form button").click()
        await expect(page.locator("#jobs .card")).to_have_count(2)
        file = Store(place.jobs).file(Store(place.jobs).jobs("", 9)[0][0].training_file)
        assert (file.filename, (place.jobs / file.path).read_bytes()) == ("c.jsonl", b"x")


async def test_the_page_asks_for_an_operators_key(place: Place) -> None:
    access = Access(frozenset({"caller"}), frozenset({"operator"}))
    async with opened(place, access, viewport={"width": 390, "height": 844}) as page:
        for key, answer in (("caller", "This is a caller's key"), ("wrong", "not one of this service's keys")):
            await expect(page.locator("#key-dialog")).to_be_visible()
            await page.fill("#key", key)
            await page.press("#key", "Enter")
            await expect(page.locator("#key-hint")).to_contain_text(answer)
        await page.fill("#key", "operator")
        await page.press("#key", "Enter")
        await expect(page.locator("#packs .card")).to_have_count(1)
        await expect(page.locator("#no-jobs")).to_be_visible()
        await shot(page, "operator-phone")
