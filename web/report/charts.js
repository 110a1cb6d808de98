"use strict";
// Charts of the measurements, one function each: it returns an SVG or several, or a sentence saying why not.

const tasks = [...new Set(page.variants.map((v) => v.task))];

function chart(options) {
  return Plot.plot({
    style: { background: "transparent", fontSize: "13px", color: "currentColor" },
    marginBottom: 46,
    color: { domain: precisions, range: precisions.map((p) => colours[p]) },
    symbol: { domain: precisions, range: ["circle", "square", "triangle"] },
    ...options,
  });
}

// --- Frontier

// Measures of cost: [metric, factor, axis].
const costs = [
  ["request_usd", 1000, "cost of 1,000 requests, USD"],
  ["joules_per_request", 1, "energy of a request, J"],
  ["e2e_p95_s", 1, "95th percentile of a request's time, s"],
  ["memory_peak_bytes", 1e-6, "peak memory, MB"],
];
const knownCosts = costs.filter(([id]) => page.variants.some((v) => isNumber(figure(v, id)?.value)));

// What is shown first: money or joules, whichever more variants have, money where as many have both.
function firstCost() {
  const known = ([id]) => page.variants.filter((v) => isNumber(figure(v, id)?.value)).length;
  return d3.greatest(costs.slice(0, 2).filter(known), (a, b) => known(a) - known(b) || costs.indexOf(b) - costs.indexOf(a)) ?? knownCosts[0];
}

// Points that no other point of their task beats in both directions. Joules of unlike scopes count
// unlike parts of a machine, and so do the costs made of them: such points are not held together.
function pareto(points) {
  const better = (a, b) => a.x <= b.x && a.y >= b.y && (a.x < b.x || a.y > b.y);
  return points.filter((p) => !points.some((q) => q.task === p.task && q.scope === p.scope && better(q, p)));
}

// A score as a share of its scale where scales differ, so that one axis holds them all.
const unlikeScales = new Set(page.variants.map((v) => v.score_max)).size > 1;
const scoreLabel = unlikeScales ? "score, of the scale's best" : "score";
function scoreScale(v) {
  return unlikeScales && v.score_max > 0 ? v.score_max : 1;
}

// Ticks of a logarithmic axis as plain numbers (0.2, not 200m), and only as many as have room.
function logTick(x) {
  const lead = Math.round(x / 10 ** Math.floor(Math.log10(x) + 1e-9));
  return [1, 2, 5].includes(lead) ? short(x) : "";
}

// {value, low, high} of a variant's figure times a factor, NaN where it has none.
function scaled(v, id, factor) {
  const f = figure(v, id);
  const number = (x) => (isNumber(x) ? x * factor : NaN);
  return { value: number(f?.value), low: number(f?.low), high: number(f?.high) };
}

// The axis of costs in panels of that width: logarithmic where they differ much; with room at both ends, so that costs
// which differ by less than a hundredth lie together.
function costAxis(label, values, width) {
  const [low, high] = d3.extent(values);
  if (low > 0 && high > 3 * low) return { label, type: "log", domain: [low / 1.25, high * 1.25], tickFormat: logTick };
  const room = Math.max(0.12 * (high - low), 0.1 * high) || 1;
  return { label, domain: [Math.max(0, low - room), high + room], tickFormat: short, ticks: Math.max(2, Math.floor(width / 70)) };
}

// Of points that lie together and have one name, the uppermost: so that it is written once.
function oneOfEachHeap(points) {
  const near = (key, share) => {
    const [low, high] = d3.extent(points, (p) => p[key]);
    return (a, b) => Math.abs(a[key] - b[key]) <= share * (high - low);
  };
  const [nearX, nearY] = [near("x", 0.1), near("y", 0.2)];
  const kept = [];
  for (const p of d3.sort(points, (q) => -q.y)) {
    if (!kept.some((q) => q.task === p.task && q.kin === p.kin && nearX(p, q) && nearY(p, q))) kept.push(p);
  }
  return kept;
}

const fills = [["filled", 0.75], ["pale", 0.12], ["half", 0.4]];

