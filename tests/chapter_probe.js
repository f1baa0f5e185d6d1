"use strict";
// Runs in the chapter's page, after its own script: looks at what is drawn, uses it, and leaves what it found as text.
const errors = [];
addEventListener("error", event => errors.push(event.message));
addEventListener("securitypolicyviolation", event => errors.push(event.violatedDirective));

const visible = drawing => getComputedStyle(drawing).display !== "none";

// Words of a drawing with their boxes on the screen; turned ones, which have no upright box, are left out.
function words(drawing) {
  return [...drawing.querySelectorAll("text")]
    .filter(text => !(text.getAttribute("transform") || "").includes("rotate") && getComputedStyle(text).display !== "none")
    .map(text => [text.textContent, text.getBoundingClientRect()]);
}

function figure(section) {
  const shown = [...section.querySelectorAll("svg.drawing")].filter(visible);
  const box = shown[0].getBoundingClientRect();
  const all = words(shown[0]);
  const outside = all.filter(([, w]) => w.left < box.left - 1 || w.right > box.right + 1 || w.top < box.top - 1 || w.bottom > box.bottom + 1)
    .map(([text]) => text);
  const overlaps = [];
  all.forEach(([text, a], i) => all.slice(i + 1).forEach(([other, b]) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 1 && down > 4) overlaps.push(`${text} | ${other}`);
  }));
  return { shown: shown.length, height: box.height, marks: shown[0].querySelectorAll("path, rect").length, outside, overlaps };
}

function use(slider) {
  const steps = [];
  for (let i = Number(slider.min); i <= Number(slider.max); i++) {
    slider.value = i;
    slider.dispatchEvent(new Event("input"));
    const on = [...document.querySelectorAll("#curves .run.on")];
    steps.push({
      said: document.querySelector("output").textContent,
      spoken: slider.getAttribute("aria-valuetext"),
      on: on.length,
      curves: on.map(run => run.querySelector(".line").getAttribute("d")).join(),
    });
  }
  return steps;
}

// What each button would save, without saving it.
function exported() {
  const texts = {};
  let name = "";
  window.Blob = class { constructor(parts) { texts[name] = parts.join(""); } };
  URL.createObjectURL = () => "#";
  HTMLAnchorElement.prototype.click = () => {};
  for (const button of document.querySelectorAll("button.save")) {
    name = button.dataset.figure;
    button.click();
  }
  return texts;
}

{
  const sections = [...document.querySelectorAll("section.figure")];
  const inner = new Set();  // what scrolls by itself
  document.querySelectorAll("pre, .wide-table").forEach(box => box.querySelectorAll("*").forEach(one => inner.add(one)));
  const usable = [...document.querySelectorAll("a, button, input, summary")];
  const found = {
    resources: performance.getEntriesByType("resource").map(entry => entry.name),
    figures: Object.fromEntries(sections.map(section => [section.id, figure(section)])),
    wide: [...document.body.querySelectorAll("*")]
      .filter(one => !inner.has(one) && !one.closest("svg") && !one.closest(".skip") && one.getBoundingClientRect().right > innerWidth + 1)
      .map(one => one.outerHTML.slice(0, 80)),
    slider: use(document.getElementById("batch-size")),
    focusable: usable.filter(one => one.tabIndex === 0).map(one => one.localName),
    unnamed: usable.filter(one => !one.textContent && !(one.labels && one.labels.length)).map(one => one.outerHTML),
    exported: exported(),
    errors,
  };
  const told = document.createElement("pre");
  told.id = "found";
  told.textContent = JSON.stringify(found);
  document.body.append(told);
}
