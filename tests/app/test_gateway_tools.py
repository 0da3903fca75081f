"""Tools over a real server with scripted workers: the pack's run unseen, a client's are called and never run."""

from __future__ import annotations

import json

from app.workers.base import ToolCall
from app.workers.scripted import ScriptedLanguage
from tests.app.test_gateway import call, text_item


async def test_the_packs_tools_are_executed_and_stay_invisible() -> None:
    tool_call = ToolCall("call_1", "calculate", '{"expression": "12 + 30"}')
    async with call(replies=[[tool_call], "That is 42."]) as (caller, workers):
        await caller.send("conversation.item.create", item=text_item("what is twelve plus thirty"))
        await caller.send("response.create")
        done = await caller.until("response.done")
    assert [item["type"] for item in done["response"]["output"]] == ["message"]
    assert isinstance(workers.language, ScriptedLanguage)
    result = workers.language.requests[1].messages[-1]
    assert (result["role"], json.loads(result["content"])) == ("tool", {"result": 42})


async def test_letters_are_said_by_the_tool_and_no_model_is_asked_to_repeat_them() -> None:
    async with call(replies=[[ToolCall("call_1", "spell", '{"word": "anna"}')]]) as (caller, workers):
        await caller.send("conversation.item.create", item=text_item("spell anna"))
        await caller.send("response.create")
        done = await caller.until("response.done")
    assert done["response"]["output"][0]["content"][0]["transcript"] == "A, N, N, A."
    assert isinstance(workers.language, ScriptedLanguage)
    assert len(workers.language.requests) == 1


async def test_a_timer_that_ends_speaks_by_itself() -> None:
    tool_call = ToolCall("call_1", "set_timer", '{"amount": 1, "unit": "seconds"}')
    async with call(replies=[[tool_call], "Your timer is set."], query="?parley_timings=true") as (caller, _):
        await caller.send("conversation.item.create", item=text_item("set a timer for one second"))
        await caller.send("response.create")
        answered = await caller.until("response.done")
        announced = await caller.until("response.done")
    assert announced["response"]["output"][0]["content"][0]["transcript"] == "Your timer for 1 second is done."
    timed = [event["response_id"] for event in caller.all("parley.turn.timings")]
    assert timed == [answered["response"]["id"]]  # nobody waited for the announcement


async def test_a_clients_tool_is_called_and_never_executed() -> None:
    tool = {"type": "function", "name": "calculate", "description": "", "parameters": {"type": "object"}}
    tool_call = ToolCall("call_1", "calculate", '{"expression": "12 + 30"}')
    async with call(replies=[[tool_call], "It is forty two."]) as (caller, workers):
        await caller.send("session.update", session={"tools": [tool]})
        await caller.send("conversation.item.create", item=text_item("twelve plus thirty"))
        await caller.send("response.create")
        first = await caller.until("response.done")
        output = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
        await caller.send("conversation.item.create", item=output)
        await caller.send("response.create")
        second = await caller.until("response.done")
    called = first["response"]["output"][0]
    assert (called["type"], called["name"], called["call_id"]) == ("function_call", "calculate", "call_1")
    types = caller.types()
    assert types.index("response.output_item.added") < types.index("response.function_call_arguments.done")
    assert second["response"]["status"] == "completed"
    assert isinstance(workers.language, ScriptedLanguage)
    assert len(workers.language.requests) == 2
    assert workers.language.requests[1].messages[-1] == {"role": "tool", "tool_call_id": "call_1", "content": "42"}