// panel tells all of the mark that is pointed at, and which one is chosen.
function frontier(cost, width, panel) {
  const points = page.variants
    .map((v) => {
      const [x, y] = [scaled(v, cost[0], cost[1]), scaled(v, "score", 1 / scoreScale(v))];
      return {
        v, x: x.value, x1: x.low, x2: x.high, y: y.value, y1: y.low, y2: y.high, task: v.task, scope: v.scope,
        precision: v.precision, kin: origin(v).trim(), memory: figure(v, "memory_peak_bytes")?.value,
      };
    })
    .filter((p) => isNumber(p.x) && isNumber(p.y));
  if (!points.length) return "No variant has both a score and this cost: the frontier cannot be drawn.";
  const ids = new Set(["score", cost[0], "n_break", "q_ret"]);
  for (const p of points) {
    p.title = [variantName(p.v), ...[...ids].map((id) => briefly(figure(p.v, id))), "every figure: below"].join("\n");
  }
  const best = d3.sort(pareto(points), (p) => p.x);
  const left = page.variants.length - points.length;
  const methods = [...new Set(points.map((p) => p.v.method))];
  const fillOf = (method) => fills[methods.indexOf(method) % fills.length];
  const caption = [
    methods.length > 1 ? `${methods.map((m) => `${m}: ${fillOf(m)[0]}`).join("; ")}.` : "",
    left ? `${left} of ${page.variants.length} variants lack one of the two and are left out.` : "",
  ].filter(Boolean).join(" ");
  const ranged = (low, high) => points.filter((p) => isNumber(p[low]) && isNumber(p[high]));
  const bars = { fx: "task", stroke: "precision", strokeWidth: 1.4, strokeOpacity: 0.75 };
  const drawn = chart({
    width, height: 400, grid: true, marginLeft: 64, inset: 14,
    ariaLabel: `Score against ${cost[2]}, by task`,
    caption: caption || undefined,
    facet: { data: points, x: "task" },
    fx: { label: null, domain: tasks },
    x: costAxis(cost[2], points.flatMap((p) => [p.x, p.x1, p.x2].filter(isNumber)), width / tasks.length),
    y: { label: scoreLabel, labelAnchor: "center", nice: true },
    r: { range: [3, 13], zero: true },
    opacity: { type: "identity" },
    color: { domain: precisions, range: precisions.map((p) => colours[p]), legend: true },
    marks: [
      Plot.frame({ stroke: "currentColor", strokeOpacity: 0.15 }),
      Plot.line(best, { x: "x", y: "y", fx: "task", z: "scope", stroke: "currentColor", strokeOpacity: 0.5, strokeDasharray: "4,4" }),
      Plot.ruleX(ranged("y1", "y2"), { ...bars, x: "x", y1: "y1", y2: "y2" }),
      Plot.ruleY(ranged("x1", "x2"), { ...bars, y: "y", x1: "x1", x2: "x2" }),
      Plot.dot(points, {
        x: "x", y: "y", fx: "task", fill: "precision", fillOpacity: (p) => fillOf(p.v.method)[1], stroke: "currentColor", strokeWidth: 0.75,
        r: points.some((p) => isNumber(p.memory)) ? (p) => (isNumber(p.memory) ? p.memory : 0) : 5, symbol: "precision",
        title: "title", tip: { fontSize: 12, lineWidth: width < 640 ? 16 : 34, fill: "var(--card)" },
      }),
      // Colour and shape are the precision's; where points are few a name says whose it is.
      ...(points.some((p) => p.kin) && points.length <= 24
        ? [Plot.text(oneOfEachHeap(points), { x: "x", y: "y", fx: "task", text: "kin", dy: -18, fontSize: 11 })] : []),
      Plot.dot(points.filter((p) => p.v === panel.chosen()), {
        x: "x", y: "y", fx: "task", r: 17, stroke: "var(--accent)", strokeWidth: 2, ariaLabel: "chosen",
      }),
    ],
  });
  drawn.addEventListener("input", () => panel.look(drawn.value?.v));
  drawn.addEventListener("click", () => drawn.value && panel.choose(drawn.value.v));
  return drawn;
}

// --- One metric over all variants

// Rows of names under each task in one chart, or in one a task where that would not fit a sheet of paper.
function byTask(names, draw) {
  const height = (n) => 70 + n * (names.length * 20 + 14);
  const fits = height(tasks.length) <= 900;
  return (fits ? [tasks] : tasks.map((t) => [t])).map((shown) => draw(shown, height(shown.length)));
}

const hidden = new Set(["requests_ok", "requests_failed"]);
function chartable() {
  return d3.range(page.metrics.length)
    .filter((i) => !hidden.has(page.metrics[i].id) && page.variants.some((v) => isNumber(figureAt(v, i).value)));
}

