// Tabs, filters, choices. Without script the page shows all tables, sorted by the index.
const tools = document.querySelector(".tools");
const tabs = [...document.querySelectorAll("[data-tab]")];
const bodies = [...document.querySelectorAll("table.board tbody")];
const control = (id) => document.getElementById(id);
const choices = [...tools.querySelectorAll("select")];
const picked = [];
let shownTab = null;

function showTab() {
  const wanted = location.hash.slice(1);
  shownTab = tabs.some((tab) => tab.dataset.tab === wanted) ? wanted : (shownTab ?? tabs[0]?.dataset.tab);
  for (const tab of tabs) tab.ariaCurrent = tab.dataset.tab === shownTab ? "true" : null;
  for (const section of document.querySelectorAll("section.tab")) section.hidden = section.id !== shownTab;
  filter();
}

function fits(row, wanted) {
  const { role, verified, id } = row.dataset;
  if (role === "attack" ? !wanted.attacks : role !== "system" && !wanted.floors) return false;
  // baselines have no base, method or mark of their own to filter by
  const differs = choices.some(({ id: key, value }) => value && row.dataset[key] !== value);
  if (role === "system" && (differs || (wanted.verified && !verified))) return false;
  return !wanted.find || `${id} ${row.cells[2].textContent}`.toLowerCase().includes(wanted.find);
}

function filter() {
  const wanted = {
    find: control("find").value.trim().toLowerCase(),
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

function csvOf(id) {
  const table = data().tables.find((found) => found.id === id);
  const body = document.querySelector(`table[data-table="${CSS.escape(id)}"]`).tBodies[0];
  const lines = Object.fromEntries(table.rows.map((row) => [row.submission, row.csv]));
  return [table.head, ...[...body.rows].filter((row) => !row.hidden).map((row) => lines[row.dataset.id])].join("");
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
control("compare").addEventListener("click", () => showComparison(...candidates().slice(0, 2)));
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
