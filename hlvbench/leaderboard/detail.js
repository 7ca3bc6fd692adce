// What a row cannot show: one system task by task, or two systems compared, in a panel over the page.
const panel = document.getElementById("panel");
let board = null;

// Parsed when first asked for: the tables stand without it.
function data() {
  board ??= JSON.parse(document.getElementById("board").textContent);
  return board;
}

// The tables that have all of these submissions, each with their rows.
function tablesOf(...ids) {
  const rows = (table) => ids.map((id) => table.rows.findIndex((row) => row.submission === id));
  return data().tables.map((table) => ({ table, at: rows(table) })).filter(({ at }) => !at.includes(-1));
}

function open(title, ...content) {
  const close = make("button", { type: "button", class: "close", "aria-label": "close" }, "×");
  close.addEventListener("click", () => panel.close());
  panel.setAttribute("aria-label", title);
  panel.replaceChildren(make("div", { class: "panel-head" }, make("h2", {}, make("bdi", {}, title)), close),
    make("div", { class: "panel-body" }, ...content));
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
}
panel.addEventListener("click", (event) => {
  if (event.target === panel) panel.close();
});

// A link that leads anywhere else than to an https page is shown as its text.
const link = (url, text) => (/^https:\/\//.test(url)
  ? make("a", { href: url, rel: "noopener noreferrer nofollow" }, text) : make("span", {}, text));
const fold = (title, text) => make("details", {}, make("summary", {}, title), make("pre", {}, text));

function showSystem(id) {
  const system = data().systems[id];
  const list = make("dl", { class: "facts" }, Object.entries(system.facts).map(([term, text]) =>
    make("div", { class: text.length > 60 ? "long" : null }, make("dt", {}, term), make("dd", {}, make("bdi", {}, text)))));
  const links = Object.entries(system.links).map(([kind, url]) => [link(url, kind), " "]);
  open(system.system, system.description ? make("p", { class: "prose" }, make("bdi", {}, system.description)) : null, list,
    make("p", { class: "note" }, links, make("a", { href: `../submissions/${id}/` }, "files of this submission")),
    tablesOf(id).map(({ table, at }) => part(table, table.rows[at[0]])),
    make("section", {}, make("h3", {}, "Reproduce"), make("pre", {}, system.commands), fold("BibTeX", system.bibtex)));
}

function part(table, row) {
  const head = make("h3", {}, table.title, row.scores ? [" ", make("code", {}, table.task)] : null);
  return make("section", { "data-part": table.id }, head, make("p", { class: "note" }, row.note), factors(table, row),
    row.scores ? [make("div", { class: "charts" }, curves(row)), swap(row), judges(row), people(table, row), examples(table, row)] : null);
}

// The system's answers beside those of the annotators, for tasks whose licence lets the page show these.
function examples(table, row) {
  if (!row.examples.length) return null;
  const texts = ({ text, humans }, at) => [
    make("p", { class: "prose" }, Object.entries(text).map(([field, value]) => make("span", {}, make("b", {}, field), ` ${value}`))),
    grid("Answers to this item", ["", "the annotator", "the system"], humans.map(({ annotator, label, explanation }, who) => [
      annotator, make("td", {}, `Label: ${label}\nExplanation: ${explanation}`), make("td", {}, row.examples[at][who] || "–")])),
  ];
  return make("div", { class: "examples" }, make("h4", {}, "Examples"), table.card.examples.map(texts),
    make("p", { class: "note" }, "Arguments and annotators’ answers, line breaks replaced by spaces: ", link(table.card.source, "source"), `, ${table.card.licence}.`));
}

function factors(table, row) {
  const all = { hlv_index: row.index, ...row.factors };
  const values = Object.values(all).flatMap((score) => [score.value ?? 0, score.low ?? 0, score.high ?? 0]);
  const [least, most, marks] = [Math.min(0, ...values), Math.max(1, ...values), [0, 1]];
  const rows = Object.entries(all).map(([name, score]) => [
    [name, make("small", {}, breakable(table.under[name] ?? ""))],
    score.value === null ? make("td", {}, `– ${score.note}`) : valued(score),
    make("td", { class: "drawn" }, score.value === null ? "" : bar(score, least, most, marks)),
  ]);
  const columns = ["", ["value", make("span", { class: "ends" }, " [95 % interval]")], barHead(least, most, marks)];
  return [grid("The index and its factors", columns, rows, { class: "factors" }),
    make("p", { class: "note" }, "Chance is 0, humans are 1, and higher is better; an imitation above 1 is a caricature.")];
}

