// Elements and charts; text only ever enters as text.
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
  return node;
}

const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const shape = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

function shown(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

function ends(low, high) {
  return low === null || low === undefined ? "" : ` [${shown(low)}, ${shown(high)}]`;
}

// A value, and its interval as a piece that does not break.
function valued(score) {
  const span = ends(score.low, score.high);
  return [shown(score.value), span && make("span", { class: "ends" }, span)];
}

// A metric's name, which may break after its punctuation and nowhere else.
function breakable(name) {
  return name.split(/(?<=[_(,=])/).map((piece, at) => [at ? make("wbr") : null, piece]);
}

// A table in a box that scrolls by itself; the first cell of a row is its head.
function grid(caption, head, rows, attributes = {}) {
  const cell = (value, at) => {
    if (value instanceof HTMLTableCellElement) return value;
    return at ? make("td", { class: "num" }, value) : make("th", { scope: "row" }, value);
  };
  const columns = head.map((title, at) => make("th", { scope: "col", class: at ? "num" : null }, title));
  const table = make("table", attributes, make("caption", {}, caption), make("thead", {}, make("tr", {}, columns)),
    make("tbody", {}, rows.map((row) => make("tr", {}, row.map(cell)))));
  return make("div", { class: "scroll", role: "group", "aria-label": caption, tabindex: "0" }, table);
}

// Where a value stands on a bar's line, from `least` to `most`.
function along(value, least, most) {
  return 8 + Math.min(1, Math.max(0, (value - least) / (most - least || 1))) * 164;
}

function drawing(label, parts) {
  return shape("svg", { viewBox: "0 0 180 24", class: "bar", role: "img", "aria-label": label }, parts);
}

// The numbers above the marks of bars below each other, which share a scale.
function barHead(least, most, marks) {
  return drawing(`scale marked at ${marks.join(" and ")}`, marks.map((mark) =>
    shape("text", { class: "tick", x: along(mark, least, most), y: 18, "text-anchor": "middle" }, mark)));
}

// Value and interval on one line from `least` to `most`, with a dashed line at each mark.
function bar(score, least, most, marks = [0]) {
  const x = (value) => along(value, least, most);
  const parts = [shape("line", { class: "axis", x1: 8, x2: 172, y1: 12, y2: 12 }),
    marks.map((mark) => shape("line", { class: "zero", x1: x(mark), x2: x(mark), y1: 1, y2: 23 }))];
  if (score.low !== null && score.low !== undefined) {
    const [a, b] = [x(score.low), x(score.high)];
    parts.push(shape("rect", { class: "band", x: a - 0.5, y: 8, width: b - a + 1, height: 8, rx: 2 }));
  }
  parts.push(shape("circle", { class: "dot", cx: x(score.value), cy: 12, r: 4 }));
  return drawing(`${shown(score.value)}${ends(score.low, score.high)}`, parts);
}

// lines: [{name, style, points: [[value, low, high], ...]}] over evenly spaced ticks.
function lineChart(title, ticks, lines) {
  const all = lines.flatMap((line) => line.points.flat()).filter((value) => value !== null);
  const low = Math.min(0, ...all), high = Math.max(1, ...all);
  const x = (at) => 54 + (318 * at) / Math.max(1, ticks.length - 1);
  const y = (value) => 14 + (194 * (high - value)) / (high - low);
  const label = (text, attributes) => shape("text", { class: "tick", "text-anchor": "middle", ...attributes }, text);
  const parts = [label("answers per group (m)", { x: 214, y: 244 }), ticks.map((tick, at) => label(tick, { x: x(at), y: 226 }))];
  for (let level = Math.ceil(low / 0.25) * 0.25; level <= high + 1e-9; level += 0.25) {
    parts.push(shape("line", { class: "grid", x1: 42, x2: 386, y1: y(level), y2: y(level) }));
    parts.push(label(shown(level, 2), { x: 36, y: y(level) + 4, "text-anchor": "end" }));
  }
  for (const { style, points } of lines) {
    const known = points.map(([value, least, most], at) => ({ value, least, most, at })).filter(({ value }) => value !== null);
    parts.push(shape("polyline", { class: `line ${style}`, points: known.map(({ value, at }) => `${x(at)},${y(value)}`).join(" ") }));
    for (const { value, least, most, at } of known) {
      if (least !== null && least !== undefined) parts.push(shape("path", { class: `whisker ${style}`, d: `M${x(at)} ${y(least)}V${y(most)}` }));
      if (style !== "chance" && style !== "human") parts.push(shape("circle", { class: `mark ${style}`, cx: x(at), cy: y(value), r: 4 }));
    }
  }
  const said = lines.map((line) => `${line.name}: ${line.points.map(([v], at) => `${ticks[at]} ${shown(v)}`).join(", ")}`);
  const drawn = shape("svg", { viewBox: "0 0 400 252", class: "chart", role: "img", "aria-label": `${title}. ${said.join("; ")}` }, parts);
  const legend = lines.map(({ name, style }) => [shape("svg", { viewBox: "0 0 30 16", class: "key", "aria-hidden": "true" },
    shape("line", { class: `line ${style}`, x1: 0, x2: 30, y1: 8, y2: 8 })), ` ${name} `]);
  return make("figure", {}, make("figcaption", {}, title), drawn, make("p", { class: "note" }, legend));
}

// A matrix of shares, shaded from 0 to `top`.
function heat(caption, names, cells, top) {
  const shade = (value) => (value === null ? "heat" : `heat h${Math.max(0, Math.min(10, Math.round((10 * value) / top)))}`);
  const rows = cells.map((row, at) => [names[at], ...row.map((value) =>
    make("td", { class: shade(value) }, shown(value, 2).replace(/^0\./, ".")))]);
  return grid(caption, ["↓ given, judged →", ...names], rows, { class: "heatmap" });
}
