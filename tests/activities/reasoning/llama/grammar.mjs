// Writes a JSON schema as a grammar of llama.cpp (GBNF), by the same rules as llama.cpp's own server: properties in their
// order, those that are not required may be left out, bounds of texts and lists are kept, bounds of numbers are not.

const SPACE = '| " " | "\\n"{1,2} [ \\t]{0,20}';
const CHAR = '[^"\\\\\\x7F\\x00-\\x1F] | [\\\\] (["\\\\bfnrt] | "u" [0-9a-fA-F]{4})';
const KNOWN = {
    char: CHAR,
    string: '"\\"" char* "\\"" space',
    integer: '("-"? ([0-9] | [1-9] [0-9]{0,15})) space',
    number: '("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,15})? space',
    boolean: '("true" | "false") space',
    null: '"null" space',
    value: 'object | array | string | number | boolean | null',
    object: '"{" space ( string ":" space value ("," space string ":" space value)* )? "}" space',
    array: '"[" space ( value ("," space value)* )? "]" space',
};
const NEEDS = {string: ["char"], value: ["object", "array", "string", "number", "boolean", "null"]};
NEEDS.object = NEEDS.array = ["value", "string"];
// what says nothing about the form, and what llama.cpp passes over
const IGNORED = new Set([
    ..."$schema $defs definitions title description default examples format minimum maximum exclusiveMinimum".split(" "),
    ..."exclusiveMaximum multipleOf uniqueItems minProperties maxProperties deprecated".split(" "),
]);
const TAKEN = new Set([
    ..."type enum const anyOf oneOf $ref properties required additionalProperties items minItems maxItems".split(" "),
    ..."minLength maxLength pattern".split(" "),
]);
// llama.cpp refuses more repetitions than this
const MOST_REPEATED = 2000;

export class UnknownSchema extends Error {}

export function grammarOf(schema) {
    const rules = new Map([["space", SPACE]]);
    const root = new Writer(schema, rules).rule(schema, "root");
    if (root !== "root") rules.set("root", root);
    return [...rules].map(([name, text]) => `${name} ::= ${text}`).join("\n");
}

class Writer {
    constructor(document, rules) {
        this.document = document;
        this.rules = rules;
        this.places = new Map();
    }

    // gives the name of the rule of a schema
    rule(schema, name) {
        if (schema === true || (isObject(schema) && Object.keys(schema).every((word) => IGNORED.has(word)))) {
            return this.known("value");
        }
        if (!isObject(schema)) throw new UnknownSchema(`${name}: no schema`);
        for (const word of Object.keys(schema)) {
            if (!IGNORED.has(word) && !TAKEN.has(word)) throw new UnknownSchema(`${name}: unknown keyword ${word}`);
        }
        if (schema.$ref) return this.place(schema.$ref);
        return this.add(name, this.text(schema, name));
    }

    text(schema, name) {
        if ("const" in schema) return `${literal(JSON.stringify(schema.const))} space`;
        if (schema.enum) return `(${schema.enum.map((value) => literal(JSON.stringify(value))).join(" | ")}) space`;
        const branches = schema.anyOf ?? schema.oneOf;
        if (branches) return this.union(branches, name);
        if (Array.isArray(schema.type)) return this.union(schema.type.map((type) => ({...schema, type})), name);
        if (schema.type === "object" || schema.properties) return this.object(schema, name);
        if (schema.type === "array" || schema.items) return this.array(schema, name);
        if (schema.type === "string" && schema.pattern !== undefined) {
            return `"\\"" (${patternOf(schema.pattern)}) "\\"" space`;
        }
        if (schema.type === "string" && (schema.minLength || schema.maxLength !== undefined)) {
            this.known("char");
            return `"\\"" ${repeated("char", schema.minLength ?? 0, schema.maxLength)} "\\"" space`;
        }
        if (!(schema.type in KNOWN)) throw new UnknownSchema(`${name}: unknown type ${schema.type}`);
        return this.known(schema.type);
    }

    union(branches, name) {
        return branches.map((branch, at) => this.rule(branch, `${name}-${at}`)).join(" | ");
    }

