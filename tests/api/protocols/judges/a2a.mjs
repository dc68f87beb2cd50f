// The official A2A client as another agent uses it: the card, a streamed task, its approval, the decision, the result.
import { ClientFactory, ClientFactoryOptions, JsonRpcTransportFactory } from "@a2a-js/sdk/client";

const [url, key, message] = process.argv.slice(2);
const authorized = (input, init = {}) =>
  fetch(input, { ...init, headers: { ...Object.fromEntries(new Headers(init.headers)), Authorization: `Bearer ${key}` } });
const options = { transports: [new JsonRpcTransportFactory({ fetchImpl: authorized })] };
const client = await new ClientFactory(ClientFactoryOptions.createFrom(ClientFactoryOptions.default, options)).createFromUrl(url);

const send = async (part, taskId = "") => {
  const asked = { messageId: crypto.randomUUID(), contextId: "", taskId, role: 1, parts: [part], extensions: [], referenceTaskIds: [] };
  const told = [];
  for await (const event of client.sendMessageStream({ tenant: "", message: asked })) told.push(event.payload ?? event);
  return told;
};
const status = (told) => told.at(-1).value.status;

const first = await send({ content: { $case: "text", value: message } });
const task = first[0].value;
const asked = status(first);
const waits = asked.message.parts.find((part) => part.content.$case === "data").content.value.approval;
const decision = { decision: "approve", approval_id: waits.id, args_hash: waits.args_hash };
const then = await send({ content: { $case: "data", value: decision } }, task.id);
const done = await client.getTask({ tenant: "", id: task.id });
console.log(JSON.stringify({
  id: task.id,
  states: [asked.state, status(then).state, done.status.state],
  preview: asked.message.parts.map((part) => part.content.value).filter((value) => typeof value === "string"),
  reply: done.artifacts[0].parts[0].content.value,
}));
