"""WCAG's contrast of every text in a part of a page, measured in the browser: HTML, fields, plotly's SVG.

A text's paper is what lies behind it: the backgrounds of the elements around it and, in a plot, every filled shape and
picture drawn before it that holds the middle of the text. What is half transparent is mixed, in both.
"""

from __future__ import annotations

from typing import Any

# Letters or digits make a text; what has none, like the dashes that show a curve's look, is a sign beside a text.
MEASURE = """async ([root, ours]) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = colour => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = "#000";
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = colour => {
    const [r, g, b] = colour.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const faded = (colour, by) => [...colour.slice(0, 3), colour[3] * by];
  const paperOf = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const layer = rgba(getComputedStyle(e).backgroundColor);
      if (layer[3] > 0) layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const pictures = new Map();
  const pixel = async (image, x, y) => {
    if (!pictures.has(image)) {
      const drawn = new Image();
      drawn.src = image.href.baseVal;
      await drawn.decode();
      const sheet = document.createElement("canvas");
      [sheet.width, sheet.height] = [drawn.width, drawn.height];
      const pen = sheet.getContext("2d", { willReadFrequently: true });
      pen.drawImage(drawn, 0, 0);
      pictures.set(image, pen);
    }
    const pen = pictures.get(image), box = image.getBoundingClientRect();
    const at = [(x - box.left) / box.width * pen.canvas.width, (y - box.top) / box.height * pen.canvas.height];
    const [r, g, b, a] = pen.getImageData(...at.map(Math.floor), 1, 1).data;
    return [r, g, b, a / 255];
  };
  const paperInPlot = async (element, plot) => {
    let paper = paperOf(plot);
    const box = element.getBoundingClientRect();
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    for (const svg of plot.querySelectorAll("svg.main-svg")) {
      paper = over(rgba(getComputedStyle(svg).backgroundColor), paper);
    }
    for (const shape of plot.querySelectorAll("rect, path, image")) {
      if (!(shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING)) break;
      const around = shape.getBoundingClientRect();
      if (x < around.left || x > around.right || y < around.top || y > around.bottom) continue;
      if (shape.closest("defs, clipPath, .hoverlayer")) continue;
      const style = getComputedStyle(shape);
      if (style.visibility === "hidden" || style.display === "none") continue;
      if (shape.tagName === "image") {
        paper = over(await pixel(shape, x, y), paper);
      } else if (style.fill !== "none") {
        const at = new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse());
        if (shape.isPointInFill(at)) {
          paper = over(faded(rgba(style.fill), style.fillOpacity * style.opacity), paper);
        }
      }
    }
    return paper;
  };
  const found = [];
  const note = (element, text, colour, paper, style) => {
    let alpha = 1;
    for (let e = element; e; e = e.parentElement) alpha *= getComputedStyle(e).opacity;
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 600);
    const ratio = contrast(over(faded(colour, alpha), paper), paper);
    const where = `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""}`;
    const enough = ratio >= (large ? 3 : 4.5);
    found.push({ text: text.slice(0, 60), ratio, enough, ink: colour.join(), paper: paper.join(), where });
  };
  for (const part of root.querySelectorAll(ours)) {
    const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
      if (!/[\\p{L}\\p{N}]/u.test(text)) continue;
      if (element.closest("style, script, option, :disabled, .modebar, defs")) continue;
      if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
      const style = getComputedStyle(element), plot = element.closest("svg") && element.closest(".js-plotly-plot");
      const colour = element.closest("svg") ? faded(rgba(style.fill), style.fillOpacity) : rgba(style.color);
      note(element, text, colour, plot ? await paperInPlot(element, plot) : paperOf(element), style);
    }
    for (const field of part.querySelectorAll("input:enabled, textarea:enabled, select:enabled")) {
      if (!field.checkVisibility()) continue;
      const style = getComputedStyle(field, field.value ? null : "::placeholder");
      const text = field.value || field.placeholder;
      if (text) note(field, text, rgba(style.color), paperOf(field), style);
    }
  }
  return found;
}"""


def measure(page: Any, ours: str) -> list[dict[str, Any]]:
    """Every text within the elements that the selector `ours` finds: text, ratio, whether it is enough, and where."""
    return page.evaluate(f"given => ({MEASURE})([document, given])", ours)


def too_faint(page: Any, ours: str) -> list[str]:
    """The texts with too little contrast, each as a line; there must be texts."""
    found = measure(page, ours)
    assert found, f"no text in {ours}"
    return [
        f"{each['ratio']:.2f} {each['text']!r} in {each['where']}, {each['ink']} on {each['paper']}"
        for each in found
        if not each["enough"]
    ]
