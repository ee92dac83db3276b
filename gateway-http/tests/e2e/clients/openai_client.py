"""Talks through OpenAI's own client, and prints what it saw as one JSON object."""

import json

import openai
from pydantic import BaseModel

client = openai.OpenAI(max_retries=0, timeout=30)
seen = {}


class City(BaseModel):
    name: str
    inhabitants: int


ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


def ask(text):
    return {"model": "clawdbot", "messages": [{"role": "user", "content": text}]}


def counts(usage):
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


def error(call):
    try:
        call()
    except openai.APIStatusError as raised:
        return {"class": type(raised).__name__, "status": raised.status_code, "code": raised.code}
    except openai.APIError as raised:
        return {"class": type(raised).__name__, "status": None, "code": raised.code}


def stream(text):
    said = {"text": "", "roles": [], "finish": [], "usage": None}
    chunks = client.chat.completions.create(**ask(text), stream=True, stream_options={"include_usage": True})
    for chunk in chunks:
        for choice in chunk.choices:
            said["text"] += choice.delta.content or ""
            said["roles"] += [choice.delta.role] if choice.delta.role else []
            said["finish"] += [choice.finish_reason] if choice.finish_reason else []
        said["usage"] = counts(chunk.usage) if chunk.usage else said["usage"]
    return said


seen["models"] = [model.id for model in client.models.list()]
seen["model"] = client.models.retrieve("clawdbot/beta").id

answer = client.chat.completions.create(**ask("chat"))
choice = answer.choices[0]
seen["chat"] = {"text": choice.message.content, "finish": choice.finish_reason, "usage": counts(answer.usage)}

seen["stream"] = stream("stream")

request = ask("tools")
called = client.chat.completions.create(**request, tools=[ADD]).choices[0]
call = called.message.tool_calls[0]
arguments = json.loads(call.function.arguments)
result = {"role": "tool", "tool_call_id": call.id, "content": str(arguments["a"] + arguments["b"])}
request["messages"] += [called.message, result]
answer = client.chat.completions.create(**request, tools=[ADD])
seen["tools"] = {"finish": called.finish_reason, "arguments": arguments, "text": answer.choices[0].message.content}

parsed = client.chat.completions.parse(**ask("structured"), response_format=City).choices[0].message.parsed
seen["structured"] = parsed.model_dump()

seen["error"] = error(lambda: client.chat.completions.create(**ask("error")))
seen["broken_stream"] = error(lambda: stream("broken stream"))
stranger = client.with_options(api_key="wrong")
seen["stranger"] = error(lambda: stranger.chat.completions.create(**ask("stranger")))

print(json.dumps(seen))
