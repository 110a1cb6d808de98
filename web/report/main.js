"use strict";
// Puts the charts into their places, and draws them again when the width or a choice changes.

function select(id, label, options, onChange) {
  const s = element("select", { id }, ...options.map(([value, name]) => element("option", { value }, name)));
  s.addEventListener("change", () => onChange(s.value));
  return element("div", { class: "controls" }, element("label", { for: id }, `${label} `), s);
}

const drawers = [];

// draw(width) gives an SVG, several, or a sentence; it is called again for every new width.
function place(host, draw) {
  const box = element("div", { class: "chart" });
  host.append(box);
  const redraw = (width = box.clientWidth) => {
    const drawn = draw(Math.max(320, Math.floor(width)));
    box.replaceChildren(...(typeof drawn === "string" ? [element("p", { class: "note" }, drawn)] : [drawn].flat()));
    for (const svg of box.querySelectorAll("svg[aria-label]")) svg.setAttribute("role", "img");
  };
  drawers.push(redraw);
  redraw();
  return redraw;
}

const builders = {
  frontier: (host) => {
    let cost = firstCost();
    const panel = variantPanel(() => redraw());
    if (cost) {
      const choice = select("frontier-cost", "Score against", knownCosts.map(([id, , axis]) => [id, axis]), (id) => {
        cost = costs.find((c) => c[0] === id);
        redraw();
      });
      choice.querySelector("select").value = cost[0];
      host.append(choice);
    }
    const redraw = place(host, (width) =>
      cost ? frontier(cost, width, panel) : "No variant has a cost or an energy: the frontier cannot be drawn.");
    host.append(panel.choice, panel.panel);
  },
  metrics: (host) => {
    const options = chartable();
    if (!options.length) return host.append(element("p", { class: "note" }, "No variant has a figure."));
    let index = options.includes(metricIndex.get("score")) ? metricIndex.get("score") : options[0];
    const named = (i) => `${page.metrics[i].name} (${page.metrics[i].profile})`;
    const choice = select("metric-choice", "Metric", options.map((i) => [String(i), named(i)]), (value) => {
      index = Number(value);
      redraw();
    });
    host.append(choice);
    choice.querySelector("select").value = String(index);
    const about = element("p", { class: "note" });
    const redraw = place(host, (width) => {
      const m = page.metrics[index];
      about.textContent = `${m.definition}${m.formula ? `: ${m.formula}` : ""}. Bars are intervals, where there are any; hover for their kind.`;
      return metricChart(index, width);
    });
    host.append(about);
  },
  energy: (host) => {
    let by = "kind";
    host.append(select("energy-by", "Colour by", [["kind", "stage"], ["component", "component"]], (value) => {
      by = value;
      redraw();
    }));
    const redraw = place(host, (width) => energyChart(by, width));
  },
  adaptation: (host) => {
    place(host, lossChart);
    place(host, phaseChart);
    host.append(element("ul", { class: "notes" }, ...methodSentences().map((sentence) => element("li", {}, sentence))));
  },
  power: (host) => place(host, powerChart),
  latency: (host) => {
    const state = { kind: "ttft", task: tasks[0] };
    host.append(
      select("latency-kind", "Time", Object.entries(latencies), (value) => {
        state.kind = value;
        redraw();
      }),
      select("latency-task", "Task", tasks.map((t) => [t, t]), (value) => {
        state.task = value;
        redraw();
      }),
    );
    const redraw = place(host, (width) => latencyChart(state.kind, state.task, width));
  },
  starts: (host) => place(host, startChart),
  calculator,
  figures: figuresTable,
  windows: windowsTable,
};

// A part that fails takes no other with it, and says so in its place.
for (const host of document.querySelectorAll("[data-part]")) {
  try {
    builders[host.dataset.part](host);
  } catch (problem) {
    console.error(problem);
    host.append(element("p", { class: "error" }, `This part could not be drawn: ${problem.message}.`));
  }
}

let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth !== width) {
    width = window.innerWidth;
    drawers.forEach((redraw) => redraw());
  }
});

// Drawn for paper, a chart's words are as large there as the text around it.
const PAPER_WIDTH = 688;
window.addEventListener("beforeprint", () => drawers.forEach((redraw) => redraw(PAPER_WIDTH)));
window.addEventListener("afterprint", () => drawers.forEach((redraw) => redraw()));

// A theme of the reader's choice, kept for this page alone: a file has no storage of its own.
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

// Charts have come above the section that the address names, since the browser went there.
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
document.documentElement.dataset.ready = "true";
