// An OpenAI-compatible server over llama.cpp, for tests: node server.mjs MODEL.gguf CONTEXT
//
// Chat completions with grammars made of JSON schemas, streams, real stop reasons, counted tokens; one request at a time. It
// refuses what it does not do. It prints its address, and ends with its standard input.

import {createServer} from "node:http";
import {getLlama, LlamaCompletion, LlamaLogLevel} from "node-llama-cpp";
import {grammarOf, UnknownSchema} from "./grammar.mjs";

const [file, contextSize] = [process.argv[2], Number(process.argv[3])];
const NAME = "smollm2-135m";
const DONE = {eogToken: "stop", maxTokens: "length"};
const DOES = new Set([
    ..."model messages max_tokens max_completion_tokens response_format stream stream_options temperature".split(" "),
    ..."tool_choice tools".split(" "),
]);

class Refused extends Error {
    constructor(message, code = "invalid_request_error", more = {}) {
        super(message);
        this.body = {error: {message, type: code, code: 400, ...more}};
    }
}

const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: file});
// one thread: on a busy machine several wait for each other
const context = await model.createContext({contextSize, threads: 1});
const completion = new LlamaCompletion({contextSequence: context.getSequence()});
const grammars = new Map();
let turn = Promise.resolve();

// the template of the model, ChatML; what was said cannot write its marks
function tokensOf(messages) {
    const mark = (text) => model.tokenize(text, true);
    return [
        ...messages.flatMap(({role, content}) => [
            ...mark(`<|im_start|>${role}\n`), ...model.tokenize(textOf(content)), ...mark("<|im_end|>\n"),
        ]),
        ...mark("<|im_start|>assistant\n"),
    ];
}

function textOf(content) {
    return typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("");
}

async function grammarFor(format) {
    if (!format || format.type === "text") return undefined;
    if (format.type !== "json_schema" && format.type !== "json_object") throw new Refused(`response_format ${format.type}`);
    const schema = format.type === "json_object" ? {type: "object"} : format.json_schema.schema;
    const key = JSON.stringify(schema);
    if (!grammars.has(key)) grammars.set(key, await llama.createGrammar({grammar: written(schema)}));
    return grammars.get(key);
}

function written(schema) {
    try {
        return grammarOf(schema);
    } catch (error) {
        if (error instanceof UnknownSchema) throw new Refused(`response_format: the JSON schema cannot be used: ${error.message}`);
        throw error;
    }
}

async function prepared(asked) {
    if (asked.model !== NAME) throw Object.assign(new Refused(`model ${asked.model} not found`), {status: 404});
    const unknown = Object.keys(asked).find((name) => !DOES.has(name));
    if (unknown) throw new Refused(`unknown field ${unknown}`);
    if (asked.tools?.length) throw new Refused("tools are not supported by this server");
    const tokens = tokensOf(asked.messages);
    if (tokens.length >= contextSize) {
        throw new Refused(
            `the request (${tokens.length} tokens) exceeds the available context size (${contextSize} tokens)`,
            "exceed_context_size_error", {n_prompt_tokens: tokens.length, n_ctx: contextSize},
        );
    }
    const most = asked.max_tokens ?? asked.max_completion_tokens ?? contextSize;
    return {tokens, grammar: await grammarFor(asked.response_format), maxTokens: Math.min(most, contextSize - tokens.length)};
}

async function generate({tokens, grammar, maxTokens}, signal, onTextChunk) {
    let written = 0;
    const {response, metadata} = await completion.generateCompletionWithMeta(tokens, {
        grammar, maxTokens, signal, onTextChunk, stopOnAbortSignal: true, temperature: 0, disableContextShift: true,
        onToken: (found) => void (written += found.length),
    });
    return {
        text: response,
        reason: DONE[metadata.stopReason] ?? "stop",
        usage: {prompt_tokens: tokens.length, completion_tokens: written, total_tokens: tokens.length + written},
    };
}

async function complete(asked, response) {
    const leaving = new AbortController();
    response.on("close", () => leaving.abort());
    const request = await prepared(asked);
    const head = {id: `chatcmpl-${Date.now()}`, created: Math.floor(Date.now() / 1000), model: NAME};
    if (!asked.stream) {
        const {text, reason, usage} = await inTurn(() => generate(request, leaving.signal));
        const choice = {index: 0, message: {role: "assistant", content: text}, finish_reason: reason};
        return send(response, 200, {...head, object: "chat.completion", choices: [choice], usage});
    }
    response.writeHead(200, {"content-type": "text/event-stream"});
    const tell = (more) => response.write(`data: ${JSON.stringify({...head, object: "chat.completion.chunk", ...more})}\n\n`);
    const piece = (delta, finish_reason = null) => tell({choices: [{index: 0, delta, finish_reason}]});
    piece({role: "assistant", content: ""});
    const {reason, usage} = await inTurn(() => generate(request, leaving.signal, (content) => piece({content})));
    piece({}, reason);
    if (asked.stream_options?.include_usage) tell({choices: [], usage});
    response.end("data: [DONE]\n\n");
}

function inTurn(work) {
    const mine = turn.then(work);
    turn = mine.catch(() => undefined);
    return mine;
}

function send(response, status, body) {
    response.writeHead(status, {"content-type": "application/json"});
    response.end(JSON.stringify(body));
}

async function answer(request, response) {
    if (request.method === "GET" && request.url === "/v1/models") {
        return send(response, 200, {object: "list", data: [{id: NAME, object: "model", created: 0, owned_by: "llamacpp"}]});
    }
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") return send(response, 404, {error: {message: "not found"}});
    const parts = [];
    for await (const part of request) parts.push(part);
    await complete(JSON.parse(Buffer.concat(parts).toString()), response);
}

const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
        const refused = error instanceof Refused;
        if (!refused) console.error(error);
        if (response.headersSent) response.destroy();
        else send(response, refused ? (error.status ?? 400) : 500, refused ? error.body : {error: {message: String(error)}});
    });
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.on("end", () => process.exit(0)).resume();