function metricChart(index, width) {
  const points = page.variants
    .map((v) => ({ v, f: figureAt(v, index), task: v.task, precision: v.precision, name: `${lineage(v)} ${v.precision}` }))
    .filter((p) => isNumber(p.f.value));
  if (!points.length) return "Refused or never for every variant; the table of figures says why.";
  const isScore = points[0].f.metric.id === "score";
  const isBytes = points[0].f.metric.unit === "bytes";
  for (const p of points) {
    const scale = isBytes ? 1e6 : isScore ? scoreScale(p.v) : 1;
    p.x = p.f.value / scale;
    p.low = isNumber(p.f.low) ? p.f.low / scale : p.x;
    p.high = isNumber(p.f.high) ? p.f.high / scale : p.x;
    p.title = `${variantName(p.v)}\n${sentence(p.f)}`;
  }
  const names = [...new Set(points.map((p) => p.name))];
  const unit = isBytes ? "MB" : isScore && unlikeScales ? scoreLabel : points[0].f.metric.unit;
  const domain = d3.extent([0, ...points.flatMap((p) => [p.low, p.high, p.x])]);
  return byTask(names, (shown, height) => chart({
    width, height, marginLeft: 40 + 6.6 * d3.max(names, (n) => n.length),
    marginRight: 56, grid: true, ariaLabel: `${points[0].f.metric.name} of every variant: ${shown.join(", ")}`,
    x: { label: unit === "1" ? null : unit, domain: domain[0] < domain[1] ? domain : [0, 1], nice: true },
    y: { domain: names, label: null }, fy: { label: null, domain: shown },
    marks: [
      Plot.ruleX([0], { strokeOpacity: 0.4 }),
      Plot.ruleY(points.filter((p) => shown.includes(p.task)), { fy: "task", y: "name", x1: "low", x2: "high", stroke: "precision", strokeWidth: 2 }),
      Plot.dot(points.filter((p) => shown.includes(p.task)), {
        fy: "task", y: "name", x: "x", fill: "precision", symbol: "precision", r: 5,
        title: "title", tip: { fontSize: 12, lineWidth: 34, fill: "var(--card)" },
      }),
    ],
  }));
}

// --- Energy

// A window inside another of its stage holds joules that the other holds too.
function isOutermost(windows, name) {
  return !windows.some(([other]) => other !== name && text(name).startsWith(`${text(other)}/`));
}

const stageById = new Map(page.stages.map((s) => [s.id, s]));

// "gpu0: counter; cpu: modelled": how the joules of each component were read.
function componentSources() {
  const known = new Map();
  for (const [, component, , joules, , , quality] of page.stages.flatMap((s) => s.windows)) {
    if (text(component) === "total" || !isNumber(joules)) continue;
    known.set(text(component), (known.get(text(component)) ?? new Set()).add(text(quality)));
  }
  return [...known].map(([component, qualities]) => `${component}: ${[...qualities].join(", ")}`).join("; ");
}

// Joules of a variant's stages by component, the idle share of each apart where it is known.
function energyRows() {
  const rows = [];
  for (const v of page.variants) {
    for (const [kind, id] of Object.entries(v.stages)) {
      const stage = stageById.get(id);
      for (const [window, component, , joules, above] of stage ? stage.windows : []) {
        const name = text(component);
        if (name === "total" || !isNumber(joules) || !isOutermost(stage.windows, window)) continue;
        const busy = isNumber(above) ? Math.min(Math.max(above, 0), joules) : joules;
        const common = { v, name: `${lineage(v)} ${v.precision}`, task: v.task, kind, component: name };
        rows.push({ ...common, joules: busy, part: isNumber(above) ? "above idle" : "idle share unknown" });
        if (isNumber(above)) rows.push({ ...common, joules: joules - busy, part: "idle share" });
      }
    }
  }
  return rows;
}

