// Makes the columns of tables sortable; without it they stand in the server's order.
export const sortTables = (root) => {
  for (const table of root.querySelectorAll("table.sortable")) sortable(table);
};

const value = (row, index) => {
  const cell = row.cells[index];
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
};

const sortable = (table) => {
  const body = table.tBodies[0];
  const columns = [...table.tHead.rows[0].cells];
  columns.forEach((column, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.textContent;
    column.replaceChildren(button);
    column.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const up = column.getAttribute("aria-sort") !== "ascending";
      for (const other of columns) other.setAttribute("aria-sort", "none");
      column.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((one, two) => {
        const [a, b] = [value(one, index), value(two, index)];
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
        return up ? order : -order;
      });
      body.append(...rows);
    });
  });
};
