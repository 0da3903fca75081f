"""`.venv/bin/python -m tests.clients.scripted_service PORT`: the gateway with workers that do no work, and one key."""

from __future__ import annotations

import sys

import uvicorn

from app.access import Access
from app.gateway import create_app
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED

KEY = "sk-anybody"

if __name__ == "__main__":
    workers = Workers(
        ScriptedRecognizer(["hello"], repeat=True, language="en"),
        ScriptedLanguage(["Hello there."], repeat=True),
        ScriptedSynthesizer(samples_per_character=50),
    )
    app = create_app(SCRIPTED, workers, access=Access(api_keys=frozenset({KEY})))
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
