// Puts a chart that answers to the pointer in the place of each figure; where that fails, the drawing for who has no scripts.
"use strict";

const OPTIONS = {
  mode: "vega", ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip: { disableDefaultStyle: true },
};

async function show(figure) {
  const address = figure.dataset.chart;
  figure.removeAttribute("data-chart");
  const place = document.createElement("div");
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    await vegaEmbed(place, await answer.json(), OPTIONS);
    place.querySelector("svg").setAttribute("aria-hidden", "true"); // the figure's own label says what it shows
    figure.replaceChildren(place);
  } catch (error) {
    console.error(error);
    figure.innerHTML = figure.querySelector("noscript").textContent;
  }
}

function showAll() {
  document.querySelectorAll("[data-chart]").forEach(show);
}

showAll();
document.addEventListener("htmx:afterSettle", showAll);
