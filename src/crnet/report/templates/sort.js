// Sorts a table by the column whose title is clicked. Pages work without it; their policy admits this script alone.
"use strict";
function sortValue(row, column) {
  const text = row.cells[column].textContent.trim().replace(/[−–]/g, "-").replace(/^[<>]\s*/, "");
  const number = parseFloat(text);
  return Number.isNaN(number) ? text.toLowerCase() : number;
}
function sortRows(table, column, cell) {
  const body = table.tBodies[0];
  const direction = cell.getAttribute("aria-sort") === "descending" ? 1 : -1;
  const rows = [...body.rows].map((row) => [sortValue(row, column), row]);
  rows.sort(([a], [b]) => {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return direction * (a < b ? -1 : a > b ? 1 : 0);
  });
  body.append(...rows.map(([, row]) => row));
  for (const other of cell.parentNode.cells) other.removeAttribute("aria-sort");
  cell.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
}
for (const table of document.querySelectorAll(".scroll > table")) {
  if (table.tHead.rows.length > 1 || table.tBodies[0].rows.length < 3) continue;
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    button.addEventListener("click", () => sortRows(table, column, cell));
    cell.append(button);
  });
}
