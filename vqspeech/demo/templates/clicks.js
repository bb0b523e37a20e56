// Gradio drops a click on a button whose work has not ended, and what is stopped ends only when its block is made: a click that
// comes in between is kept, and done when that is over.
const working = new Map(); // "going", "stopped" or "again", by the id of the button

document.addEventListener(
  "click",
  (event) => {
    const id = event.target.closest("#convert, #decode, #draw, #stop")?.id;
    if (id === "stop") for (const button of working.keys()) working.set(button, "stopped");
    else if (id && !working.has(id)) working.set(id, "going");
    else if (working.get(id) === "stopped") working.set(id, "again");
  },
  true,
);

function workEnded(id) {
  const again = working.get(id) === "again";
  working.delete(id);
  if (again) document.getElementById(id).click();
}
