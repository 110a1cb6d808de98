"use strict";
// The calculator: a variant's economics with other prices, traffic or hardware, as they are changed.

const fieldGroups = [
  ["Traffic", ["traffic_per_h", "peak_ratio", "headroom", "replicas_min"]],
  ["Hardware", ["owned", "devices", "share", "capex_usd", "lifetime_h", "maintenance_usd_per_h", "cloud_usd_per_h"]],
  ["Electricity and carbon", ["kwh_usd", "pue", "idle_w", "carbon_g_per_kwh", "embodied_kg"]],
  ["People and upkeep", ["ops_usd_per_h", "labour_usd", "recurring_usd", "refresh_h", "variable_usd"]],
  ["API", [
    "api_uncached_usd_per_mtok", "api_cached_usd_per_mtok", "api_written_usd_per_mtok", "api_output_usd_per_mtok",
    "api_fall_per_year", "discount_per_year",
  ]],
];

const notAnswered = [
  "committed and spot terms of a provider", "cost of capital beyond the discount rate", "the cost of leaving an API or a vendor",
  "compliance and where data may lie", "failover and disaster recovery", "rate limits and outages of the API",
  "people on call", "how often the model must be trained again", "how demand will grow",
];

// The variant's numbers as the plan, the price book and the measurements give them; NaN: not known.
function fieldsOf(variant) {
  return Object.fromEntries(page.econ_fields.map((f, i) => [f.name, variant.econ[i] === null ? NaN : variant.econ[i]]));
}

// Every figure with some fields changed: {id: {value, missing}}.
function whatIf(variant, changes) {
  const x = { ...fieldsOf(variant), ...changes };
  return Object.fromEntries(Object.keys(econ.figures).map((id) => [id, econ.evaluate(id, x)]));
}

function metricOfFigure(id) {
  return page.metrics.find((m) => m.id === id && m.profile === "full");
}

function cheapest() {
  const known = page.variants.filter((v) => !Number.isNaN(econ.evaluate("request_usd", fieldsOf(v)).value));
  return known.length ? d3.least(known, (v) => econ.evaluate("request_usd", fieldsOf(v)).value) : page.variants[0];
}

// Hourly cost of both sides over a wide range of traffic.
function curveChart(x, width) {
  if (!(x.traffic_per_h > 0)) return "Traffic is needed for the curve.";
  const rates = d3.range(-2, 2.001, 0.02).map((p) => x.traffic_per_h * 10 ** p);
  const lines = rates.flatMap((r) => [
    { r, usd: econ.fixedPerH(x, econ.replicas(x, r)) + r * econ.marginal(x), who: "own" },
    { r, usd: r * econ.api(x), who: "API" },
  ]);
  if (lines.some((p) => Number.isNaN(p.usd))) return "The curve needs what the list above calls missing.";
  return Plot.plot({
    style: { background: "transparent", fontSize: "13px", color: "currentColor" },
    width, height: 300, grid: true, marginLeft: 64, marginBottom: 46, marginRight: 48,
    ariaLabel: "Cost an hour of the own deployment and of the API, by requests an hour",
    x: { type: "log", label: "requests an hour", tickFormat: logTick }, y: { type: "log", label: "USD an hour", tickFormat: logTick },
    color: { domain: ["own", "API"], range: ["#0072b2", "#d55e00"] },
    marks: [
      Plot.ruleX([x.traffic_per_h], { strokeDasharray: "3,3" }),
      Plot.line(lines, { x: "r", y: "usd", stroke: "who", strokeWidth: 2 }),
      Plot.text(lines.filter((p) => p.r === rates[rates.length - 1]), { x: "r", y: "usd", text: "who", textAnchor: "start", dx: 6 }),
      Plot.tip(lines, Plot.pointerX({
        x: "r", y: "usd", title: (p) => `${p.who}: ${short(p.usd)} USD/h at ${short(p.r)} requests/h`, fontSize: 12, fill: "var(--card)",
      })),
    ],
  });
}