function curves(row) {
  const titles = { imitation: "Imitation score by group size", confidence: "Confidence by group size" };
  return Object.entries(titles).map(([key, title]) => {
    const sizes = Object.entries(row.curves[key] ?? {});
    if (!sizes.some(([, score]) => score[0] !== null)) return null;
    const line = (name, style, pick) => ({ name, style, points: sizes.map(([, score]) => pick(score)) });
    return lineChart(title, sizes.map(([m]) => `@${m}`), [line("chance", "chance", (score) => [score[3]]),
      line("humans", "human", (score) => [score[4]]), line("system", "system", (score) => score.slice(0, 3))]);
  });
}

function swap(row) {
  if (!row.swap) return null;
  const top = Math.max(...[...row.swap.system, ...row.swap.human].flat().filter((value) => value !== null)) || 1;
  const matrix = (who, cells) => heat(`${who}, ${row.swap.view} view, groups of ${row.swap.m}`, row.annotators, cells, top);
  return make("div", {}, make("h4", {}, "Swap matrix"),
    make("p", { class: "note" }, "Row: the annotator that answers were given as; column: the one a probe takes for their writer. Imitation is a dark diagonal."),
    make("div", { class: "pair" }, matrix("System", row.swap.system), matrix("Humans", row.swap.human)));
}

function judges(row) {
  if (!row.judges.length) return null;
  return [make("h4", {}, "Who wrote it?"), grid("Attribution by judges", ["judge", "accuracy", "floor", "human", "unreadable", "n"],
    row.judges.map((judge) => [judge.judge, valued({ ...judge, value: judge.accuracy }), shown(judge.floor), shown(judge.ceiling),
      String(judge.unreadable), String(judge.n)]))];
}

const WAYS = { higher: ["↑", "higher is better"], lower: ["↓", "lower is better"], ideal: ["◇", "nearest to humans is best"] };
const way = ([sign, said]) => make("span", { class: "way", title: said }, make("span", { "aria-hidden": "true" }, sign), make("span", { class: "unseen" }, said));

// A score is the list [metric, value, low, high, floor, ceiling, n, note, by annotator].
function people(table, row) {
  const rows = row.scores.map(([metric, value, low, high, floor, ceiling, , note, by]) => [
    [make("code", {}, breakable(table.names[metric])), "\u00a0", way(WAYS[table.ways[metric]])],
    value === null ? `– ${note}` : valued({ value, low, high }),
    ...row.annotators.map((_, at) => (by ? shown(by[at], 2) : "")), shown(floor, 2), shown(ceiling, 2),
  ]);
  return make("div", {}, make("h4", {}, "By annotator"),
    make("p", { class: "note" }, Object.values(WAYS).map(([sign, said]) => `${sign} ${said}`).join(", "), ". The ideal of c2st is .5."),
    grid("Scores of each annotator", ["metric", "all", ...row.annotators, "floor", "human"], rows, { class: "scores" }),
    fold("signatures", row.scores.map(([metric]) => `${table.names[metric]}|${row.conditions}`).join("\n")));
}

// The stored comparison of two rows on a metric, first less second: {difference, low, high, p, holm}; null without one.
function comparison(table, metric, [first, second]) {
  const [a, b] = [Math.min(first, second), Math.max(first, second)];
  const [difference, low, high, p = null, holm] = table.pairs[metric][a * table.compared - (a * (a + 3)) / 2 + b - 1];
  if (difference === undefined) return null;
  const turned = (value) => (value === null ? null : -value);
  return a === first ? { difference, low, high, p, holm } : { difference: turned(difference), low: turned(high), high: turned(low), p, holm };
}

