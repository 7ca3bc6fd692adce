"use strict";
// Without this script the page says the same: it only lets a reader sort tables.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => [row.cells[column].textContent.trim(), row]);
      keyed.sort(([a], [b]) => compare(a, b, down ? -1 : 1));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

// Numbers by value, text by letters; what has no value stays last in both directions.
function compare(a, b, sign) {
  const [x, y] = [a, b].map((text) => (/^-?[\d.]/.test(text) ? parseFloat(text) : NaN));
  const [noA, noB] = [a, b].map((text) => text === "" || text === "–");
  if (noA || noB) return noA - noB;
  if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
  return sign * a.localeCompare(b);
}
