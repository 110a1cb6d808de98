"use strict";
// The table of all figures: sorted by a click, filtered by words, copied as CSV.

const columns = ["variant", "metric", "profile", "value", "low", "high", "n", "unit", "label"];
const numeric = new Set(["value", "low", "high", "n"]);

function allFigures() {
  return page.variants.flatMap((v) =>
    page.metrics.map((m, i) => {
      const f = figureAt(v, i);
      return {
        variant: variantName(v), metric: m.id, profile: m.profile, value: f.value, low: f.low, high: f.high, n: f.n || null,
        unit: m.unit, label: [f.label, f.reason && (f.value === null ? `refused: ${f.reason}` : f.reason)].filter(Boolean).join("; "),
        title: `${m.name}: ${m.definition}`, figure: f,
      };
    }),
  );
}

function csvField(x) {
  if (x === null) return "";
  const s = x === Infinity ? "inf" : x === -Infinity ? "-inf" : String(x);
  return /[",\n]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s;
}

function asCsv(rows) {
  return [columns.join(","), ...rows.map((r) => columns.map((c) => csvField(r[c])).join(","))].join("\n") + "\n";
}

// Every word must be somewhere in the row.
function matches(row, words) {
  const hay = `${row.variant} ${row.metric} ${row.profile} ${row.unit} ${row.label}`.toLowerCase();
  return words.every((w) => hay.includes(w));
}

function compare(a, b, key) {
  const [x, y] = [a[key], b[key]];
  if (x === null || y === null) return (x === null) - (y === null);
  return numeric.has(key) ? x - y : String(x).localeCompare(String(y));
}

function cellText(row, column) {
  if (!numeric.has(column)) return row[column];
  if (column === "value") return row.value === null ? "-" : `${row.figure.modelled ? "~" : ""}${short(row.value)}`;
  if (column === "n") return row.n === null ? "" : String(row.n);
  return row[column] === null ? "" : !isNumber(row[column]) ? "unbounded" : short(row[column]);
}

function figuresTable(host) {
  const rows = allFigures();
  const state = { key: null, down: false, words: [], limit: 120 };
  const filter = element("input", { type: "search", id: "figures-filter", placeholder: "rag int4 joules", autocomplete: "off" });
  const copy = element("button", { type: "button" }, "Copy as CSV");
  const count = element("span", { class: "muted", role: "status" });
  const cut = element("p", { class: "note only-printed" });
  const body = element("tbody");
  const more = element("button", { type: "button" }, "Show all");
  const heads = columns.map((c) => {
    const button = element("button", { type: "button", class: "sort" }, c);
    const th = element("th", { scope: "col", class: numeric.has(c) ? "num" : null }, button);
    button.addEventListener("click", () => {
      state.down = state.key === c ? !state.down : false;
      state.key = c;
      draw();
    });
    return th;
  });
  const chosen = () => {
    const kept = rows.filter((r) => matches(r, state.words));
    if (state.key) kept.sort((a, b) => compare(a, b, state.key) * (state.down && a[state.key] !== null && b[state.key] !== null ? -1 : 1));
    return kept;
  };
  function draw() {
    const kept = chosen();
    body.replaceChildren(
      ...kept.slice(0, state.limit).map((r) =>
        element("tr", {}, ...columns.map((c) => {
          const exact = numeric.has(c) && r[c] !== null ? String(r[c]) : c === "metric" ? r.title : null;
          return element("td", { class: numeric.has(c) ? "num" : c === "label" ? "label" : null, title: exact }, cellText(r, c));
        })),
      ),
    );
    count.textContent = `${Math.min(kept.length, state.limit)} of ${kept.length} figures`;
    more.hidden = kept.length <= state.limit;
    cut.textContent = `${count.textContent} are shown, of ${rows.length} in all; the page on a screen and metrics.csv have them all.`;
    heads.forEach((th, i) => {
      if (columns[i] === state.key) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
  }
  filter.addEventListener("input", () => {
    state.words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    draw();
  });
  more.addEventListener("click", () => {
    state.limit = Infinity;
    draw();
  });
  copy.addEventListener("click", async () => {
    const csv = asCsv(chosen());
    try {
      await navigator.clipboard.writeText(csv);
      copy.textContent = "Copied";
    } catch {
      // A page opened from a file may not use the clipboard: a text field can be copied by hand.
      const area = element("textarea", { rows: 8, readonly: true, "aria-label": "the figures as CSV" });
      area.value = csv;
      host.insertBefore(area, host.querySelector(".scroll"));
      area.select();
      copy.disabled = true;
    }
  });
  host.append(
    element("div", { class: "controls" }, element("label", { for: "figures-filter" }, "Filter "), filter, copy, more, count),
    element("div", { class: "scroll" },
      element("table", { class: "figures" }, element("thead", {}, element("tr", {}, ...heads)), body)),
    cut,
  );
  draw();
}
