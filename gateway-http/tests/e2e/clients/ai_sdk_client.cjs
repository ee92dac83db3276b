// Talks through Vercel's AI SDK, and prints what it saw as one JSON object.

const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");
const { Output, generateText, stepCountIs, streamText, tool } = require("ai");
const { z } = require("zod");

const provider = (apiKey) =>
  createOpenAICompatible({
    name: "clawdbot",
    baseURL: process.env.OPENAI_BASE_URL,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
const model = provider(process.env.OPENAI_API_KEY).chatModel("clawdbot");
const seen = {};
const counts = (usage) => [usage.inputTokens, usage.outputTokens, usage.totalTokens];

// The class that the SDK raises, and what the gateway said.
function shown(raised) {
  const details = raised.data?.error ?? (raised.responseBody ? JSON.parse(raised.responseBody).error : raised);
  return { class: raised.name ?? typeof raised, status: raised.statusCode ?? null, code: details.code ?? null };
}

async function error(call) {
  try {
    await call();
  } catch (raised) {
    return shown(raised);
  }
}

async function stream(text) {
  let failure;
  const result = streamText({ model, prompt: text, maxRetries: 0, onError: (event) => (failure = event.error) });
  let said = "";
  for await (const delta of result.textStream) said += delta;
  if (failure) throw failure;
  return { text: said, finish: await result.finishReason, usage: counts(await result.usage) };
}

async function main() {
  const answer = await generateText({ model, prompt: "chat", maxRetries: 0 });
  seen.chat = { text: answer.text, finish: answer.finishReason, usage: counts(answer.usage) };

  seen.stream = await stream("stream");

  const calls = [];
  const add = tool({
    description: "Adds two numbers.",
    inputSchema: z.object({ a: z.number().int(), b: z.number().int() }),
    execute: async (given) => {
      calls.push(given);
      return given.a + given.b;
    },
  });
  const used = await generateText({ model, prompt: "tools", tools: { add }, stopWhen: stepCountIs(2), maxRetries: 0 });
  seen.tools = { finish: used.steps[0].finishReason, arguments: calls[0], text: used.text };

  const output = Output.object({ schema: z.object({ name: z.string(), inhabitants: z.number().int() }) });
  seen.structured = (await generateText({ model, prompt: "structured", output, maxRetries: 0 })).output;

  seen.error = await error(() => generateText({ model, prompt: "error", maxRetries: 0 }));
  seen.broken_stream = await error(() => stream("broken stream"));
  const stranger = provider("wrong").chatModel("clawdbot");
  seen.stranger = await error(() => generateText({ model: stranger, prompt: "stranger", maxRetries: 0 }));
}

main().then(() => console.log(JSON.stringify(seen)));
