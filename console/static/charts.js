// Turns the lines of the last 15 minutes into charts with the value and the time under the cursor. The colours are
// those of the page. The server's lines stay where uPlot is missing.
"use strict";
const charts = new Map(); // by the name of the line: a chart outlives the section that is replaced around it

function drawCharts(root) {
  if (!window.uPlot) return;
  for (const line of root.querySelectorAll("svg.line")) {
    const { name, points, end, step, unit } = line.dataset;
    const values = points.split(",").map((each) => (each === "" ? null : Number(each)));
    const times = values.map((_, at) => Number(end) - (values.length - 1 - at) * Number(step));
    if (!charts.has(name)) charts.set(name, makeChart(unit));
    const { figure, canvas, chart } = charts.get(name);
    canvas.setAttribute("aria-label", line.getAttribute("aria-label"));
    line.replaceWith(figure);
    chart.setData([times, values]);
  }
}

function makeChart(unit) {
  const figure = document.createElement("div");
  const canvas = document.createElement("div");
  const reading = document.createElement("p");
  figure.className = "chart";
  canvas.setAttribute("role", "img");
  reading.className = "small";
  reading.setAttribute("aria-hidden", "true"); // it follows the mouse; the label has the newest value
  figure.append(canvas, reading);
  const chart = new uPlot({
    width: 100,
    height: 40,
    padding: [2, 2, 2, 2],
    legend: { show: false },
    axes: [{ show: false }, { show: false }],
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, high || 1] } },
    series: [{}, { stroke: () => colour("--line"), fill: () => colour("--fill"), width: 1.5, points: { show: false } }],
    hooks: { setCursor: [(drawn) => { reading.textContent = textOf(drawn, unit); }] },
  }, [[], []], canvas);
  new ResizeObserver(() => chart.setSize({ width: canvas.clientWidth, height: 40 })).observe(canvas);
  return { figure, canvas, chart };
}

function textOf(chart, unit) {
  const [times, values] = chart.data;
  const at = chart.cursor.idx;
  const shown = (value) => `${value.toLocaleString([], { maximumFractionDigits: 1 })}${unit}`;
  if (at === null || at === undefined) {
    const known = values.filter((value) => value !== null);
    return known.length ? `at most ${shown(Math.max(...known))}` : "";
  }
  const moment = new Date(times[at] * 1000).toLocaleTimeString([], { hour12: false });
  return `${moment}: ${values[at] === null ? "unknown" : shown(values[at])}`;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const { chart } of charts.values()) chart.redraw(false);
});
