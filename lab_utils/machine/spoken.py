"""What a screen reader says of the controls in a box: the names and values that ipywidgets shows but does not tell.

A slider of ipywidgets tells its position, which is -2 for 0.01 where it is logarithmic, and no name; of a row of
buttons nobody hears which one is pressed; and a chart is a heap of numbers without a sentence.
"""

from __future__ import annotations

import anywidget
import ipywidgets as w
import traitlets

# It looks at the box again whenever something in it changes, and writes only what differs: so it comes to rest.
SCRIPT = """
function tell(element, name, value) {
  if (element && value && element.getAttribute(name) !== value) element.setAttribute(name, value);
}
function tellAll(box, model) {
  const shown = (part, what) => part.querySelector(what)?.textContent.trim();
  for (const slider of box.querySelectorAll(".widget-slider")) {
    const handle = slider.querySelector(".noUi-handle");
    tell(handle, "aria-label", shown(slider, ".widget-label"));
    tell(handle, "aria-valuetext", shown(slider, ".widget-readout"));
    tell(handle, "aria-disabled", String(slider.querySelector(".noUi-target")?.hasAttribute("disabled")));
    // What can be typed into is a field, and has the slider's name too.
    tell(slider.querySelector(".widget-readout[contenteditable=true]"), "role", "textbox");
    tell(slider.querySelector(".widget-readout"), "aria-label", shown(slider, ".widget-label"));
  }
  for (const buttons of box.querySelectorAll(".widget-toggle-buttons")) {
    tell(buttons, "role", "group");
    tell(buttons, "aria-label", shown(buttons, ".widget-label"));
    for (const each of buttons.querySelectorAll("button")) {
      tell(each, "aria-pressed", String(each.classList.contains("mod-active")));
    }
  }
  for (const plot of box.querySelectorAll(".js-plotly-plot")) {
    tell(plot, "role", "figure");
    tell(plot, "aria-label", model.get("chart"));
    if (plot._fullData && !model.get("drawn")) {
      model.set("drawn", true);
      model.save_changes();
    }
  }
}
function render({ model, el }) {
  let watch, waiting;
  const begin = () => {
    const box = el.closest(".nk-spoken");
    if (!box) {
      waiting = requestAnimationFrame(begin);
      return;
    }
    const now = () => tellAll(box, model);
    watch = new MutationObserver(now);
    const attributes = ["class", "disabled", "aria-valuenow", "aria-valuetext"];
    watch.observe(box, { subtree: true, childList: true, characterData: true, attributeFilter: attributes });
    model.on("change:chart", now);
    now();
  };
  begin();
  return () => { cancelAnimationFrame(waiting); watch?.disconnect(); };
}
export default { render };
"""


class Spoken(anywidget.AnyWidget):
    """An invisible widget that gives names and values to what is in the box with it.

    `chart` is what a chart shows, in words. `drawn` becomes true when a browser draws one: what was sent to the chart
    before may be lost, because the browser still loaded plotly.
    """

    _esm = SCRIPT
    # Where the keyboard is: a slider only turns blue, and not where it is switched off; plotly's frame is black.
    _css = """.nk-spoken :is(.noUi-handle, .modebar-btn):focus-visible {
  outline: 2px solid var(--jp-ui-font-color1, currentColor) !important; outline-offset: 1px }"""
    chart = traitlets.Unicode().tag(sync=True)
    drawn = traitlets.Bool(False).tag(sync=True)

    def __init__(self, **options: object):
        super().__init__(layout=w.Layout(display="none"), **options)


def speak(box: w.Box) -> Spoken:
    """Make a box tell what its controls are; what comes back takes the words for its chart."""
    spoken = Spoken()
    box.add_class("nk-spoken")
    box.children = (*box.children, spoken)
    return spoken