function cashChart(x, width) {
  const scenarios = [["API prices stay", 0], ["API prices fall", x.api_fall_per_year]];
  const points = scenarios.flatMap(([name, fall]) => d3.range(1, 37).map((month) => ({ month, usd: econ.cash(x, month, fall), name })));
  if (points.some((p) => Number.isNaN(p.usd))) return "The cash flow needs what the list above calls missing.";
  return Plot.plot({
    style: { background: "transparent", fontSize: "13px", color: "currentColor" },
    width, height: 280, grid: true, marginLeft: 72, marginBottom: 46, marginRight: 110,
    ariaLabel: "Cash that has come in less what has gone out, over 36 months",
    x: { label: "months" }, y: { label: "USD", nice: true },
    color: { domain: scenarios.map((s) => s[0]), range: ["#0072b2", "#cc79a7"] },
    marks: [
      Plot.ruleY([0], { strokeOpacity: 0.5 }),
      Plot.line(points, { x: "month", y: "usd", stroke: "name", strokeWidth: 2 }),
      Plot.text(points.filter((p) => p.month === 36), { x: "month", y: "usd", text: "name", textAnchor: "start", dx: 6, fontSize: 12 }),
      Plot.tip(points, Plot.pointer({
        x: "month", y: "usd", title: (p) => `${p.name}, month ${p.month}: ${short(p.usd)} USD`, fontSize: 12, fill: "var(--card)",
      })),
    ],
  });
}

// A number field with a slider from a tenth to ten times the value that it started with.
function fieldInput(field, base, onChange) {
  const id = `what-${field.name}`;
  const number = element("input", { type: "number", id, step: "any", min: field.low, max: field.high, placeholder: "not known" });
  const slider = element("input", { type: "range", min: 0, max: 100, step: 0.5, "aria-label": `${field.about}, slider`, tabindex: -1 });
  const show = (value) => {
    number.value = Number.isNaN(value) ? "" : value;
    slider.value = base > 0 && value > 0 ? 50 + 50 * Math.log10(value / base) : 50;
  };
  slider.hidden = !(base > 0) || field.high === 1;
  slider.addEventListener("input", () => {
    const value = Number((base * 10 ** ((slider.value - 50) / 50)).toPrecision(4));
    number.value = Math.max(value, field.low);
    onChange(Number(number.value));
  });
  number.addEventListener("input", () => {
    const value = number.value === "" ? NaN : Number(number.value);
    const wrong = value < field.low || value > (field.high ?? Infinity);
    number.toggleAttribute("aria-invalid", wrong);
    onChange(wrong ? NaN : value);
    if (!wrong) slider.value = base > 0 && value > 0 ? 50 + 50 * Math.log10(value / base) : 50;
  });
  show(base);
  const label = element("label", { for: id, title: field.name }, `${field.about}${field.unit === "1" ? "" : `, ${field.unit}`}`);
  return { row: element("div", { class: "field" }, label, number, slider), show };
}

