// Two systems on the same replicates: what `hlvbench compare` says, without data or model.
function sidesOf(first, second) {
  const tasks = tablesOf(first).filter(({ table }) => table.id !== "overall").flatMap(({ table, row }) => {
    const other = table.rows.find((found) => found.submission === second);
    return other ? [{ table, rows: [row, other] }] : [];
  });
  const found = tasks.map(({ table, rows }) => ({
    title: table.title, id: table.id, rows, items: Math.min(...rows.map((row) => row.items)), current: table.current,
    values: rows.map((row) => Object.fromEntries(Object.entries(row.replicates).map(([name, stored]) => [name, decode(stored)]))),
  }));
  const overall = data().overall ? data().overall.of.map((id) => found.find((side) => side.id === id)) : [];
  if (overall.length && overall.every(Boolean)) {
    found.unshift({
      title: data().overall.title, id: "overall", rows: null, items: overall.reduce((sum, side) => sum + side.items, 0),
      values: [0, 1].map((at) => meanValues(overall.map((side) => side.values[at]))),
    });
  }
  return found;
}

// Per metric that all tasks have: the means of the estimates and of the replicates with the same number.
function meanValues(parts) {
  const names = Object.keys(parts[0]).filter((name) => parts.every((part) => part[name]));
  return Object.fromEntries(names.map((name) => [name, {
    estimate: meanOf(parts.map((part) => part[name].estimate)),
    values: parts[0][name].values.map((_, at) => meanOf(parts.map((part) => part[name].values[at]))),
  }]));
}

function comparisonTable(side, names) {
  const shared = Object.keys(side.values[0]).filter((name) => side.values[1][name]);
  shared.sort((a, b) => (b === "hlv_index") - (a === "hlv_index"));
  const found = shared.map((name) => [name, side.values.map((v) => v[name]), paired(side.values[0][name], side.values[1][name], side.items)]);
  const reach = Math.max(0.1, ...found.flatMap(([, , p]) => [Math.abs(p.low ?? 0), Math.abs(p.high ?? 0)]));
  const rows = found.map(([name, [a, b], p]) => [
    make("code", {}, breakable(name)), shown(a.estimate), shown(b.estimate),
    make("td", { class: "num", "data-metric": name, "data-difference": p.difference, "data-low": p.low, "data-high": p.high, "data-p": p.p },
      make("b", {}, shown(p.difference)), make("span", { class: "ends" }, ends(p.low, p.high))),
    make("td", { class: p.p < 0.05 ? "num sure" : "num" }, smallP(p.p, p.beyond)),
    make("td", { class: "drawn" }, bar({ value: p.difference, low: p.low, high: p.high }, -reach, reach)),
  ]);
  return make("section", { "data-side": side.id }, make("h3", {}, side.title),
    grid(`${names[0]} less ${names[1]} on ${side.title}`, ["metric", names[0], names[1], "difference", "p", barHead(-reach, reach, [0])], rows, { class: "compared" }),
    side.rows ? make("div", { class: "charts" }, curvesOf(side, names)) : null);
}

function curvesOf(side, names) {
  const sizes = Object.keys(side.rows[0].curves["imitation, norm"] ?? {});
  if (!sizes.length) return null;
  const line = (row, name, style) => ({ name, style, points: sizes.map((m) => (row.curves["imitation, norm"][m] ?? [null]).slice(0, 3)) });
  return lineChart("Imitation score by group size", sizes.map((m) => `@${m}`), [
    { name: "people", style: "human", points: sizes.map(() => [1]) }, line(side.rows[0], names[0], "system"), line(side.rows[1], names[1], "second"),
  ]);
}

// The name on the page, with the folder's where several submissions share it.
function nameOf(id) {
  const name = data().systems[id].system;
  return Object.values(data().systems).filter((other) => other.system === name).length > 1 ? `${name} (${id})` : name;
}

function showComparison(first, second) {
  const ids = Object.keys(data().systems);
  const chooser = (chosen, label) => make("label", {}, make("span", { class: "unseen" }, label),
    make("select", {}, ids.map((id) => make("option", { value: id, selected: id === chosen }, nameOf(id)))));
  const [a, b] = [chooser(first, "first system"), chooser(second, "second system")];
  const results = make("div", { id: "compared" });
  const render = () => {
    const [x, y] = [a, b].map((label) => label.querySelector("select").value);
    const names = [x, y].map(nameOf);
    const sides = x === y ? [] : sidesOf(x, y);
    results.replaceChildren(...(sides.length ? sides.map((side) => comparisonTable(side, names))
      : [make("p", { class: "note" }, x === y ? "Choose two different systems." : "These two have no task in common.")]));
  };
  a.addEventListener("change", render);
  b.addEventListener("change", render);
  render();
  open("Two systems, paired", make("p", { class: "choose" }, a, " less ", b),
    make("p", { class: "note" }, "Both on the same resamplings of the items. Interval 95 %; p two-sided, ~ where it lies beyond what the replicates resolve. The same as hlvbench compare on the two folders."),
    results);
}
