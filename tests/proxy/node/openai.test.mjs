// The OpenAI client for Node pointed at a running gate: GATE_URL and GATE_KEY say which. Run by test_openai_node.py.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.GATE_URL}/v1`, apiKey: process.env.GATE_KEY, maxRetries: 0 });
const ANSWER = "Lagos is in Nigeria.";
const REFUSAL = "I am not sure enough of an answer to give you one.";
const ask = (content, more = {}) => ({ model: "gate", messages: [{ role: "user", content }], ...more });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];

test("an answer, its headers and its usage", async () => {
  const { data, response, request_id } = await client.chat.completions.create(ask("Where is Lagos?")).withResponse();
  assert.equal(data.choices[0].message.content, ANSWER);
  assert.equal(response.headers.get("x-gate-action"), "answer");
  assert.equal(response.headers.get("x-request-id"), request_id);
  assert.equal(data.usage.completion_tokens, 30);
});

test("an answer streamed", async () => {
  let written = "";
  const options = { stream: true, stream_options: { include_usage: true } };
  let usage;
  for await (const chunk of await client.chat.completions.create(ask("Where is Lagos?", options))) {
    written += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(written, ANSWER);
  assert.equal(usage.completion_tokens, 30);
});

test("a refusal, whole and streamed", async () => {
  const whole = await client.chat.completions.create(ask("I am unsure: where is Lagos?"));
  assert.deepEqual([whole.choices[0].message.content, whole.choices[0].message.refusal], [null, REFUSAL]);
  const stream = client.chat.completions.stream(ask("I am unsure: where is Lagos?"));
  assert.equal((await stream.finalChatCompletion()).choices[0].message.refusal, REFUSAL);
});

test("tools, whole and streamed, and what comes of them", async () => {
  const asked = ask("How is the weather in Lagos and Abuja?", { tools });
  const whole = (await client.chat.completions.create(asked)).choices[0];
  const streamed = (await client.chat.completions.stream(asked).finalChatCompletion()).choices[0];
  for (const choice of [whole, streamed]) {
    assert.equal(choice.finish_reason, "tool_calls");
    const called = choice.message.tool_calls.map((call) => JSON.parse(call.function.arguments).city);
    assert.deepEqual(called, ["Lagos", "Abuja"]);
  }
  const results = whole.message.tool_calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "sunny" }));
  const again = await client.chat.completions.create({ ...asked, messages: [...asked.messages, whole.message, ...results] });
  assert.equal(again.choices[0].message.content, "It is sunny there.");
});

test("tools are run by the client's own runner", async () => {
  const run = { type: "function", function: { function: () => "sunny", parse: JSON.parse, name: "weather", parameters } };
  const runner = client.chat.completions.runTools(ask("How is the weather in Lagos?", { tools: [run] }));
  assert.equal(await runner.finalContent(), "It is sunny there.");
});

test("JSON of a schema, several answers, log-probabilities", async () => {
  const schema = { type: "object", properties: { city: { type: "string" } } };
  const response_format = { type: "json_schema", json_schema: { name: "city", schema } };
  const made = await client.chat.completions.create(ask("Where is Lagos?", { response_format, n: 2 }));
  assert.deepEqual(made.choices.map(({ message }) => JSON.parse(message.content).country), ["Nigeria", "Nigeria"]);
  const told = await client.chat.completions.create(ask("Where is Lagos?", { logprobs: true, top_logprobs: 1 }));
  assert.equal(told.choices[0].logprobs.content.map(({ token }) => token).join(""), ANSWER);
});

test("responses, whole and streamed", async () => {
  const whole = await client.responses.create({ model: "gate", input: "Where is Lagos?" });
  assert.equal(whole.output_text, ANSWER);
  let written = "";
  for await (const event of await client.responses.create({ model: "gate", input: "Where is Lagos?", stream: true })) {
    if (event.type === "response.output_text.delta") written += event.delta;
  }
  assert.equal(written, ANSWER);
});

test("embeddings and completions are passed through, models are listed", async () => {
  const made = await client.embeddings.create({ model: "my-model", input: ["Lagos"] });
  assert.deepEqual([...made.data[0].embedding], [5, 1]);
  const completed = await client.completions.create({ model: "gate", prompt: "Lagos is in" });
  assert.equal(completed.choices[0].text, " Nigeria");
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes("gate") && names.includes("balanced"));
});

test("errors are of the client's classes", async () => {
  await assert.rejects(client.chat.completions.create(ask("x", { model: "gpt-9" })), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create(ask("x", { n: 9 })), OpenAI.BadRequestError);
  await assert.rejects(client.chat.completions.create(ask("status 401")), OpenAI.InternalServerError);
  const stranger = client.withOptions({ apiKey: "gate-unknown" });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

test("a request is given up at once", async () => {
  const controller = new AbortController();
  const asking = client.chat.completions.create(ask("Where is Lagos?"), { signal: controller.signal });
  controller.abort();
  await assert.rejects(asking, OpenAI.APIUserAbortError);
});
