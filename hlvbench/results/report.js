"use strict";
// Without this script the page says the same: it only lets a reader sort tables.
// data-sort of a head: "none", "text" (never as numbers), "down" (the largest first); data-v of a cell: what it sorts by.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const kind = head.dataset.sort;
    if (kind === "none") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : kind === "down";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => [row.cells[column].dataset.v ?? row.cells[column].textContent.trim(), row]);
      keyed.sort(([a], [b]) => compare(a, b, down ? -1 : 1, kind === "text"));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

// Numbers by value, text by letters; what has no value stays last in both directions.
function compare(a, b, sign, asText) {
  const [x, y] = [a, b].map((text) => (!asText && /^-?[\d.]/.test(text) ? parseFloat(text) : NaN));
  const [noA, noB] = [a, b].map((text) => text === "" || text === "–");
  if (noA || noB) return noA - noB;
  if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
  return sign * a.localeCompare(b);
}