    object(schema, name) {
        const entries = Object.entries(schema.properties ?? {});
        const more = schema.additionalProperties;
        if (!entries.length && more !== false) {
            const value = isObject(more) ? this.rule(more, `${name}-value`) : this.known("value");
            const pair = `${this.known("string")} ":" space ${value}`;
            return `"{" space ( ${pair} ( "," space ${pair} )* )? "}" space`;
        }
        const pairs = new Map(
            entries.map(([key, value]) => [
                key,
                this.add(
                    `${name}-${key}-kv`, `${literal(JSON.stringify(key))} space ":" space ${this.rule(value, `${name}-${key}`)}`,
                ),
            ]),
        );
        const required = entries.map(([key]) => key).filter((key) => schema.required?.includes(key));
        const optional = entries.map(([key]) => key).filter((key) => !schema.required?.includes(key));
        const first = required.map((key) => pairs.get(key)).join(' "," space ');
        // each optional one may be the next, and only those behind it may follow
        const rest = optional.map((_, at) => this.following(optional.slice(at), pairs, name)).join(" | ");
        const all = !rest ? first : first ? `${first} ( "," space ( ${rest} ) )?` : `( ${rest} )?`;
        return `"{" space ${all} "}" space`;
    }

    following([key, ...others], pairs, name) {
        if (!others.length) return pairs.get(key);
        const later = others.map((_, at) => this.following(others.slice(at), pairs, name)).join(" | ");
        return `${pairs.get(key)} ${this.add(`${name}-${key}-rest`, `( "," space ( ${later} ) )?`)}`;
    }

    array(schema, name) {
        const item = this.rule(schema.items ?? {}, `${name}-item`);
        const [least, most] = [schema.minItems ?? 0, schema.maxItems];
        if (most === 0) return '"[" space "]" space';
        const others = repeated(`("," space ${item})`, Math.max(0, least - 1), most === undefined ? undefined : most - 1);
        return `"[" space ${least ? `${item} ${others}` : `(${item} ${others})?`} "]" space`;
    }

    place(ref) {
        if (!this.places.has(ref)) {
            const name = cleaned(`ref${ref.slice(1)}`);
            this.places.set(ref, name);
            const found = ref.slice(2).split("/").reduce((at, key) => at?.[key], this.document);
            if (!ref.startsWith("#/") || found === undefined) throw new UnknownSchema(`no definition ${ref}`);
            const rule = this.rule(found, name);
            if (rule !== name) this.rules.set(name, rule);
        }
        return this.places.get(ref);
    }

    known(name) {
        if (!this.rules.has(name)) {
            this.rules.set(name, KNOWN[name]);
            for (const other of NEEDS[name] ?? []) this.known(other);
        }
        return name;
    }

    add(wanted, text) {
        let name = cleaned(wanted);
        for (let number = 1; this.rules.has(name) && this.rules.get(name) !== text; number++) name = `${cleaned(wanted)}-${number}`;
        this.rules.set(name, text);
        return name;
    }
}

function repeated(item, least, most) {
    if (most > MOST_REPEATED) throw new UnknownSchema(`more than ${MOST_REPEATED} repetitions`);
    return `${item}{${least},${most ?? ""}}`;
}

function patternOf(pattern) {
    if (!pattern.startsWith("^") || !pattern.endsWith("$")) throw new UnknownSchema("a pattern must begin with ^ and end with $");
    const parts = [];
    for (let at = 1; at < pattern.length - 1; at++) {
        const char = pattern[at];
        if (char === "[") {
            const end = pattern.indexOf("]", at + 2);
            parts.push(pattern.slice(at, end + 1));
            at = end;
        } else if (char === "{") {
            const end = pattern.indexOf("}", at);
            parts[parts.length - 1] += pattern.slice(at, end + 1);
            at = end;
        } else if ("*+?".includes(char)) parts[parts.length - 1] += char;
        else if ("()|".includes(char)) parts.push(char);
        else if (char === "\\") {
            const escaped = pattern[++at];
            parts.push({d: "[0-9]", w: "[A-Za-z0-9_]", s: "[ ]"}[escaped] ?? literal(escaped));
        } else parts.push(literal(char));
    }
    return parts.join(" ").replace(/\) ([*+?{])/g, ")$1");
}

function literal(text) {
    return `"${text.replace(/[\\"\n\r]/g, (char) => ({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})[char])}"`;
}

function cleaned(name) {
    return name.replace(/[^a-zA-Z0-9]+/g, "-");
}

function isObject(value) {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}
