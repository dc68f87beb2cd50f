// The official AG-UI client as an application uses it: one thread, a run, its interrupt, the decision, the result.
import { HttpAgent } from "@ag-ui/client";

const [url, key, message] = process.argv.slice(2);
const agent = new HttpAgent({ url, headers: { Authorization: `Bearer ${key}` } });

const heard = async (parameters) => {
  const kinds = [];
  let finished;
  const result = await agent.runAgent(parameters, {
    onEvent: ({ event }) => void kinds.push(event.type),
    onRunFinishedEvent: (found) => void (finished = found),
  });
  return { kinds, outcome: finished?.outcome, interrupts: finished?.interrupts, added: result.newMessages };
};

agent.addMessage({ id: crypto.randomUUID(), role: "user", content: message });
const first = await heard({});
const waiting = agent.pendingInterrupts.map((interrupt) => interrupt.id);
const [asked] = first.interrupts;
const payload = { decision: "approve", args_hash: asked.responseSchema.properties.args_hash.const };
const then = await heard({ resume: [{ interruptId: asked.id, status: "resolved", payload }] });
const said = agent.messages.map(({ role, content, toolCalls }) => ({ role, content, calls: toolCalls?.length ?? 0 }));
console.log(JSON.stringify({ first, waiting, then, said, left: agent.pendingInterrupts.length, state: agent.state }));
