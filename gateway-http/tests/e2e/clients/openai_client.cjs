// Talks through OpenAI's client for JavaScript, and prints what it saw as one JSON object.

const OpenAI = require("openai");
const { zodResponseFormat } = require("openai/helpers/zod");
const { z } = require("zod");

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });
const seen = {};
const City = z.object({ name: z.string(), inhabitants: z.number().int() });
const ADD = {
  type: "function",
  function: {
    name: "add",
    description: "Adds two numbers.",
    parameters: {
      type: "object",
      properties: { a: { type: "integer" }, b: { type: "integer" } },
      required: ["a", "b"],
    },
  },
};

const ask = (text) => ({ model: "clawdbot", messages: [{ role: "user", content: text }] });
const counts = (usage) => [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];

async function error(call) {
  try {
    await call();
  } catch (raised) {
    return { class: raised.constructor.name, status: raised.status ?? null, code: raised.code };
  }
}

async function stream(text) {
  const said = { text: "", finish: null, usage: null };
  const options = { stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await client.chat.completions.create({ ...ask(text), ...options })) {
    for (const choice of chunk.choices) {
      said.text += choice.delta.content ?? "";
      said.finish = choice.finish_reason ?? said.finish;
    }
    said.usage = chunk.usage ? counts(chunk.usage) : said.usage;
  }
  return said;
}

async function main() {
  seen.models = (await client.models.list()).data.map((model) => model.id);
  seen.model = (await client.models.retrieve("clawdbot/beta")).id;

  const answer = await client.chat.completions.create(ask("chat"));
  const [choice] = answer.choices;
  seen.chat = { text: choice.message.content, finish: choice.finish_reason, usage: counts(answer.usage) };

  seen.stream = await stream("stream");

  const request = { ...ask("tools"), tools: [ADD] };
  const [called] = (await client.chat.completions.create(request)).choices;
  const [call] = called.message.tool_calls;
  const given = JSON.parse(call.function.arguments);
  request.messages.push(called.message, { role: "tool", tool_call_id: call.id, content: String(given.a + given.b) });
  const [last] = (await client.chat.completions.create(request)).choices;
  seen.tools = { finish: called.finish_reason, arguments: given, text: last.message.content };

  const format = { response_format: zodResponseFormat(City, "city") };
  const parsed = await client.chat.completions.parse({ ...ask("structured"), ...format });
  seen.structured = parsed.choices[0].message.parsed;

  seen.error = await error(() => client.chat.completions.create(ask("error")));
  seen.broken_stream = await error(() => stream("broken stream"));
  const stranger = client.withOptions({ apiKey: "wrong" });
  seen.stranger = await error(() => stranger.chat.completions.create(ask("stranger")));
}

main().then(() => console.log(JSON.stringify(seen)));
