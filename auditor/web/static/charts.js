// Puts a chart that answers to the pointer in the place of each drawing; without it, or where it fails, the drawing stays.
"use strict";

const OPTIONS = {
  mode: "vega", ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip: { disableDefaultStyle: true },
};

async function enliven(drawing) {
  const chart = JSON.parse(drawing.dataset.chart);
  drawing.removeAttribute("data-chart");
  const place = document.createElement("div");
  await vegaEmbed(place, chart, OPTIONS);
  const svg = place.querySelector("svg");
  svg.setAttribute("aria-hidden", "true"); // the figure's own label says what it shows
  drawing.replaceChildren(place);
}

function enlivenAll() {
  document.querySelectorAll("[data-chart]").forEach(enliven);
}

enlivenAll();
document.addEventListener("htmx:afterSettle", enlivenAll);