function energyChart(by, width) {
  const rows = energyRows();
  if (!rows.length) return "No stage has an energy reading: see the stages below for the reasons.";
  const groups = d3.flatRollup(
    rows, (g) => d3.sum(g, (r) => r.joules), (r) => r.task, (r) => r.name, (r) => r[by], (r) => r.part,
  ).map(([task, name, key, part, joules]) => ({ task, name, key, part, joules }));
  const names = [...new Set(rows.map((r) => r.name))];
  const keys = [...new Set(groups.map((g) => g.key))];
  const colour = keys.map((k, i) => (by === "kind" ? stageColours[k] : lineColours[i % lineColours.length]));
  const most = d3.max(d3.rollups(groups, (g) => d3.sum(g, (r) => r.joules), (r) => `${r.task} ${r.name}`), ([, sum]) => sum);
  return byTask(names, (shown, height) => chart({
    width, height, marginLeft: 40 + 6.6 * d3.max(names, (n) => n.length),
    marginRight: 56, caption: shown.includes(tasks[tasks.length - 1]) ? `${componentSources()}.` : undefined,
    ariaLabel: `Joules of every variant by ${by === "kind" ? "stage" : "component"}: ${shown.join(", ")}`,
    x: { label: "joules, all repeats", grid: true, domain: [0, most] }, y: { domain: names, label: null }, fy: { label: null, domain: shown },
    color: { domain: keys, range: colour, legend: shown.includes(tasks[0]) },
    marks: [
      Plot.barX(groups.filter((g) => shown.includes(g.task)), {
        fy: "task", y: "name", x: "joules", fill: "key", fillOpacity: (g) => (g.part === "idle share" ? 0.35 : 0.95),
        title: (g) => `${g.task} ${g.name}\n${g.key}, ${g.part}: ${short(g.joules)} J`,
        tip: { fontSize: 12, fill: "var(--card)" },
      }),
    ],
  }));
}

// --- Adaptation

// Trainings with the variant they were for, named with their run where there are several.
const trained = page.stages.filter((s) => s.training.loss.length).map((s) => {
  const user = page.variants.find((v) => v.stages.adapt === s.id);
  const run = page.runs.length > 1 && user ? `${runNames[user.run]} ` : "";
  return { ...s, title: `${run}${s.title}`, task: user?.task ?? "", method: user?.method ?? "", kin: user ? origin(user).trim() : "" };
});

const lineColours = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999"];
const dashes = ["none", "6,3", "2,3", "8,3,2,3"];

// A panel a task. Dashes tell methods apart, colours models and runs; methods too where there is one of those.
function lossChart(width) {
  const methods = [...new Set(trained.map((s) => s.method))];
  const byKin = new Set(trained.map((s) => s.kin)).size > 1;
  const points = (kind) => trained.flatMap((s) => s.training[kind].map(([step, loss]) => (
    { step, loss, title: s.title, task: s.task, method: s.method, key: byKin ? s.kin : s.method })));
  const keys = [...new Set(points("loss").map((p) => p.key))];
  const colour = keys.map((_, i) => lineColours[i % lineColours.length]);
  const caption = byKin && methods.length > 1 ? `${methods.map((m, i) => `${m}: ${i ? "dashed" : "solid"}`).join("; ")}.` : undefined;
  return Plot.plot({
    style: { background: "transparent", fontSize: "13px", color: "currentColor" },
    width, height: 300, grid: true, marginLeft: 52, marginBottom: 46, ariaLabel: "Loss of every training by step, by task", caption,
    x: { label: "step", tickFormat: "d", ticks: Math.min(6, d3.max(points("loss"), (p) => p.step)) }, y: { label: "loss", nice: true },
    fx: { label: null, domain: tasks.filter((t) => trained.some((s) => s.task === t)) },
    color: { domain: keys, range: colour, legend: true },
    marks: [
      Plot.frame({ stroke: "currentColor", strokeOpacity: 0.15 }),
      ...methods.map((method, i) => Plot.line(points("loss").filter((p) => p.method === method), {
        fx: "task", x: "step", y: "loss", z: "title", stroke: "key", strokeWidth: 1.7, strokeDasharray: dashes[i % dashes.length],
      })),
      Plot.dot(points("validation"), {
        fx: "task", x: "step", y: "loss", stroke: "key", r: 4, title: (p) => `${p.title}\nheld out: ${short(p.loss)}`,
      }),
      Plot.tip(points("loss"), Plot.pointer({
        fx: "task", x: "step", y: "loss", title: (p) => `${p.title}\nstep ${p.step}: ${short(p.loss)}`, fontSize: 12, fill: "var(--card)",
      })),
    ],
  });
}

// [seconds, joules, quality] of a stage's whole window of that name.
function windowTotal(stage, name) {
  const w = stage.windows.find(([window, component]) => text(window) === name && text(component) === "total");
  return w && isNumber(w[3]) ? { seconds: w[2], joules: w[3], quality: text(w[6]) } : null;
}

