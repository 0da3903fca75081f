"""What a gateway process has of kept conversations: recorders for its calls, and their routes. Knows no socket."""

from __future__ import annotations

from dataclasses import replace

from app.callers import Caller, Grant
from app.database import Database
from app.errors import BadRequest, NotFound
from app.session import Start
from app.store import store
from app.store.recorder import Recorder, restored

OFF = "this service keeps no conversations; PARLEY_STORE turns that on"
MAX_CALLER_ID = 128  # characters


async def begin(
    database: Database | None, caller: Caller, *, caller_id: str, keep_audio: bool, resume: str
) -> tuple[Start, Recorder | None]:
    """What a call begins with, and what keeps it; without `database` nothing does, and nothing can be resumed.

    `caller_id`, `keep_audio` and `resume` are what the client asks for; a client secret may have said the first two
    already. Raises BadRequest, NotFound, DatabaseUnavailable.
    """
    grant = caller.grant or Grant()
    caller_id, keep_audio = grant.caller_id or caller_id, grant.keep_audio or keep_audio
    if len(caller_id) > MAX_CALLER_ID or not caller_id.isprintable():  # PostgreSQL, for one, holds no NUL
        raise BadRequest(
            f"got a parley_caller of {len(caller_id)} characters, expected at most {MAX_CALLER_ID} that can be printed",
            param="parley_caller",
        )
    if database is None:
        if resume:
            raise NotFound(OFF, code="store_off")
        return Start(changes=grant.session), None
    start = Start(changes=grant.session)
    rows: list[store.StoredItem] = []
    if resume:
        row, rows = await database.run(lambda s: store.resume(s, resume, caller.key, caller_id, start.id))
        start = replace(start, changes=row.config, conversation=restored(rows), conversation_id=resume)
    recorder = Recorder(
        database, start.conversation, name=start.conversation_id, key=caller.key, caller_id=caller_id,
        session=start.id, keeps_audio=keep_audio, kept=rows,
    )  # fmt: skip
    # Told only to who knows of it: a stock client may not like what it does not know.
    told = {"parley_conversation": start.conversation_id} if caller_id or resume else {}
    return replace(start, recorder=recorder, told=told), recorder
