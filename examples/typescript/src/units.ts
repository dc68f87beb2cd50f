/** Units and their arithmetic. Knows nothing of Temporal. */

/** `base = value * factor + offset`, where the first unit of each dimension is the base. */
interface Unit {
  factor: number;
  offset?: number;
}

export const DIMENSIONS: Record<string, Record<string, Unit>> = {
  length: {
    m: { factor: 1 },
    mm: { factor: 0.001 },
    cm: { factor: 0.01 },
    km: { factor: 1000 },
    in: { factor: 0.0254 },
    ft: { factor: 0.3048 },
    yd: { factor: 0.9144 },
    mi: { factor: 1609.344 },
    nmi: { factor: 1852 },
  },
  mass: {
    kg: { factor: 1 },
    g: { factor: 0.001 },
    t: { factor: 1000 },
    oz: { factor: 0.028349523125 },
    lb: { factor: 0.45359237 },
    st: { factor: 6.35029318 },
  },
  volume: {
    l: { factor: 1 },
    ml: { factor: 0.001 },
    m3: { factor: 1000 },
    us_cup: { factor: 0.2365882365 },
    us_gal: { factor: 3.785411784 },
    imp_gal: { factor: 4.54609 },
  },
  speed: {
    'm/s': { factor: 1 },
    'km/h': { factor: 1 / 3.6 },
    mph: { factor: 0.44704 },
    kn: { factor: 1852 / 3600 },
  },
  temperature: {
    K: { factor: 1 },
    C: { factor: 1, offset: 273.15 },
    F: { factor: 5 / 9, offset: 459.67 * (5 / 9) },
  },
};

export const UNITS: string[] = Object.values(DIMENSIONS).flatMap((units) => Object.keys(units));

/** The wish cannot be met; the message is for the person. */
export class CannotConvert extends Error {}

/** @throws CannotConvert when a unit is unknown or the two measure different things. */
export function convert(value: number, from: string, to: string): number {
  const [name, source] = find(from);
  const [other, target] = find(to);
  if (name !== other) {
    throw new CannotConvert(`${from} measures ${name} and ${to} measures ${other}; they cannot be converted`);
  }
  const base = value * source.factor + (source.offset ?? 0);
  const converted = Number(((base - (target.offset ?? 0)) / target.factor).toPrecision(6));
  if (!Number.isFinite(converted)) throw new CannotConvert(`${value} ${from} is too large to be written in ${to}`);
  return converted;
}

function find(name: string): [string, Unit] {
  for (const [dimension, units] of Object.entries(DIMENSIONS)) {
    const unit = Object.hasOwn(units, name) ? units[name] : undefined;
    if (unit) return [dimension, unit];
  }
  throw new CannotConvert(`there is no such unit; known are ${UNITS.join(', ')}`);
}
