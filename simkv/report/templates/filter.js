"use strict";
// Show and hide arms: everything that carries data-arm="N", and whoever listens to "simkv:arms" (the timeline).
(() => {
  const boxes = [...document.querySelectorAll(".filter input")];
  if (boxes.length < 2) return;
  const all = document.querySelector(".filter button");
  const apply = () => {
    const hidden = boxes.filter((box) => !box.checked).map((box) => box.value);
    for (const each of document.querySelectorAll("[data-arm]")) {
      each.classList.toggle("off", hidden.includes(each.dataset.arm));
    }
    all.hidden = hidden.length === 0;
    document.dispatchEvent(new CustomEvent("simkv:arms", { detail: { hidden: hidden.map(Number) } }));
  };
  for (const box of boxes) {
    box.hidden = false;
    box.addEventListener("change", apply);
  }
  all.addEventListener("click", () => {
    for (const box of boxes) box.checked = true;
    apply();
  });
  document.querySelector(".filter .hint").textContent = ": choose what all tables and figures show";
})();