function calculator(host) {
  const state = { variant: cheapest(), changes: {} };
  const inputs = new Map();
  const form = element("div", { class: "fields" });
  const body = element("tbody");
  const say = element("p", { class: "note" });
  const changedSay = element("p", { class: "note" });
  const missingSay = element("p", { class: "note", role: "status" });
  const fieldByName = new Map(page.econ_fields.map((f) => [f.name, f]));

  function current() {
    return { ...fieldsOf(state.variant), ...state.changes };
  }

  function drawFigures() {
    const results = whatIf(state.variant, state.changes);
    const planned = whatIf(state.variant, {});
    const missing = new Set(Object.values(results).flatMap((r) => (Number.isNaN(r.value) ? r.missing : [])));
    body.replaceChildren(
      ...Object.entries(results).map(([id, r]) => {
        const m = metricOfFigure(id);
        const mark = figure(state.variant, id)?.modelled ? "~" : "";
        const text = (value) => (Number.isNaN(value) ? "-" : `${mark}${short(value)}`);
        const value = element("td", { class: "num", "data-figure": id, title: Number.isNaN(r.value) ? null : String(r.value) }, text(r.value));
        return element("tr", {}, element("td", { title: m.definition }, m.name), value,
          element("td", { class: "num muted" }, text(planned[id].value)), element("td", {}, m.unit === "1" ? "" : m.unit));
      }),
    );
    missingSay.textContent = missing.size
      ? `Missing, so that some figures are not computed: ${[...missing].map((n) => fieldByName.get(n).about).join("; ")}.`
      : "";
    const f = (id) => results[id].value;
    const name = variantName(state.variant);
    say.textContent = Number.isNaN(f("saving_usd_per_h"))
      ? `${name}: the saving is not known.`
      : f("saving_usd_per_h") > 0
        ? `${name} saves ${short(f("saving_usd_per_h"))} USD an hour against the API and has repaid what it took after ${short(f("n_break"))} requests (${short(f("break_even_days"))} days).`
        : f("pays_from_per_h") === Infinity
          ? `${name} never pays, at any traffic.`
          : `${name} does not pay at ${short(current().traffic_per_h)} requests an hour; it pays from ${short(f("pays_from_per_h"))}.`;
    const base = fieldsOf(state.variant);
    const told = (value) => (Number.isNaN(value) ? "not known" : short(value));
    const changed = Object.entries(state.changes).filter(([field, value]) => !Object.is(value, base[field]));
    changedSay.textContent = changed.length
      ? `Changed: ${changed.map(([field, value]) => `${fieldByName.get(field).about} ${told(value)} (planned: ${told(base[field])})`).join("; ")}.`
      : "";
    redraws.forEach((redraw) => redraw());
  }

  function change(name, value) {
    state.changes[name] = value;
    drawFigures();
  }

  function drawForm() {
    inputs.clear();
    const x = fieldsOf(state.variant);
    form.replaceChildren(
      ...fieldGroups.map(([title, names]) =>
        element("fieldset", {}, element("legend", {}, title), ...presets(title),
          ...names.map((name) => {
            const input = fieldInput(fieldByName.get(name), x[name], (value) => change(name, value));
            inputs.set(name, input);
            return input.row;
          })),
      ),
    );
  }

  // Entries of the price book that fill several fields at once.
  function presets(title) {
    const make = (id, label, entries, values) => {
      if (!entries.length) return [];
      const options = [["", "as planned"], ...entries.map((e, i) => [String(i), e[0]])];
      return [select(id, label, options, (i) => {
        const chosen = i === "" ? fieldsOf(state.variant) : values(entries[Number(i)]);
        for (const name of Object.keys(values(entries[0]))) {
          state.changes[name] = chosen[name];
          inputs.get(name).show(chosen[name]);
        }
        drawFigures();
      })];
    };
    const number = (v) => (v === null ? NaN : v);
    if (title === "Electricity and carbon") {
      return make("what-region", "Region", page.prices.regions, (e) => ({ kwh_usd: number(e[1]), carbon_g_per_kwh: number(e[2]) }));
    }
    if (title === "API") {
      return make("what-api", "API", page.prices.apis, (e) => ({
        api_uncached_usd_per_mtok: number(e[1]), api_cached_usd_per_mtok: number(e[2]),
        api_written_usd_per_mtok: number(e[3]), api_output_usd_per_mtok: number(e[4]),
      }));
    }
    return [];
  }

  const choice = select("what-variant", "Variant", page.variants.map((v, i) => [String(i), variantName(v)]), (i) => {
    state.variant = page.variants[Number(i)];
    state.changes = {};
    drawForm();
    drawFigures();
  });
  choice.querySelector("select").value = String(page.variants.indexOf(state.variant));
  const reset = element("button", { type: "button" }, "As planned");
  reset.addEventListener("click", () => {
    state.changes = {};
    drawForm();
    drawFigures();
  });
  choice.append(reset);
  const redraws = [];
  const charts = element("div");
  host.append(
    choice, say, changedSay,
    element("div", { class: "calculator" }, form,
      element("div", {},
        element("div", { class: "scroll" }, element("table", {},
          element("thead", {}, element("tr", {}, ...["figure", "now", "as planned", "unit"].map((h, i) =>
            element("th", { scope: "col", class: i === 1 || i === 2 ? "num" : null }, h)))), body)),
        missingSay, charts)),
    element("aside", { class: "limits" }, element("h3", {}, "Not answered here"),
      element("ul", {}, ...notAnswered.map((what) => element("li", {}, what)))),
  );
  redraws.push(place(charts, (width) => curveChart(current(), width)));
  redraws.push(place(charts, (width) => cashChart(current(), width)));
  drawForm();
  drawFigures();
}
