// What a row cannot show: one system, task by task, in a panel over the page.
const panel = document.getElementById("panel");
let board = null;

// Parsed when first asked for: the tables stand without it.
function data() {
  board ??= unpacked(JSON.parse(document.getElementById("board").textContent));
  return board;
}

// A score comes as a list of its values in the order of table.score, its metric as a number in table.names.
function unpacked(packed) {
  for (const table of packed.tables) {
    for (const row of table.rows) {
      row.scores = row.scores.map((values) => Object.fromEntries(table.score.map((key, at) => [key, values[at]])));
      for (const score of row.scores) {
        score.better = table.better[score.metric];
        score.metric = table.names[score.metric];
      }
    }
  }
  return packed;
}

function tablesOf(id) {
  const found = [data().overall, ...data().tables].filter((table) => table !== null);
  return found.map((table) => ({ table, row: table.rows.find((row) => row.submission === id) })).filter(({ row }) => row);
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
function link(url, text) {
  return /^https:\/\//.test(url) ? make("a", { href: url, rel: "noopener noreferrer nofollow" }, text) : make("span", {}, text);
}

function showSystem(id) {
  const system = data().systems[id];
  const parts = tablesOf(id).map(({ table, row }) => (table.id === "overall" ? onAll(table, row) : onTask(table, row)));
  open(system.system, facts(id, system), ...parts, reproduce(id, system));
}

function facts(id, system) {
  const training = system.training;
  const rows = [
    ["Method", system.role === "system" ? system.method : `${system.role}, unranked${system.recipe ? ` (recipe ${system.recipe})` : ""}`],
    ["Base model", system.base && `${system.base}${system.revision ? ` @ ${system.revision}` : ""}${system.distributed === false ? ", not distributed" : ""}`],
    ["Answers", system.answers && `${system.answers}, prompts of version ${system.prompt_version}`],
    ["Authors", system.authors.join(", ")],
    ["Submitted", system.date],
    ["Verified", system.verified ? `${system.verified.date}, hlvbench ${system.verified.hlvbench}, largest difference ${system.verified.largest_difference}` : "not yet"],
    ["Trained on", system.role === "system" && (training.splits.length ? `${training.splits.join(", ")}: ${training.annotators}` : "no record of these tasks")],
    ["Training note", training.note],
    ["Answers that equal a train record", Object.entries(system.overlap).map(([task, o]) => `${o.train_copies} of ${o.answers} (${task})`).join(", ")],
    ["Marks", system.marks.join(", ")],
    ["Cost", Object.entries(system.cost).map(([key, value]) => `${key} ${value}`).join(", ")],
  ];
  const list = make("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([term, value]) =>
    make("div", { class: String(value).length > 60 ? "long" : null }, make("dt", {}, term), make("dd", {}, make("bdi", {}, value)))));
  const links = Object.entries(system.links).map(([kind, url]) => [link(url, kind), " "]);
  return make("div", {}, system.description ? make("p", { class: "prose" }, make("bdi", {}, system.description)) : null, list,
    make("p", { class: "note" }, links, make("a", { href: `../submissions/${id}/` }, "files of this submission")));
}

function index1(row) {
  return row.index_1 === null ? "" : `Index 1, that of the releases 0.1: ${shown(row.index_1)}. `;
}

function onAll(table, row) {
  return make("section", { "data-part": table.id }, make("h3", {}, table.title),
    make("p", { class: "note" }, "The mean of both tasks. ", index1(row), against(row)), factors(table, row));
}

function onTask(table, row) {
  const note = make("p", { class: "note" }, `${row.questions} questions, ${row.missing} missing or unreadable answers; each annotator’s majority label is right for ${shown(row.majority)}. `, index1(row), against(row));
  const judges = row.judges.map((judge) => [judge.judge, valued({ ...judge, value: judge.accuracy }), shown(judge.floor),
    shown(judge.ceiling), String(judge.unreadable), String(judge.n)]);
  return make("section", { "data-part": table.id }, make("h3", {}, table.title, " ", make("code", {}, table.task)), note, factors(table, row),
    make("div", { class: "charts" }, curves(row)), swap(row),
    judges.length ? [make("h4", {}, "Who wrote it?"),
      grid("Attribution by judges", ["judge", "accuracy", "floor", "human", "unreadable", "n"], judges)] : null,
    people(row));
}

function against(row) {
  return Object.entries(row.against).map(([name, found]) => {
    const said = found.beats ? "beats" : found.p < 0.05 ? "is behind" : "does not beat";
    return `It ${said} ${name}: ${shown(found.difference)}${ends(found.low, found.high)}, paired p ${smallP(found.p, found.beyond_resolution)}. `;
  });
}

