/** The tools as Temporal runs them: one JSON object in, one out, heartbeats meanwhile, errors that a person can read. */

import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';

import { CannotConvert, convert, DIMENSIONS } from './units.js';

type Json = Record<string, unknown>;
type Tool = (args: Json) => Promise<Json>;

/** A third of what the manifest announces, so that one lost heartbeat is not yet a dead worker. Milliseconds. */
const BEAT = 10_000 / 3;

async function convertMeasurement(args: Json): Promise<Json> {
  const { value, from, to } = args;
  if (typeof value !== 'number' || typeof from !== 'string' || typeof to !== 'string') {
    throw new CannotConvert('wrong arguments: value must be a number, from and to must be units');
  }
  const converted = convert(value, from, to);
  return { value: converted, unit: to, text: `${value} ${from} = ${converted} ${to}` };
}

async function listUnits(): Promise<Json> {
  return Object.fromEntries(Object.entries(DIMENSIONS).map(([name, units]) => [name, Object.keys(units)]));
}

/**
 * The edge. An error that trying again cannot mend gets a type of Retinue's own and is final; anything else is a bug of
 * ours, whose text stays out of the history.
 */
function atTheEdge(tool: Tool): Tool {
  return async (args) => {
    const context = Context.current();
    const beating = setInterval(() => context.heartbeat(), BEAT);
    try {
      return await tool(args ?? {});
    } catch (error) {
      if (error instanceof CannotConvert) throw ApplicationFailure.nonRetryable(error.message, 'InvalidArguments');
      context.log.error('tool failed unexpectedly', { error });
      throw ApplicationFailure.retryable(`${context.info.activityType} failed by an error of its own`, 'InternalError');
    } finally {
      clearInterval(beating);
    }
  };
}

export const activities: Record<string, Tool> = {
  'units.convert': atTheEdge(convertMeasurement),
  'units.list': atTheEdge(listUnits),
};