function phaseChart(width) {
  const rows = trained.flatMap((s) => ["load", "steps", "save"].map((phase) => ({ phase, title: s.title, w: windowTotal(s, `adapt/${phase}`) })))
    .filter((r) => r.w);
  if (!rows.length) return "No energy was read while adapting.";
  return chart({
    width, height: 80 + (trained.length > 20 ? 20 : 26) * trained.length, marginLeft: 40 + 6.6 * d3.max(trained, (s) => s.title.length), marginRight: 56,
    ariaLabel: "Joules of every adaptation by phase",
    x: { label: "joules", grid: true }, y: { label: null },
    color: { domain: ["load", "steps", "save"], range: ["#56b4e9", "#cc79a7", "#999999"], legend: true },
    marks: [Plot.barX(rows, {
      y: "title", x: (r) => r.w.joules, fill: "phase", tip: { fontSize: 12, fill: "var(--card)" },
      title: (r) => `${r.title}\n${r.phase}: ${short(r.w.joules)} J in ${short(r.w.seconds)} s; ${r.w.quality}`,
    })],
  });
}

// "rag: QLoRA took 1.8 times the joules of LoRA (...)": of one model and task, scope and run alike.
function methodSentences() {
  const find = (v, method) => page.variants.find((o) => o.run === v.run && o.model === v.model && o.task === v.task &&
    o.scope === v.scope && o.method === method && o.stages.adapt !== undefined);
  const seen = new Set();
  return page.variants.flatMap((v) => {
    const [lora, qlora] = [find(v, "lora"), find(v, "qlora")];
    if (!lora || !qlora || seen.has(qlora.stages.adapt)) return [];
    seen.add(qlora.stages.adapt);
    const [a, b] = [lora, qlora].map((o) => windowTotal(stageById.get(o.stages.adapt), "adapt"));
    const joules = (w) => `${w.quality === "modelled" ? "~" : ""}${short(w.joules)} J, ${w.quality}`;
    if (!a || !b) return [`${origin(v)}${v.task}: LoRA and QLoRA are not compared, for the energy of one is missing.`];
    return [`${origin(v)}${v.task}: QLoRA took ${short(b.joules / a.joules)} times the joules of LoRA ` +
      `(${joules(b)}; ${joules(a)}; one training each, so no interval).`];
  });
}

// --- Power over time

// Stages that have a curve, laid end to end.
function powerRows() {
  const points = [];
  const bands = [];
  let begin = 0;
  for (const stage of [...page.stages].sort((a, b) => a.started.localeCompare(b.started) || a.id - b.id)) {
    if (!stage.power.length) continue;
    bands.push({ stage, from: begin, to: begin + stage.wall_s });
    for (const [component, flat] of stage.power) {
      for (let i = 0; i < flat.length; i += 2) {
        points.push({ t: begin + flat[i], watts: flat[i + 1], component: text(component), stage: stage.id, title: stage.title });
      }
      const last = points[points.length - 1];
      points.push({ ...last, t: begin + stage.wall_s });
    }
    begin += stage.wall_s;
  }
  return { points, bands };
}

function powerChart(width) {
  const { points, bands } = powerRows();
  if (!points.length) return "No power was recorded over time.";
  const kinds = [...new Set(bands.map((b) => b.stage.kind))];
  const components = [...new Set(points.map((p) => p.component))];
  return chart({
    width, height: 90 + 110 * components.length, marginLeft: 52, marginRight: 90,
    ariaLabel: "Watts of each component over the stages of the run", caption: `${componentSources()}.`,
    x: { label: "seconds of measured stages" }, y: { label: "W", grid: true, zero: true, nice: true },
    fy: { label: null, domain: components },
    color: { domain: kinds, range: kinds.map((k) => stageColours[k]), legend: true },
    marks: [
      Plot.rectX(bands, {
        x1: "from", x2: "to", fill: (b) => b.stage.kind, fillOpacity: 0.25,
        title: (b) => `${b.stage.title}, ${short(b.stage.wall_s)} s`,
      }),
      Plot.line(points, { fy: "component", x: "t", y: "watts", z: "stage", curve: "step-after", stroke: "currentColor", strokeWidth: 1.2 }),
      Plot.tip(points, Plot.pointerX({
        fy: "component", x: "t", y: "watts", title: (p) => `${p.title}\n${p.component}: ${short(p.watts)} W`, fontSize: 12, fill: "var(--card)",
      })),
    ],
  });
}

// --- Latency

