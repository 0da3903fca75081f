"""What one reply is made of, as the session and the client's options for it say. Knows no worker and no time."""

from __future__ import annotations

from dataclasses import dataclass

from app import events as got
from app import session_config
from app.answer import check_choice
from app.conversation import Conversation, Item, parse_item
from app.g711 import ToTelephone
from app.names import voice_of
from app.packs import Pack
from app.response import Response
from app.session_config import SessionConfig


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one reply is made of."""

    options: got.ResponseOptions
    items: list[Item] | None
    """Of the prompt; None: the conversation."""
    output: session_config.AudioOutput
    announcement: str
    """Said instead of what the model would write."""


def wanted_of(
    options: got.ResponseOptions, announcement: str, config: SessionConfig, conversation: Conversation, pack: Pack
) -> Wanted:
    """What a client's options make of the session. Raises BadRequest for options that make no sense."""
    check_choice(config, options)
    items = None
    if options.input is not None:
        items = [
            conversation.get(str(fields.get("id")), "retrieve")
            if fields.get("type") == "item_reference"
            else parse_item(fields)
            for fields in options.input
        ]
    output = session_config.merge_output(config.audio.output, options.audio or {})
    voice_of(session_config.voice_name(output.voice), pack.voice.names)
    return Wanted(options, items, output, announcement)


def response_of(wanted: Wanted, config: SessionConfig, conversation: Conversation, conversation_id: str) -> Response:
    """The reply that has not begun yet; one out of band belongs to no conversation."""
    options, output = wanted.options, wanted.output
    in_band = options.conversation == "auto"
    speaks = "audio" in (options.output_modalities or config.output_modalities)
    law = output.format.type
    return Response(
        config={
            "conversation_id": conversation_id if in_band else None,
            "output_modalities": ["audio"] if speaks else ["text"],
            "max_output_tokens": options.max_output_tokens or config.max_output_tokens,
            "audio": {"output": {"format": output.format.model_dump(), "voice": output.voice}},
            "metadata": options.metadata,
        },
        conversation=conversation if in_band else None,
        speaks=speaks,
        telephone=None if law == "audio/pcm" else ToTelephone(law),
    )
