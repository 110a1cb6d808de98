"use strict";
// The page's data block, and how its figures are read and written.

const page = JSON.parse(document.getElementById("data").textContent);
// Where a metric has two profiles, the full one stands for it.
const metricIndex = new Map();
for (const profile of ["paper", "measured", "full"]) {
  page.metrics.forEach((m, i) => {
    if (m.profile === profile) metricIndex.set(m.id, i);
  });
}

const precisions = ["fp16", "int8", "int4"];
// Okabe and Ito's colours, told apart in every common form of colour blindness; shapes say it again.
const colours = { fp16: "#0072b2", int8: "#e69f00", int4: "#009e73" };
const stageColours = {
  adapt: "#cc79a7", merge: "#d55e00", quantize: "#e69f00", load: "#56b4e9", serve: "#0072b2", score: "#999999",
};

function text(ref) {
  return ref === null ? null : page.texts[ref];
}

// A variant's figure: {value, low, high, n, modelled, label, reason}; value is null where refused.
function figureAt(variant, i) {
  const [value, low, high, n, modelled, label, reason] = variant.rows[i];
  const number = (x) => (x === "inf" ? Infinity : x === "-inf" ? -Infinity : x);
  return {
    metric: page.metrics[i], value: number(value), low: number(low), high: number(high), n, modelled,
    label: text(label), reason: text(reason),
  };
}

function figure(variant, id) {
  const i = metricIndex.get(id);
  return i === undefined ? null : figureAt(variant, i);
}

function isNumber(x) {
  return typeof x === "number" && Number.isFinite(x);
}

// By their digits after the point; with grouping: for five digits before it and more. Making one is slow.
const formats = new Map();
function decimals(digits, useGrouping) {
  const key = `${digits} ${useGrouping}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en", { maximumFractionDigits: digits, useGrouping }));
  return formats.get(key);
}

// Three significant digits, thousands set apart from five digits on.
function short(x) {
  if (x === null || x === undefined) return "-";
  if (x === Infinity) return "never";
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e7 || size < 1e-4) return x.toExponential(2);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return decimals(digits, size >= 1e4).format(x);
}

function withUnit(f) {
  if (f.metric.unit === "bytes" && isNumber(f.value)) return `${short(f.value / 1e6)} MB`;
  const unit = f.metric.unit === "1" || !isNumber(f.value) ? "" : ` ${f.metric.unit}`;
  return `${f.modelled ? "~" : ""}${short(f.value)}${unit}`;
}

// "1.2 to 3.4", in the unit of the value; nothing where there is no interval.
function bounds(f) {
  if (f.low === null || f.high === null) return "";
  const bound = (x) => (isNumber(x) ? short(f.metric.unit === "bytes" ? x / 1e6 : x) : "unbounded");
  return `${bound(f.low)} to ${bound(f.high)}`;
}

function interval(f) {
  return bounds(f) && ` (${bounds(f)})`;
}

// One line of a tooltip or of the table: value, interval, and the label that says where it is from.
function sentence(f) {
  if (f.value === null) return `${f.metric.name}: refused, ${f.reason}`;
  return `${f.metric.name}: ${withUnit(f)}${interval(f)}${f.label ? `; ${f.label}` : ""}`;
}

// The figure without its label, for where that stands beside it.
function briefly(f) {
  const atLeast = /(^|; )at least/.test(f.label || "") ? "at least " : "";
  return `${f.metric.name}: ${f.value === null ? "refused" : `${atLeast}${withUnit(f)}${interval(f)}`}`;
}

const severalModels = new Set(page.variants.map((v) => v.model)).size > 1;

// Runs by their plans' names, where these tell them apart without the time that follows.
const runNames = (() => {
  const plain = page.runs.map((r) => r.replace(/-\d{4}-\d\d-\d\dT[\d:]+Z$/, ""));
  return new Set(plain).size === plain.length ? plain : page.runs;
})();

// Run and model, where they tell variants apart.
function origin(v) {
  return `${page.runs.length > 1 ? `${runNames[v.run]} ` : ""}${severalModels ? `${v.model} ` : ""}`;
}

function variantName(v) {
  return `${origin(v)}${v.task} ${v.method} ${v.precision}`;
}

// Run, model and method, where they tell variants of one task and precision apart.
function lineage(v) {
  return `${origin(v)}${v.method}`;
}

function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) e.setAttribute(key, "");
    else if (value !== false && value !== null) e.setAttribute(key, value);
  }
  e.append(...children);
  return e;
}
