/** What this capability announces about itself. What is left out counts as the careful value; see the registry's page. */

import { DIMENSIONS, UNITS } from './units.js';

export const NAME = 'units';
export const VERSION = '1.0.0';

/** Pure arithmetic: nothing is changed, nobody is reached, and no stranger's word comes back. */
const PURE = { read_only: true, destructive: false, idempotent: true, open_world: false, trusted_output: true };
const OPTIONS = { start_to_close: 10, heartbeat: 10, attempts: 5 };
const UNIT = { type: 'string', enum: UNITS };

export const MANIFEST = {
  name: NAME,
  version: VERSION,
  description: 'Converts units of measurement: length, mass, volume, speed, temperature.',
  instructions: 'Use convert for every conversion, and never compute one yourself. Quote its text in an answer.',
  task_queue: NAME,
  tools: [
    {
      name: 'units.convert',
      title: 'Convert a measurement',
      description: 'Convert a value from one unit to another of the same dimension. Rounded to six significant digits.',
      summary: '{value} {from} to {to}',
      args_schema: {
        type: 'object',
        properties: { value: { type: 'number' }, from: UNIT, to: UNIT },
        required: ['value', 'from', 'to'],
        additionalProperties: false,
      },
      result_schema: {
        type: 'object',
        properties: {
          value: { type: 'number' },
          unit: { type: 'string' },
          text: { type: 'string', description: 'the equation, as in "26.2 mi = 42.1648 km"' },
        },
        required: ['value', 'unit', 'text'],
      },
      annotations: PURE,
      options: OPTIONS,
    },
    {
      name: 'units.list',
      title: 'List units',
      description: 'List the units that can be converted, by dimension.',
      args_schema: { type: 'object', properties: {}, additionalProperties: false },
      result_schema: {
        type: 'object',
        properties: Object.fromEntries(
          Object.keys(DIMENSIONS).map((name) => [name, { type: 'array', items: { type: 'string' } }]),
        ),
      },
      annotations: PURE,
      options: OPTIONS,
    },
  ],
};
