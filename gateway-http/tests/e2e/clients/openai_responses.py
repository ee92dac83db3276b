"""Talks to the Responses API through OpenAI's own client, and prints what it saw as one JSON object."""

import json
import time

import openai
from pydantic import BaseModel

client = openai.OpenAI(max_retries=0, timeout=30)
seen = {}


class City(BaseModel):
    name: str
    inhabitants: int


ADD = {
    "type": "function",
    "name": "add",
    "description": "Adds two numbers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
    "strict": True,
}


def ask(text, **more):
    return {"model": "clawdbot", "input": text, **more}


def counts(usage):
    return [usage.input_tokens, usage.output_tokens, usage.total_tokens]


def error(call):
    try:
        call()
    except openai.APIStatusError as raised:
        return {"class": type(raised).__name__, "status": raised.status_code, "code": raised.code}


answer = client.responses.create(**ask("chat"))
seen["chat"] = {"text": answer.output_text, "status": answer.status, "usage": counts(answer.usage)}
seen["kept"] = client.responses.retrieve(answer.id).output_text

with client.responses.stream(**ask("stream")) as stream:
    deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
    final = stream.get_final_response()
seen["stream"] = {"deltas": deltas, "text": final.output_text, "usage": counts(final.usage)}

called = client.responses.create(**ask("tools", tools=[ADD]))
call = next(item for item in called.output if item.type == "function_call")
arguments = json.loads(call.arguments)
result = {"type": "function_call_output", "call_id": call.call_id, "output": str(arguments["a"] + arguments["b"])}
answer = client.responses.create(**ask([result], tools=[ADD], previous_response_id=called.id))
seen["tools"] = {"arguments": arguments, "text": answer.output_text}

parsed = client.responses.parse(**ask("structured"), text_format=City)
seen["structured"] = parsed.output_parsed.model_dump()

begun = client.responses.create(**ask("background"), background=True)
while begun.status in ("queued", "in_progress"):
    time.sleep(0.05)
    begun = client.responses.retrieve(begun.id)
seen["background"] = {"status": begun.status, "text": begun.output_text}

cut = {"text": "", "numbers": []}
with client.responses.create(**ask("cut"), background=True, stream=True) as stream:
    for event in stream:
        if event.type == "response.created":
            cut_id = event.response.id
        cut["numbers"].append(event.sequence_number)
        if event.type == "response.output_text.delta":
            cut["text"] += event.delta
            break
for event in client.responses.retrieve(cut_id, stream=True, starting_after=event.sequence_number):
    cut["numbers"].append(event.sequence_number)
    cut["text"] += event.delta if event.type == "response.output_text.delta" else ""
seen["cut"] = {"text": cut["text"], "whole": cut["numbers"] == list(range(len(cut["numbers"])))}

stopped = client.responses.create(**ask("stopped"), background=True)
while client.responses.retrieve(stopped.id).output_text != "half":
    time.sleep(0.05)
seen["stopped"] = client.responses.cancel(stopped.id).status

seen["error"] = error(lambda: client.responses.create(**ask("error")))
seen["unknown"] = error(lambda: client.responses.retrieve("resp_0"))
stranger = client.with_options(api_key="wrong")
seen["stranger"] = error(lambda: stranger.responses.create(**ask("stranger")))

print(json.dumps(seen))
