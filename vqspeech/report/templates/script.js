// The page is complete without this: it sorts tables and shows one utterance at a time.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        // What has no value stays last either way.
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return down ? -order : order;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}

const picker = document.getElementById("picker");
if (picker) {
  const utterances = [...document.querySelectorAll(".utterance")];
  const show = () => {
    for (const utterance of utterances) {
      utterance.hidden = utterance.id !== picker.value;
      if (utterance.hidden) utterance.querySelectorAll("audio").forEach((audio) => audio.pause());
    }
  };
  picker.closest("p").hidden = false;
  picker.addEventListener("change", show);
  show();
}

document.addEventListener("play", (event) => {
  for (const audio of document.querySelectorAll("audio")) if (audio !== event.target) audio.pause();
}, true);
