"""Talks through LangChain, and prints what it saw as one JSON object."""

import json

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

seen = {}
model = ChatOpenAI(model="clawdbot", max_retries=0, timeout=30, stream_usage=True)


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def counts(usage):
    return [usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]]


def error(call):
    try:
        call()
    except openai.APIStatusError as raised:
        return {"class": type(raised).__name__, "status": raised.status_code, "code": raised.code}
    except openai.APIError as raised:
        return {"class": type(raised).__name__, "status": None, "code": raised.code}


answer = model.invoke("chat")
finish = answer.response_metadata["finish_reason"]
seen["chat"] = {"text": answer.content, "finish": finish, "usage": counts(answer.usage_metadata)}

whole = None
for chunk in model.stream("stream"):
    whole = chunk if whole is None else whole + chunk
finish = whole.response_metadata["finish_reason"]
seen["stream"] = {"text": whole.content, "finish": finish, "usage": counts(whole.usage_metadata)}

messages = [HumanMessage("tools")]
called = model.bind_tools([add]).invoke(messages)
call = called.tool_calls[0]
messages += [called, ToolMessage(str(add.invoke(call["args"])), tool_call_id=call["id"])]
answer = model.bind_tools([add]).invoke(messages)
finish = called.response_metadata["finish_reason"]
seen["tools"] = {"finish": finish, "arguments": call["args"], "text": answer.content}

structured = model.with_structured_output(City, method="json_schema")
seen["structured"] = structured.invoke("structured").model_dump()

seen["error"] = error(lambda: model.invoke("error"))
seen["broken_stream"] = error(lambda: list(model.stream("broken stream")))
stranger = ChatOpenAI(model="clawdbot", max_retries=0, timeout=30, api_key="wrong")
seen["stranger"] = error(lambda: stranger.invoke("stranger"))

print(json.dumps(seen))
