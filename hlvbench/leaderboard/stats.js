// The paired comparison of compare.py and stats.py on the kept replicates; a test holds both to the same numbers.
const NAN_CODE = -32768;
const EQUAL = 1e-9;
const LEAST_P = 1e-6;

function decode(stored) {
  const bytes = Uint8Array.from(atob(stored.data), (char) => char.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const values = [];
  for (let at = 0; at + 1 < bytes.length; at += 2) {
    const code = view.getInt16(at, true);
    values.push(code === NAN_CODE ? NaN : stored.offset + stored.scale * code);
  }
  return { estimate: stored.estimate === null ? NaN : stored.estimate, values };
}

function meanOf(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

// Between the two nearest values, as numpy's default does.
function quantile(sorted, share) {
  const at = (sorted.length - 1) * share;
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

// [low, high], recentred on the estimate; null where there is none.
function interval(estimate, values) {
  const known = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  if (Number.isNaN(estimate) || !known.length) return null;
  const bias = meanOf(known) - estimate;
  return [quantile(known, 0.025) - bias, quantile(known, 0.975) - bias];
}

// 2 Φ(-z √2): the series near 0, the continued fraction beyond.
function erfc(x) {
  if (x < 2) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n += 1) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 120; n > 0; n -= 1) fraction = n / 2 / (x + fraction);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
}

// difference_p of stats.py: {p, beyond}, beyond the resolution of the replicates or not.
function differenceP(difference, values, items) {
  const known = values.filter((value) => !Number.isNaN(value));
  if (Number.isNaN(difference) || !known.length) return { p: 1, beyond: false };
  const shift = meanOf(known) - difference;
  const below = known.filter((value) => value - shift <= 0).length;
  const above = known.filter((value) => value - shift >= 0).length;
  const count = known.length + 1;
  const ties = known.filter((value) => Math.abs(value) < EQUAL).length;
  const counted = Math.max(Math.min(1, (2 * (Math.min(below, above) + 1)) / count), Math.min(1, (2 * (ties + 1)) / count));
  const least = Math.max(LEAST_P, 2 ** (1 - items));
  if (difference === 0 || counted > (2 / count) * (1 + 1e-9)) return { p: Math.max(counted, least), beyond: false };
  const middle = meanOf(known);
  const spread = Math.sqrt(known.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (known.length - 1));
  const tail = spread > 0 ? erfc(Math.abs(difference) / spread / Math.SQRT2) : 0;
  return { p: Math.max(Math.min(counted, tail), least), beyond: tail < counted };
}

// First less second: {difference, low, high, p, beyond}.
function paired(first, second, items) {
  const difference = first.estimate - second.estimate;
  const values = first.values.map((value, at) => value - second.values[at]);
  let [low, high] = interval(difference, values) ?? [null, null];
  const { p, beyond } = differenceP(difference, values, items);
  // wherever the test does not reject 0, the interval holds it
  if (low !== null && p >= 0.05) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  return { difference, low, high, p, beyond };
}
