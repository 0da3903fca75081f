"""The page in real Firefox: typed and spoken requests are answered in words and sound, and nothing is complained of."""

from __future__ import annotations

import os
from pathlib import Path

from app.gateway import create_app
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.browser.chromium import recording
from tests.browser.firefox import firefox
from tests.browser.sound_card import sound_card
from tests.packs import SCRIPTED
from tests.serving import serving
from tests.sounds import flite, silence

QUESTION = "what time is it"
ANSWERS = ["It is ten past nine. Have a good morning.", "It is still ten past nine."]
TYPE = f"document.querySelector('#text').value = '{QUESTION}'; document.querySelector('#form').requestSubmit()"
HEARD_MS = "Number([...document.querySelectorAll('.assistant')].at(-1)?.dataset.heardMs)"


async def test_requests_are_answered_in_words_and_sound(tmp_path: Path) -> None:
    workers = Workers(ScriptedRecognizer([QUESTION]), ScriptedLanguage(ANSWERS), ScriptedSynthesizer())
    question = recording(tmp_path / "question.wav", silence(0.5) + flite(QUESTION) + silence(1.5))
    async with (
        serving(create_app(SCRIPTED, workers)) as url,
        sound_card(tmp_path, dict(os.environ)) as card,
        firefox(tmp_path / "profile", card.environment) as page,
    ):
        await page.goto(url)
        await page.until("!document.querySelector('#talk').disabled")
        await page.value(f"(() => {{ {TYPE} }})()")
        await page.until(f"document.querySelector('.assistant .words')?.textContent === {ANSWERS[0]!r}")
        await page.until(f"{HEARD_MS} > 500")  # it is played
        await page.until("document.querySelector('#state').textContent === 'Ready'")
        await page.value("document.querySelector('#talk').click()")
        await page.until("document.querySelector('#state').textContent === 'Listening'")
        await card.speak(question)
        await page.until(f"[...document.querySelectorAll('.assistant .words')].at(-1).textContent === {ANSWERS[1]!r}")
        assert await page.value("[...document.querySelectorAll('.caller .words')].at(-1).textContent") == QUESTION
        await page.until(f"{HEARD_MS} > 500")
        assert await page.value("document.querySelectorAll('.times li').length") == 2
        await page.shot("firefox")
        assert page.complaints == []