function factors(table, row) {
  const all = { hlv_index: row.index, ...row.factors };
  const values = Object.values(all).flatMap((score) => [score.value ?? 0, score.low ?? 0, score.high ?? 0]);
  const [least, most, marks] = [Math.min(0, ...values), Math.max(1, ...values), [0, 1]];
  const rows = Object.entries(all).map(([name, score]) => [
    name === "hlv_index" ? name : [name, make("small", {}, breakable(table.metrics?.[name] ?? ""))],
    score.value === null ? make("td", {}, `– ${score.note}`) : valued(score),
    make("td", { class: "drawn" }, score.value === null ? "" : bar(score, least, most, marks)),
  ]);
  return [
    grid("The index and its factors", ["", ["value", make("span", { class: "ends" }, " [95 % interval]")], barHead(least, most, marks)], rows, { class: "factors" }),
    make("p", { class: "note" }, "Chance is 0, people are 1, and higher is better; an imitation above 1 is a caricature."),
  ];
}

function curves(row) {
  const titles = { "imitation, norm": "Imitation score by group size", "confidence, norm": "Confidence by group size" };
  return Object.entries(titles).map(([key, title]) => {
    const sizes = Object.entries(row.curves[key] ?? {});
    if (!sizes.some(([, score]) => score[0] !== null)) return null;
    const line = (name, style, pick) => ({ name, style, points: sizes.map(([, score]) => pick(score)) });
    return lineChart(title, sizes.map(([m]) => `@${m}`), [
      line("chance", "chance", (score) => [score[3]]), line("people", "human", (score) => [score[4]]),
      line("system", "system", (score) => score.slice(0, 3)),
    ]);
  });
}

function swap(row) {
  if (!row.swap) return null;
  const cells = [...row.swap.system, ...row.swap.people].flat().filter((value) => value !== null);
  const about = `${row.swap.view} view, groups of ${row.swap.m}`;
  const top = Math.max(...cells) || 1;
  return make("div", {}, make("h4", {}, "Swap matrix"),
    make("p", { class: "note" }, "Row: the annotator that answers were given as; column: the one a probe takes for their writer. Imitation is a dark diagonal."),
    make("div", { class: "pair" }, heat(`System, ${about}`, row.annotators, row.swap.system, top),
      heat(`People, ${about}`, row.annotators, row.swap.people, top)));
}

const WAYS = { higher: ["↑", "higher is better"], lower: ["↓", "lower is better"], ideal: ["◇", "nearest to people is best"] };

function way(better) {
  const [sign, said] = WAYS[better];
  return make("span", { class: "way", title: said }, make("span", { "aria-hidden": "true" }, sign), make("span", { class: "unseen" }, said));
}

function people(row) {
  const rows = row.scores.map((score) => [
    [make("code", {}, breakable(score.metric)), "\u00a0", way(score.better)], score.value === null ? `– ${score.note}` : valued(score),
    ...row.annotators.map((_, at) => (score.by ? shown(score.by[at], 2) : "")), shown(score.floor, 2), shown(score.ceiling, 2),
  ]);
  const signatures = row.scores.map((score) => `${score.metric}|${row.conditions}`).join("\n");
  return make("div", {}, make("h4", {}, "By annotator"),
    make("p", { class: "note" }, Object.values(WAYS).map(([sign, said]) => `${sign} ${said}`).join(", "), ". The ideal of c2st is .5."),
    grid("Scores of each annotator", ["metric", "all", ...row.annotators, "floor", "human"], rows, { class: "scores" }),
    make("details", {}, make("summary", {}, "signatures"), make("pre", {}, signatures)));
}

function reproduce(id, system) {
  const commands = [...system.commands, `hlvbench check submissions/${id}`].join("\n");
  return make("section", {}, make("h3", {}, "Reproduce"), make("pre", {}, commands),
    make("details", {}, make("summary", {}, "BibTeX"), make("pre", {}, bibtex(id, system))));
}

function bibtex(id, system) {
  const plain = (text) => text.replace(/\\/g, "/").replace(/[{}]/g, "").replace(/([&%$#_])/g, "\\$1").replace(/[~^]/g, " ");
  return `@misc{hlvbench:${id},\n  title = {${plain(system.system)}},\n  author = {${system.authors.map((a) => `{${plain(a)}}`).join(" and ")}},\n  year = {${system.date.slice(0, 4)}},\n  note = {hlvbench submission ${plain(id)}}\n}`;
}
