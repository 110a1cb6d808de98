"use strict";
// Every figure of one variant, below the frontier: of the mark that is pointed at, else of the chosen one.

const profileTitles = {
  full: "Profile full: everything that is paid, at the plan's traffic",
  measured: "Measured: no definition to choose",
  paper: "Profile paper: the published definitions",
};

// What the label does not say already: that a figure was measured, or is made of such by a formula.
function origins(f, v) {
  if (f.value === null || /modelled|synthetic|extrapolated|published/.test(f.label || "")) return null;
  return page.sources[v.run] ?? (f.metric.profile === "measured" ? "measured" : "computed from what was measured and the plan");
}

function variantRow(f, v) {
  const source = [origins(f, v), f.label, f.value === null ? `refused: ${f.reason}` : f.reason].filter(Boolean).join("; ");
  return element("tr", {},
    element("td", { title: f.metric.definition }, f.metric.name),
    element("td", { class: "num" }, f.value === null ? "-" : withUnit(f)),
    element("td", { class: "num" }, bounds(f)),
    element("td", { class: "num" }, f.n ? String(f.n) : ""),
    element("td", { class: "label" }, source));
}

// By profile: what was measured first, then the one with the most figures; in each, what was refused last.
function variantRows(v) {
  const figures = page.metrics.map((m, i) => figureAt(v, i));
  const groups = Object.keys(profileTitles).map((p) => figures.filter((f) => f.metric.profile === p)).filter((g) => g.length);
  const known = (group) => group.filter((f) => f.value !== null).length;
  return d3.sort(groups, (g) => g[0].metric.profile !== "measured", (g) => -known(g)).flatMap((group) => [
    element("tr", { class: "stage" }, element("th", { scope: "rowgroup", colspan: 5 }, profileTitles[group[0].metric.profile])),
    ...d3.sort(group, (f) => f.value === null).map((f) => variantRow(f, v)),
  ]);
}

// {choice, panel, chosen(), look(v)}: look shows a variant for as long as it is pointed at (undefined: the
// chosen one again), choose makes it the one that stays.
function variantPanel(onChoose) {
  let chosen = page.variants[0];
  let shown;
  const body = element("tbody");
  const title = element("h3", { "aria-live": "polite" });
  const columns = ["figure", "value", "interval", "n", "where it is from, what to mind"];
  const table = element("table", {},
    element("thead", {}, element("tr", {}, ...columns.map((c, i) => element("th", { scope: "col", class: i >= 1 && i <= 3 ? "num" : null }, c)))),
    body);
  const scroll = element("div", { class: "scroll", role: "region", tabindex: 0 }, table);
  const look = (v = chosen) => {
    if (v === shown) return;
    shown = v;
    title.textContent = `Every figure of ${variantName(v)}${v === chosen ? "" : " (pointed at; click to keep)"}`;
    scroll.setAttribute("aria-label", `Every figure of ${variantName(v)}`);
    body.replaceChildren(...variantRows(v));
    scroll.scrollTop = 0;
  };
  const choose = (v) => {
    chosen = v;
    shown = undefined;
    choice.querySelector("select").value = String(page.variants.indexOf(v));
    look();
    onChoose();
  };
  const choice = select("variant-choice", "Every figure of", page.variants.map((v, i) => [String(i), variantName(v)]),
    (i) => choose(page.variants[Number(i)]));
  look();
  return { choice, panel: element("div", { class: "variant" }, title, scroll), chosen: () => chosen, look, choose };
}
