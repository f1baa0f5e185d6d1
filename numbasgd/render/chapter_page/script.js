"use strict";
// Without this script the page shows all of its figures, the slider's at the batch size that is best.

// The slider: the runs of its batch size come to the front, in both drawings, and the line below says what they took.
const slider = document.getElementById("batch-size");
if (slider) {
  const told = [...document.getElementById("batch-size-lines").children].map(line => line.textContent);
  const show = () => {
    for (const run of document.querySelectorAll("#curves .run")) {
      const isOn = run.dataset.run === slider.value;
      run.classList.toggle("on", isOn);
      if (isOn) run.parentNode.append(run);
    }
    document.getElementById("batch-size-told").textContent = told[slider.value];
    slider.setAttribute("aria-valuetext", told[slider.value]);
  };
  slider.hidden = false;
  slider.addEventListener("input", show);
  show();
}

// A figure as a file: what the style sheet says is written into each element, and the caption's line below it.
const LOOKS = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity",
  "paint-order", "font-family", "font-size", "font-weight"];

function standalone(figure, source) {
  const shown = [...document.querySelectorAll(`#${figure} svg.drawing`)]
    .find(drawing => getComputedStyle(drawing).display !== "none");
  const copy = shown.cloneNode(true);
  const pairs = [...shown.querySelectorAll("*")].map((from, i) => [from, copy.querySelectorAll("*")[i]]);
  for (const [from, to] of pairs) {
    const look = getComputedStyle(from);
    if (look.display === "none") { to.dataset.gone = ""; continue; }
    for (const name of LOOKS) to.style.setProperty(name, look.getPropertyValue(name));
    to.removeAttribute("class");
  }
  copy.querySelectorAll("[data-gone]").forEach(element => element.remove());
  const [, , width, height] = shown.getAttribute("viewBox").split(" ").map(Number);
  const page = getComputedStyle(document.body);
  const add = (name, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const lines = wrapped(source, width - 20);
  const full = height + 16 * lines.length + 10;
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("viewBox", `0 0 ${width} ${full}`);
  copy.setAttribute("width", width);
  copy.setAttribute("height", full);
  copy.removeAttribute("class");
  copy.insertBefore(add("rect", { width, height: full, fill: page.backgroundColor }), copy.children[2]);
  lines.forEach((line, i) => copy.append(add("text", { x: 10, y: height + 12 + 16 * i, fill: page.color,
    "font-size": "11px", "font-family": page.fontFamily }, line)));
  return new XMLSerializer().serializeToString(copy);
}

// Text in lines of at most so many pixels at 11 pixels a letter of Chinese, half of it for one of Latin.
function wrapped(text, width) {
  const lines = [""];
  let used = 0;
  for (const word of text.match(/[\u2e80-\uffff]|[^\u2e80-\uffff\s]+\s*|\s+/g) || []) {
    const needed = [...word].reduce((sum, letter) => sum + (letter > "\u2e80" ? 11 : 5.8), 0);
    if (used + needed > width && used > 0) { lines.push(""); used = 0; }
    lines[lines.length - 1] += word;
    used += needed;
  }
  return lines;
}

for (const button of document.querySelectorAll("button.save")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const file = new Blob([standalone(button.dataset.figure, button.dataset.source)], { type: "image/svg+xml" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `numbasgd-${button.dataset.figure}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

// On paper nothing can be unfolded, so the tables of figures are printed, and folded again afterwards.
const folded = [...document.querySelectorAll("details")];
addEventListener("beforeprint", () => folded.forEach(one => { one.dataset.was = one.open ? "open" : ""; one.open = true; }));
addEventListener("afterprint", () => folded.forEach(one => { one.open = one.dataset.was === "open"; }));
