// Draws the figures in the page's own colours, again whenever the reader's theme changes.
"use strict";

const figures = JSON.parse(document.getElementById("figures").textContent);

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function themed(layout) {
  const axis = {
    gridcolor: colour("--line"),
    zerolinecolor: colour("--faint"),
    linecolor: colour("--line"),
    tickcolor: colour("--line"),
    ticks: "",
    exponentformat: "SI",
  };
  const title = (own) => ({ text: own.title?.text ?? "", font: { size: 12.5 }, standoff: 8 });
  return {
    ...layout,
    font: { family: colour("--sans"), size: 12.5, color: colour("--soft") },
    hoverlabel: { bgcolor: colour("--paper"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    xaxis: { ...layout.xaxis, ...axis, title: title(layout.xaxis) },
    yaxis: { ...axis, ...layout.yaxis, title: title(layout.yaxis) },
  };
}

function shaded(trace) {
  if (trace.type !== "heatmap") return trace;
  return { ...trace, colorscale: [[0, colour("--cold")], [0.5, colour("--warm")], [1, colour("--hot")]] };
}

function draw() {
  const options = { displayModeBar: false, responsive: true };
  const plots = Object.entries(figures).map(([id, figure]) =>
    Plotly.react(id, figure.data.map(shaded), themed(figure.layout), options),
  );
  Promise.all(plots).then((drawn) => {
    document.documentElement.dataset.drawn = drawn.length;
  });
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
