// Tabs, sorting, filters, choices. Without this script the page shows all tables, sorted by the index.
const tools = document.querySelector(".tools");
const tabs = [...document.querySelectorAll("[data-tab]")];
const bodies = [...document.querySelectorAll("table.board tbody")];
const control = (id) => document.getElementById(id);
const picked = [];

function currentTab() {
  const wanted = location.hash.slice(1);
  return tabs.some((tab) => tab.dataset.tab === wanted) ? wanted : (shownTab ?? tabs[0]?.dataset.tab);
}
let shownTab = null;

function showTab() {
  shownTab = currentTab();
  for (const tab of tabs) {
    if (tab.dataset.tab === shownTab) tab.setAttribute("aria-current", "true");
    else tab.removeAttribute("aria-current");
  }
  for (const section of document.querySelectorAll("section.tab")) section.hidden = section.id !== shownTab;
  filter();
}

function fits(row, wanted) {
  const { method, base, answers, role, verified, id } = row.dataset;
  if (role === "attack" ? !wanted.attacks : role !== "system" && !wanted.floors) return false;
  // references have no base, method or mark of their own to filter by
  if (role === "system" && ((wanted.method && method !== wanted.method) || (wanted.base && base !== wanted.base))) return false;
  if (role === "system" && wanted.answers && answers !== wanted.answers) return false;
  if (role === "system" && wanted.verified && !verified) return false;
  return !wanted.find || `${id} ${row.cells[2].textContent}`.toLowerCase().includes(wanted.find);
}

function filter() {
  const wanted = {
    method: control("method").value, base: control("base").value, answers: control("answers").value, find: control("find").value.trim().toLowerCase(),
    verified: control("verified").checked, floors: control("floors").checked, attacks: control("attacks").checked,
  };
  for (const body of bodies) {
    let count = 0, systems = 0;
    for (const row of body.rows) {
      row.hidden = !fits(row, wanted);
      count += !row.hidden;
      systems += !row.hidden && row.dataset.role === "system";
    }
    const section = body.closest("section"), none = section.querySelector(".none");
    none.hidden = systems > 0;
    none.textContent = count ? "No system fits these filters." : "No row fits these filters.";
    if (section.id === shownTab) control("said").textContent = `${count} of ${body.rows.length} rows shown${systems ? "" : ", no system"}`;
  }
}

// Numbers by value, text by letters; what has no value stays last in both directions.
function sortBy(table, column, kind, down) {
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [row.cells[column].dataset.v, row]);
  keyed.sort(([a], [b]) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return (down ? -1 : 1) * (kind === "text" ? a.localeCompare(b) : Number(a) - Number(b));
  });
  body.append(...keyed.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.board")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const kind = head.dataset.sort;
    if (!kind) return;
    const button = make("button", { type: "button" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : kind === "down";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortBy(table, column, kind, down);
    });
  });
  heads.find((head) => head.textContent.startsWith("hlv_index"))?.setAttribute("aria-sort", "descending");
}

// The two that were picked; else the first systems that the filters leave, else the first rows.
function candidates() {
  const table = document.querySelector(`table[data-table="${CSS.escape(shownTab)}"]`);
  const rows = [...(table?.tBodies[0].rows ?? [])].sort((a, b) => a.hidden - b.hidden);
  const visible = rows.filter((row) => !row.hidden && row.dataset.role === "system");
  return [...new Set([...picked, ...[...visible, ...rows].map((row) => row.dataset.id)])];
}

// A third choice replaces the first.
function pick(id, wanted) {
  if (picked.includes(id)) picked.splice(picked.indexOf(id), 1);
  if (wanted) picked.push(id);
  if (picked.length > 2) picked.shift();
  for (const box of document.querySelectorAll("input.pick")) box.checked = picked.includes(box.closest("tr").dataset.id);
  control("compare").textContent = picked.length === 2 ? "Compare the two chosen" : "Compare two";
}

function compareChosen() {
  const chosen = candidates().slice(0, 2);
  if (chosen.length === 2) showComparison(...chosen);
}

// A spreadsheet runs a cell that begins like a formula.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csvOf(id) {
  const table = [data().overall, ...data().tables].find((found) => found?.id === id);
  const body = document.querySelector(`table[data-table="${CSS.escape(id)}"]`).tBodies[0];
  const visible = [...body.rows].filter((row) => !row.hidden).map((row) => row.dataset.id);
  const names = ["decision", "grounding", "imitation", "distinctness"];
  const head = ["submission", "system", "method", "base", "role", "rank", "hlv_index", "low", "high", ...names, "missing", "verified", "date",
    "less_nearest", "p_nearest", "less_label_guess", "p_label_guess"];
  const rows = visible.map((key) => {
    const row = table.rows.find((found) => found.submission === key), system = data().systems[key];
    return [key, system.system, system.method, system.base, system.role, row.rank, row.index.value, row.index.low, row.index.high,
      ...names.map((name) => row.factors[name]?.value), row.missing, system.verified?.date, system.date,
      ...["nearest", "label-guess"].flatMap((name) => [row.against[name]?.difference, row.against[name]?.p])];
  });
  return [head, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
}

function saveCsv() {
  const url = URL.createObjectURL(new Blob([csvOf(shownTab)], { type: "text/csv" }));
  make("a", { href: url, download: `hlvbench-${shownTab}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

document.documentElement.classList.add("scripted");
tools.hidden = false;
tools.addEventListener("submit", (event) => event.preventDefault());
tools.addEventListener("input", filter);
control("compare").addEventListener("click", compareChosen);
control("csv").addEventListener("click", saveCsv);
document.addEventListener("change", (event) => {
  if (event.target.matches("input.pick")) pick(event.target.closest("tr").dataset.id, event.target.checked);
});
document.addEventListener("click", (event) => {
  const name = event.target.closest("a.open");
  if (!name || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  showSystem(name.dataset.id);
});
addEventListener("hashchange", showTab);
showTab();