function compared({ table, at }, names, ids) {
  if (Math.max(...at) >= table.compared) {
    return make("p", { class: "note" }, `${table.title}: the page compares the best ${table.compared} rows; any two are compared by `,
      make("code", {}, `hlvbench compare submissions/${ids[0]} submissions/${ids[1]}`));
  }
  const found = Object.keys(table.pairs).map((metric) => [metric, comparison(table, metric, at)]).filter(([, pair]) => pair);
  const reach = Math.max(0.1, ...found.flatMap(([, pair]) => [Math.abs(pair.low ?? 0), Math.abs(pair.high ?? 0)]));
  const small = (p) => (p < table.resolution ? "~" : "") + (p < 0.001 ? "<.001" : p.toFixed(3).replace(/^0/, ""));
  const values = at.map((position) => table.rows[position]).map((row) => ({ hlv_index: row.index.value,
    ...Object.fromEntries(Object.entries(row.factors).map(([factor, score]) => [table.under[factor], score.value])) }));
  const rows = found.map(([metric, pair]) => [
    make("code", {}, breakable(metric)), ...values.map((of) => shown(of[metric])),
    make("td", { class: "num", "data-metric": metric, "data-difference": pair.difference, "data-low": pair.low, "data-high": pair.high, "data-p": pair.p },
      make("b", {}, shown(pair.difference)), make("span", { class: "ends" }, ends(pair.low, pair.high))),
    make("td", { class: pair.p !== null && pair.p < 0.05 ? "num sure" : "num" }, pair.p === null ? "–" : small(pair.p)),
    pair.holm === undefined ? "" : shown(pair.holm),
    make("td", { class: "drawn" }, bar({ value: pair.difference, low: pair.low, high: pair.high }, -reach, reach)),
  ]);
  const columns = ["metric", ...names, "difference", "p", "Holm p", barHead(-reach, reach, [0])];
  return make("section", { "data-side": table.id }, make("h3", {}, table.title),
    grid(`${names[0]} less ${names[1]} on ${table.title}`, columns, rows, { class: "compared" }),
    make("div", { class: "charts" }, bothCurves(at.map((position) => table.rows[position]), names)));
}

function bothCurves(rows, names) {
  const sizes = Object.keys(rows[0].curves?.imitation ?? {});
  if (!sizes.length) return null;
  const line = (row, name, style) => ({ name, style, points: sizes.map((m) => (row.curves.imitation[m] ?? [null]).slice(0, 3)) });
  return lineChart("Imitation score by group size", sizes.map((m) => `@${m}`), [
    { name: "humans", style: "human", points: sizes.map(() => [1]) }, line(rows[0], names[0], "system"), line(rows[1], names[1], "second")]);
}

// The name on the page, with the folder's where several submissions share it.
function nameOf(id) {
  const name = data().systems[id].system;
  return Object.values(data().systems).filter((other) => other.system === name).length > 1 ? `${name} (${id})` : name;
}

function showComparison(...chosen) {
  if (chosen.length < 2) return;
  const choosers = chosen.map((id, at) => make("label", {}, make("span", { class: "unseen" }, ["first system", "second system"][at]),
    make("select", {}, Object.keys(data().systems).map((other) => make("option", { value: other, selected: other === id }, nameOf(other))))));
  const results = make("div", { id: "compared" });
  const render = () => {
    const ids = choosers.map((label) => label.querySelector("select").value);
    const [tables, none] = ids[0] === ids[1] ? [[], "Choose two different systems."] : [tablesOf(...ids), "These two have no task in common."];
    results.replaceChildren(...(tables.length ? tables.map((found) => compared(found, ids.map(nameOf), ids)) : [make("p", { class: "note" }, none)]));
  };
  for (const label of choosers) label.addEventListener("change", render);
  render();
  open("Two systems, paired", make("p", { class: "choose" }, choosers[0], " less ", choosers[1]),
    make("p", { class: "note" }, "Both on the same resamplings of the items, as hlvbench compare does it. Interval 95 %; p two-sided, ~ where it is smaller than the replicates resolve; Holm p is adjusted over all pairs of ranked systems, and ranks rest on it."),
    results);
}
