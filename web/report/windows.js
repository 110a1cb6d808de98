"use strict";
// The table of a run's energy windows: made when it is opened, for of many variants it is long.

const windowColumns = ["window", "component", "s", "J", "interval", "above idle, J", "mean W", "peak W", "quality"];

function windowRow([window, component, seconds, joules, above, mean, quality, low, high, peak, note]) {
  const number = (x) => element("td", { class: "num" }, x === null ? "" : short(x));
  return element("tr", { class: text(component) === "total" ? "total" : "part" },
    element("td", {}, text(window)), element("td", {}, text(component)), number(seconds), number(joules),
    element("td", { class: "num" }, isNumber(low) && isNumber(high) ? `${short(low)} to ${short(high)}` : ""),
    number(above), number(mean), number(peak),
    element("td", { class: "label" }, `${text(quality)}${text(note) ?? ""}`));
}

function windowRows(stage) {
  const title = element("td", { colspan: windowColumns.length - 1 }, stage.title);
  return [element("tr", { class: "stage" }, title, element("td", { class: "label" }, `started ${stage.started}`)),
    ...stage.windows.map(windowRow)];
}

function windowsTable(host) {
  const stages = page.stages.filter((s) => s.run === Number(host.dataset.run) && s.windows.length);
  if (!stages.length) return host.append(element("p", { class: "note" }, "No energy window was read."));
  const heads = windowColumns.map((c, i) => element("th", { scope: "col", class: i >= 2 && i <= 7 ? "num" : null }, c));
  host.addEventListener("toggle", () => {
    host.append(element("div", { class: "scroll" }, element("table", {},
      element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...stages.flatMap(windowRows)))));
  }, { once: true });
}
