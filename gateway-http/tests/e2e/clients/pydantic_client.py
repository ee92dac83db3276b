"""Talks through Pydantic AI, and prints what it saw as one JSON object."""

import asyncio
import json

import openai
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

seen = {}


def model(**options):
    client = openai.AsyncOpenAI(max_retries=0, timeout=30, **options)
    return OpenAIChatModel("clawdbot", provider=OpenAIProvider(openai_client=client))


class City(BaseModel):
    name: str
    inhabitants: int


def counts(usage):
    return [usage.input_tokens, usage.output_tokens, usage.total_tokens]


async def error(call):
    try:
        await call
    except ModelHTTPError as raised:
        return {"class": type(raised).__name__, "status": raised.status_code, "code": raised.body["code"]}
    except ModelAPIError as raised:
        return {"class": type(raised).__name__, "status": None, "code": raised.__cause__.code}


async def stream(text):
    async with Agent(model()).run_stream(text) as run:
        said = "".join([delta async for delta in run.stream_text(delta=True, debounce_by=None)])
        return {"text": said, "finish": run.response.finish_reason, "usage": counts(run.usage)}


async def main():
    answer = await Agent(model()).run("chat")
    finish = answer.response.finish_reason
    seen["chat"] = {"text": answer.output, "finish": finish, "usage": counts(answer.usage)}

    seen["stream"] = await stream("stream")

    agent = Agent(model())
    arguments = []

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        arguments.append({"a": a, "b": b})
        return a + b

    answer = await agent.run("tools")
    finish = answer.all_messages()[1].finish_reason
    seen["tools"] = {"finish": finish, "arguments": arguments[0], "text": answer.output}

    answer = await Agent(model(), output_type=NativeOutput(City)).run("structured")
    seen["structured"] = answer.output.model_dump()

    seen["error"] = await error(Agent(model()).run("error"))
    seen["broken_stream"] = await error(stream("broken stream"))
    seen["stranger"] = await error(Agent(model(api_key="wrong")).run("stranger"))


asyncio.run(main())
print(json.dumps(seen))
