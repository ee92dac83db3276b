"""Chats with OpenAI's own client, and prints what it saw as one JSON object."""

import json

import openai

client = openai.OpenAI(max_retries=0, timeout=15)
messages = [{"role": "user", "content": "hi"}]
seen = {
    "models": "clawdbot" in {model.id for model in client.models.list()},
    "text": "",
    "roles": [],
    "finish_reasons": [],
    "usage": None,
    "whole": None,
    "errors": {},
}


def counts(usage):
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


try:
    stream = client.chat.completions.create(
        model="clawdbot",
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        for choice in chunk.choices:
            seen["text"] += choice.delta.content or ""
            if choice.delta.role:
                seen["roles"].append(choice.delta.role)
            if choice.finish_reason:
                seen["finish_reasons"].append(choice.finish_reason)
        if chunk.usage:
            seen["usage"] = counts(chunk.usage)
except openai.APIError as error:
    seen["errors"]["stream"] = type(error).__name__

try:
    completion = client.chat.completions.create(model="clawdbot", messages=messages)
    seen["whole"] = {
        "text": completion.choices[0].message.content,
        "finish_reason": completion.choices[0].finish_reason,
        "usage": counts(completion.usage),
    }
except openai.APIError as error:
    seen["errors"]["whole"] = type(error).__name__

print(json.dumps(seen))
