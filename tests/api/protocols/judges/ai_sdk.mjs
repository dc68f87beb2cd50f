// Vercel's AI SDK as an application uses it: an object of a schema, by both of OpenAI's protocols.
import { createOpenAI } from "@ai-sdk/openai";
import { generateObject, jsonSchema } from "ai";

const [url, key, ...messages] = process.argv.slice(2);
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
const schema = jsonSchema({
  type: "object",
  properties: { town: { type: "string" }, dry: { type: "boolean" } },
  required: ["town", "dry"],
  additionalProperties: false,
});
const models = [openai.responses("retinue"), openai.chat("retinue")];
const found = [];
for (const [place, model] of models.entries()) {
  const { object } = await generateObject({ model, schema, prompt: messages[place], maxRetries: 0 });
  found.push(object);
}
console.log(JSON.stringify(found));
