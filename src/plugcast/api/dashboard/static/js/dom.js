// Puts texts where data-f names them; text only, never markup.
export function fill(root, texts) {
  for (const [name, text] of Object.entries(texts)) {
    for (const node of root.querySelectorAll(`[data-f="${name}"]`)) setText(node, text);
  }
}

// Leaves the document alone where nothing changed.
export function setText(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function setIcon(node, name) {
  const use = node.querySelector("use");
  if (use.getAttribute("href") !== `#i-${name}`) use.setAttribute("href", `#i-${name}`);
}

export const clone = (template) => document.getElementById(template).content.firstElementChild.cloneNode(true);

export function listItems(list, texts) {
  list.replaceChildren(...texts.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

// Rows of a table: the first cell is the row's head.
export function tableRows(id, rows) {
  const table = document.getElementById(id);
  const numericFrom = Number(table.dataset.numericFrom);
  table.tBodies[0].replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    cells.forEach((text, index) => {
      const cell = document.createElement(index === 0 ? "th" : "td");
      if (index === 0) cell.scope = "row";
      if (index >= numericFrom) cell.className = "num";
      cell.textContent = text;
      row.append(cell);
    });
    return row;
  }));
  document.getElementById(`${id}-empty`).hidden = rows.length > 0;
}