const latencies = {
  ttft: "time to first token",
  itl: "between two tokens (every gap)",
  tpot: "time per output token (a request's mean)",
  e2e: "whole request",
};

// Where labels of these values stand, in the values' unit: none nearer than gap to the next, none below zero.
function apart(values, gap) {
  const order = d3.range(values.length).sort((a, b) => values[a] - values[b]);
  const places = [...values];
  let room = 0;
  for (const i of order) {
    places[i] = Math.max(places[i], room);
    room = places[i] + gap;
  }
  return places;
}

function latencyChart(kind, task, width) {
  const shown = page.variants.filter((v) => v.task === task && v[kind].n);
  if (!shown.length) return "No request of this task has such a time.";
  const points = shown.flatMap((v) =>
    v[kind].q.map((s, p) => ({ p, s, precision: v.precision, kin: lineage(v), name: `${lineage(v)} ${v.precision}` })),
  );
  const n = d3.min(shown, (v) => v[kind].n);
  const height = Math.max(320, 70 + 13 * shown.length);
  const ends = points.filter((q) => q.p === 100);
  const top = d3.max(points, (q) => q.s) || 1;
  const places = apart(ends.map((q) => q.s), (13 * top) / (height - 70));
  ends.forEach((q, i) => {
    q.place = places[i];
  });
  return chart({
    width, height, grid: true, marginLeft: 56, marginRight: 24 + 6.6 * d3.max(ends, (q) => q.name.length),
    ariaLabel: `${latencies[kind]} of ${task} by percentile; at least ${n} ${kind === "itl" ? "gaps" : "requests"} a variant`,
    x: { label: "percentile", domain: [0, 103], ticks: d3.range(0, 101, width < 640 ? 25 : 10) }, y: { label: "seconds", nice: true, domain: [0, d3.max([top, ...places])] },
    marks: [
      ...d3.groups(points, (q) => q.kin).map(([, own], i) => Plot.line(own, {
        x: "p", y: "s", z: "name", stroke: "precision", strokeWidth: 2, strokeDasharray: dashes[i % dashes.length],
      })),
      Plot.link(ends, { x1: 100, y1: "s", x2: 103, y2: "place", stroke: "precision", strokeOpacity: 0.6 }),
      Plot.text(ends, { x: 103, y: "place", text: "name", fill: "currentColor", textAnchor: "start", dx: 4, fontSize: 11 }),
      Plot.tip(points, Plot.pointer({
        x: "p", y: "s", title: (q) => `${q.name}\np${q.p}: ${short(q.s)} s`, fontSize: 12, fill: "var(--card)",
      })),
    ],
  });
}

// --- Cold start

const startParts = ["exec to main", "backends", "weights", "context", "first token"];

function startRows() {
  const seen = new Set();
  const rows = [];
  for (const v of page.variants) {
    if (!v.starts.length || seen.has(v.stages.load)) continue;
    seen.add(v.stages.load);
    for (const [cache, starts] of d3.group(v.starts, (s) => s[0])) {
      let before = 0;
      startParts.forEach((part, i) => {
        const end = d3.mean(starts, (s) => s[i + 1]);
        if (end === undefined) return;
        rows.push({ cache: `${cache} page cache`, name: `${lineage(v)} ${v.precision}`, part, from: before, to: end, n: starts.length });
        before = end;
      });
    }
  }
  return rows;
}

function startChart(width) {
  const rows = startRows();
  if (!rows.length) return "No cold start was measured.";
  const names = [...new Set(rows.map((r) => r.name))];
  const caches = new Set(rows.map((r) => r.cache)).size;
  return chart({
    width, height: 76 + caches * (names.length * 22 + 14), marginLeft: 40 + 6.6 * d3.max(names, (n) => n.length), marginRight: 130,
    ariaLabel: "Seconds from exec to the first token, by part of the start",
    x: { label: "seconds since exec, mean over starts", grid: true }, y: { domain: names, label: null }, fy: { label: null },
    color: { domain: startParts, range: ["#999999", "#56b4e9", "#0072b2", "#e69f00", "#009e73"], legend: true },
    marks: [
      Plot.barX(rows, {
        fy: "cache", y: "name", x1: "from", x2: "to", fill: "part",
        title: (r) => `${r.name}, ${r.cache}\n${r.part}: ${short(r.to - r.from)} s (mean of ${r.n})`,
        tip: { fontSize: 12, fill: "var(--card)" },
      }),
    ],
  });
}
