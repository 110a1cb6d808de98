"""report.html in a real browser: it draws, asks for nothing, and can be used by keyboard."""

import contextlib
import csv
import io
import json
import pathlib
import shutil
import sqlite3
import tempfile
import unittest

import browser
import many
from harness import MODEL, MODEL_ID, OK, Case, Run, edge_eval, plan, tiny_model, write_plan

COST = {
    "deployment": "owned", "hardware": 1200, "lifetime": "4y", "maintenance": 0.01, "electricity": "ireland", "pue": 1.3,
    "ops": 0.02, "labour": 50, "refresh": "30d", "recurring": 5, "traffic": "500/h", "api": "gpt-4.1", "carbon": 350,
    "embodied": 100, "discount": 0.08, "idle_w": 0.05, "prepare": "extra", "headroom": 0.7, "api_fall": 0.5,
}  # fmt: skip
# What if, in the words of --set and in the calculator's fields.
CHANGES = [
    ({}, {}),
    ({"electricity": "0.3", "traffic": "2000/h"}, {"kwh_usd": 0.3, "traffic_per_h": 2000}),
    ({"traffic": "40000/h", "pue": "1.05"}, {"traffic_per_h": 40000, "pue": 1.05}),
    ({"hardware": "9000", "ops": "0", "labour": "2500"}, {"capex_usd": 9000, "ops_usd_per_h": 0, "labour_usd": 2500}),
    ({"idle_w": "0.01", "headroom": "0.35", "carbon": "20"}, {"idle_w": 0.01, "headroom": 0.35, "carbon_g_per_kwh": 20}),
    ({"refresh": "0", "replicas": "3", "discount": "0"}, {"refresh_h": 0, "replicas_min": 3, "discount_per_year": 0}),
]

# Of the first schema.
FIRST_TABLES = {"meta", "machine", "variant", "stage", "variant_stage", "energy", "request", "cold_start", "memory", "artifact", "score"}
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@unittest.skipUnless(browser.AVAILABLE, "chromium or chromedriver is not installed: run scripts/deps.sh --lint")
class Page(Case):
    def check_quiet(self, b):
        self.assertEqual(b.console(), [])
        self.assertEqual(b.requests(), [])
        self.assertEqual(b.run("return document.documentElement.dataset.ready"), "true")


class WholeReport(Page):
    @classmethod
    def setUpClass(cls):
        if not MODEL.exists():
            raise unittest.SkipTest(f"the default model is not at {MODEL}: run make deps")
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="edge-eval-page-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        tasks = {"rag": {"items": 3, "max_tokens": 24}, "chat": {"items": 3, "max_tokens": 24}}
        content = plan(MODEL_ID, tasks=tasks, precisions=["int8", "int4"], load={"warm": 1, "cold": 1}, cost=COST)
        write_plan(cls.shared, content)
        done = edge_eval("run", "plan.yaml", "--out", "out", cwd=cls.shared)
        if done.code != 0:
            raise AssertionError(done)
        cls.page = cls.shared / "out" / "report.html"

    def test_draws_every_part_and_asks_for_nothing(self):
        with browser.Browser() as b:
            b.open(self.page)
            self.check_quiet(b)
            for part in ("frontier", "metrics", "energy", "power", "latency", "starts"):
                marks = b.run(f"return document.querySelectorAll('#{part} .chart svg path, #{part} .chart svg rect').length")
                self.assertGreater(marks, 3, part)
                note = b.run(f"return document.querySelectorAll('#{part} .chart .note').length")
                self.assertEqual(note, 0, part)
            cut = b.run(
                "return [...document.querySelectorAll('.chart svg text')].filter((t) => {"
                "  const own = t.getBoundingClientRect(), all = t.ownerSVGElement.getBoundingClientRect();"
                "  return own.width && (own.right > all.right + 1 || own.left < all.left - 1);"
                "}).map((t) => t.textContent)"
            )
            self.assertEqual(cut, [], "labels that leave their chart")
            unnamed = b.run(
                "return [...document.querySelectorAll('.chart > svg, .chart figure > svg')]"
                ".filter((s) => s.getAttribute('role') !== 'img' || !s.getAttribute('aria-label')).length"
            )
            self.assertEqual(unnamed, 0, "charts without a name for those who cannot see them")
            fields = "return [...document.querySelectorAll('input, select, textarea')].filter((f) => !f.labels.length && !f.ariaLabel).length"
            self.assertEqual(b.run(fields), 0, "fields without a label")

    def test_hovering_tells_the_figures_with_their_intervals(self):
        with browser.Browser() as b:
            b.open(self.page)
            said = b.run(
                "const dot = document.querySelector('#frontier svg [aria-label=dot] path'), at = dot.getBoundingClientRect();"
                "const event = { bubbles: true, pointerType: 'mouse', clientX: at.x + at.width / 2, clientY: at.y + at.height / 2 };"
                "for (const kind of ['pointerenter', 'pointermove']) dot.ownerSVGElement.dispatchEvent(new PointerEvent(kind, event));"
                "return new Promise((ok) => setTimeout(() => ok(document.querySelector('#frontier svg [aria-label=tip]').textContent), 300))"
            )
            self.assertSays(said, "task score", "cost of a request", "break-even", "quantization fidelity", "every figure: below")
            self.assertRegex(said, r"\d to \d")

    def test_every_figure_of_the_variant_that_is_pointed_at_or_chosen(self):
        shown = ("return [...document.querySelectorAll('.variant tbody tr:not(.stage)')].map((r) => [...r.cells].map((c) => c.textContent))")
        title = "return document.querySelector('.variant h3').textContent"
        at = ("const dot = document.querySelectorAll('#frontier svg [aria-label=dot] path')[arguments[0]], at = dot.getBoundingClientRect();"
              "const where = { bubbles: true, pointerType: 'mouse', clientX: at.x + at.width / 2, clientY: at.y + at.height / 2 };"
              "const svg = dot.ownerSVGElement; arguments[1].forEach((kind) => svg.dispatchEvent(new PointerEvent(kind, where)));"
              "return new Promise((ok) => setTimeout(ok, 200))")  # fmt: skip
        with browser.Browser() as b:
            b.open(self.page)
            names = b.run("return page.variants.map(variantName)")
            self.assertIn(names[0], b.run(title))
            rows = {r["metric"] + r["profile"]: r for r in Run(self.shared / "out").metrics()
                    if f"{r['task']} {r['method']} {r['precision']}" == names[0]}  # fmt: skip
            told = b.run(shown)
            self.assertEqual(len(told), len(rows))
            named = b.run("return page.metrics.map((m) => [m.id + m.profile, m.name, m.profile])")
            intervals = sum(bool(r["low"] and r["high"]) for r in rows.values())
            self.assertEqual(sum(" to " in cells[2] for cells in told), intervals)
            self.assertGreater(intervals, 10)
            self.assertEqual(sorted(cells[0] for cells in told), sorted(name for _, name, _ in named))
            for cells in told:
                self.assertTrue(cells[4] or cells[1] != "-", f"neither a value nor a reason: {cells}")
            b.run(at, 1, ["pointerenter", "pointermove"])
            pointed = b.run(title)
            self.assertIn("pointed at", pointed)
            self.assertNotIn(names[0] + " ", pointed)
            b.run(at, 1, ["pointerleave"])
            self.assertIn(names[0], b.run(title))
            b.run(at, 1, ["pointerenter", "pointermove"])
            b.run(at, 1, ["click"])
            self.assertEqual(b.run(title), pointed.replace(" (pointed at; click to keep)", ""))
            b.run("document.getElementById('variant-choice').focus()")
            b.press("Home")
            b.press("ArrowDown")
            self.assertIn(names[1], b.run(title))
            b.press("Tab")
            b.press("End")
            b.run("return new Promise((ok) => setTimeout(ok, 500))")
            self.assertGreater(b.run("return document.activeElement.scrollTop"), 100)
            self.check_quiet(b)

    def test_energy_windows_are_listed_when_asked_for(self):
        run = Run(self.shared / "out")
        windows = run.rows("SELECT window, component, joules FROM energy ORDER BY stage_id, rowid")
        with browser.Browser() as b:
            b.open(self.page)
            b.run("document.querySelector('#stages summary').focus()")
            b.press("Enter")
            b.run("return new Promise((ok) => setTimeout(ok, 100))")
            told = b.run("return [...document.querySelectorAll('#stages details tbody tr:not(.stage)')]"
                         ".map((r) => [...r.cells].map((c) => c.textContent))")  # fmt: skip
            self.assertEqual(sorted((w, c) for w, c, *_ in told), sorted((w, c) for w, c, _ in windows))
            stored = sorted(j for _, _, j in windows if j is not None)
            shown = sorted(float(cells[3].replace(",", "")) for cells in told if cells[3])
            self.assertEqual(len(shown), len(stored))
            for x, y in zip(shown, stored):
                self.assertAlmostEqual(x, y, delta=0.01 * y)
            titles = b.run("return [...document.querySelectorAll('#stages details tr.stage td:first-child')].map((c) => c.textContent)")
            self.assertEqual(titles, [t for (t,) in run.rows(
                "SELECT title FROM stage WHERE stage_id IN (SELECT stage_id FROM energy) ORDER BY stage_id")])  # fmt: skip
            self.check_quiet(b)

    def test_a_link_to_a_section_leads_there(self):
        with browser.Browser() as b:
            b.open(self.page, "audit")
            self.assertAlmostEqual(b.run("return document.getElementById('audit').getBoundingClientRect().top"), 0, delta=40)

    def test_a_part_that_fails_takes_no_other_with_it(self):
        with browser.Browser() as b:
            b.before_pages("Array.prototype.sort = () => { throw new Error('no sorting today'); }")
            b.open(self.page)
            failed = b.run("return [...document.querySelectorAll('section > .error')].map((p) => [p.parentElement.id, p.textContent])")
            self.assertIn(["power", "This part could not be drawn: no sorting today."], failed)
            self.assertGreater(b.run("return document.querySelectorAll('.figures tbody tr').length"), 20)

    def test_a_browser_whose_scripts_end_early_says_so(self):
        with browser.Browser() as b:
            b.before_pages("globalThis.addEventListener = () => { throw new Error('no events today'); }")
            b.open(self.page)
            self.assertIn("ended early", b.run("return document.querySelector('[role=alert]').textContent"))

    def test_a_browser_that_cannot_unpack_says_so(self):
        with browser.Browser() as b:
            b.before_pages("delete globalThis.DecompressionStream")
            b.open(self.page)
            self.assertEqual((b.console(), b.requests()), ([], []))
            self.assertSays(b.run("return document.querySelector('[role=alert]').textContent"), "cannot show", "DecompressionStream", "metrics.csv")
            words = b.run("return document.body.innerText")
            self.assertSays(words, "Which one?", "rag", "int4", "Stages: time and energy", "Definitions")
            self.assertGreater(b.run("return document.querySelectorAll('#summary td.num').length"), 20)

    def test_score_against_every_cost(self):
        with browser.Browser() as b:
            b.open(self.page)
            costs = b.run("return [...document.querySelectorAll('#frontier-cost option')].map((o) => o.value)")
            self.assertEqual(costs, ["request_usd", "joules_per_request", "e2e_p95_s", "memory_peak_bytes"])
            for cost in costs:
                label, marks = b.run(
                    "const s = document.getElementById('frontier-cost'); s.value = arguments[0]; s.dispatchEvent(new Event('change'));"
                    "return [document.querySelector('#frontier svg[aria-label]').getAttribute('aria-label'),"
                    "document.querySelectorAll('#frontier [aria-label=dot] path').length]",
                    cost,
                )
                self.assertIn(b.run("return costs.find((c) => c[0] === arguments[0])[2]", cost), label)
                self.assertEqual(marks, 4, cost)
            self.check_quiet(b)

    def test_every_latency_can_be_charted(self):
        with sqlite3.connect(self.shared / "out" / "run.db") as db:
            stored = db.execute("SELECT sum(length(events)) / 4 FROM request WHERE status = 'ok' AND output_tokens > 1").fetchone()[0]
        with browser.Browser() as b:
            b.open(self.page)
            gaps = "v.itl.n * v.itl.q.reduce((a, q) => a + q, 0) / 101"
            stream = "v.tpot.n * v.tpot.q.reduce((a, q) => a + q, 0) / 101"
            n, mean, tpot = b.run(
                "const vs = page.variants, sum = (f) => vs.reduce((a, v) => a + f(v), 0);"
                f"return [sum((v) => v.itl.n), sum((v) => {gaps}) / sum((v) => v.itl.n), sum((v) => {stream}) / sum((v) => v.tpot.n)]"
            )
            self.assertEqual(n, stored)
            self.assertTrue(0.1 < mean / tpot < 10, (mean, tpot))
            for kind in ("ttft", "itl", "tpot", "e2e"):
                lines = b.run(
                    f"const s = document.querySelector('#latency-kind'); s.value = '{kind}';"
                    "s.dispatchEvent(new Event('change', { bubbles: true }));"
                    "return document.querySelectorAll('#latency .chart svg path').length"
                )
                self.assertGreater(lines, 1, kind)

    def test_every_metric_can_be_charted(self):
        with browser.Browser() as b:
            b.open(self.page)
            ids = b.run("return [...document.querySelectorAll('#metric-choice option')].map((o) => o.value)")
            self.assertGreater(len(ids), 20)
            for metric in ids:
                drawn = b.run(
                    "const s = document.getElementById('metric-choice'); s.value = arguments[0];"
                    "s.dispatchEvent(new Event('change'));"
                    "return document.querySelectorAll('#metrics .chart svg [aria-label=dot] > *').length",
                    metric,
                )
                self.assertGreater(drawn, 0, metric)
            self.check_quiet(b)

    def test_the_table_has_the_figures_of_the_csv_file(self):
        with browser.Browser() as b:
            b.open(self.page)
            shown = b.run("return asCsv(allFigures())")
            rows = list(csv.DictReader(io.StringIO(shown)))
            stored = Run(self.shared / "out").metrics()
            self.assertEqual(len(rows), len(stored))
            for mine, theirs in zip(rows, stored):
                self.assertEqual(mine["metric"], theirs["metric"])
                for key in ("value", "low", "high"):
                    if theirs[key] in ("", "inf"):
                        self.assertEqual(mine[key], theirs[key], mine)
                    else:
                        self.assertEqual(float(mine[key]), float(theirs[key]), mine)

    def test_the_calculator_agrees_with_the_command_line(self):
        compared = 0
        with browser.Browser() as b:
            b.open(self.page)
            for sets, fields in CHANGES:
                args = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
                told = edge_eval("metrics", str(self.page.parent), "--json", *args, cwd=self.dir)
                self.assertEqual(told.code, OK, told)
                for i, variant in enumerate(json.loads(told.out)["variants"]):
                    rows = {r["metric"]: r for r in variant["rows"] if r["profile"] == "full"}
                    # request_above_idle_j follows idle_w from the measurement, not from the field before it.
                    changes = {**fields, "request_above_idle_j": variant["economics"]["fields"]["request_above_idle_j"]}
                    mine = b.run(
                        "const r = whatIf(page.variants[arguments[0]], arguments[1]);"
                        "return Object.fromEntries(Object.entries(r).map(([id, f]) => [id, String(f.value)]))",
                        i, changes,
                    )  # fmt: skip
                    for metric, value in mine.items():
                        theirs = rows[metric]
                        with self.subTest(metric=metric, sets=sets, variant=variant["variant_id"]):
                            if theirs["infinite"]:
                                self.assertEqual(value, "Infinity", theirs)
                            elif theirs["value"] is None:
                                self.assertEqual(value, "NaN", theirs)
                            else:
                                scale = max(abs(theirs["value"]), 1e-12)
                                self.assertLessEqual(abs(float(value) - theirs["value"]) / scale, 1e-9, theirs)
                                compared += 1
        self.assertGreater(compared, 200)

    def test_the_calculator_follows_the_keyboard(self):
        with browser.Browser() as b:
            b.open(self.page)
            read = "return document.querySelector('[data-figure=saving_usd_per_h]').title"
            before = float(b.run(read))
            b.run("const f = document.getElementById('what-kwh_usd'); f.value = ''; f.focus()")
            b.press(*"9.5")
            after = float(b.run(read))
            self.assertLess(after, before)
            words = b.run("return document.querySelector('#calculator').innerText")
            self.assertSays(words, "Changed: electricity 9.5 (planned: ", b.run("return variantName(cheapest())"))
            self.assertTrue(b.run("return document.querySelector('[data-figure=saving_usd_per_h]').textContent").startswith("~"))
            self.assertGreater(b.run("return document.querySelectorAll('#calculator .chart svg path').length"), 3)
            b.run("const f = document.getElementById('what-kwh_usd'); f.value = ''; f.dispatchEvent(new Event('input'))")
            self.assertIn("electricity", b.run("return document.querySelector('#calculator [role=status]').textContent"))
            self.check_quiet(b)

    def test_filter_and_sort_by_keyboard(self):
        with browser.Browser() as b:
            b.open(self.page)
            b.run("document.getElementById('figures-filter').focus()")
            b.press(*"rag int4 output")
            names = b.run("return [...document.querySelectorAll('.figures tbody tr')].map((r) => r.cells[1].textContent)")
            self.assertEqual(names, ["output_tokens_per_s"])
            b.run("const f = document.getElementById('figures-filter'); f.value = 'file_bytes';"
                  "f.dispatchEvent(new Event('input')); f.focus()")  # fmt: skip
            header = b.run("return [...document.querySelectorAll('.figures th')].map((t) => t.textContent)").index("value")
            for _ in range(2 + header + 1):  # copy, show all (hidden now), then the columns' buttons
                b.press("Tab")
                if b.run("return document.activeElement.textContent") == "value":
                    break
            b.press("Enter")
            self.assertEqual(b.run("return document.activeElement.parentElement.getAttribute('aria-sort')"), "ascending")
            read = "return [...document.querySelectorAll('.figures tbody tr')].map((r) => Number(r.cells[3].title))"
            values = b.run(read)
            self.assertEqual(values, sorted(values))
            b.press("Enter")
            self.assertEqual(b.run(read), sorted(values, reverse=True))

    def test_theme_and_print(self):
        with browser.Browser() as b:
            b.open(self.page)
            light = b.run("return getComputedStyle(document.body).backgroundColor")
            b.run("document.getElementById('theme').click()")
            dark = b.run("return getComputedStyle(document.body).backgroundColor")
            self.assertNotEqual(light, dark)
            pdf = b.print_pdf()
            self.assertTrue(pdf.startswith(b"%PDF"))
            self.assertLess(pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page "), 40)
            b.run("globalThis.dispatchEvent(new Event('beforeprint'))")
            self.assertEqual(b.run("return new Set([...document.querySelectorAll('#frontier svg[aria-label]')].map((s) => s.getAttribute('width'))).size"), 1)
            self.assertEqual(b.run("return document.querySelector('#frontier svg[aria-label]').getAttribute('width')"), "688")
            b.as_printed()
            self.assertEqual(b.run("return getComputedStyle(document.body).backgroundColor"), light)
            self.assertIn("120 of ", b.run("return document.querySelector('#figures .only-printed').innerText"))

    def test_fits_the_width_of_a_page(self):
        with browser.Browser(width=700, height=1100) as b:  # A4 less its margins, at 96 pixels an inch
            b.as_printed()
            b.open(self.page)
            self.check_quiet(b)
            self.assertLessEqual(b.run("return document.documentElement.scrollWidth - window.innerWidth"), 0)
            self.assertEqual(b.run("return getComputedStyle(document.getElementById('contents')).display"), "none")

    def test_fits_a_narrow_window(self):
        with browser.Browser(width=500, height=900) as b:
            b.open(self.page)
            self.check_quiet(b)
            self.assertLessEqual(b.run("return document.documentElement.scrollWidth - window.innerWidth"), 0)


    def test_every_link_leads_to_a_section(self):
        with browser.Browser() as b:
            b.open(self.page)
            links = b.run("return [...document.querySelectorAll('#contents a')].map((a) => a.hash)")
            self.assertGreater(len(links), 10)
            lost = b.run("return arguments[0].filter((h) => !document.querySelector(`section${h} > h2`))", links)
            self.assertEqual(lost, [])
            titled = b.run("return [...document.querySelectorAll('main section')].map((s) => '#' + s.id)")
            self.assertEqual(sorted(titled), sorted(links))

    def test_the_verdict_and_the_audit_are_those_of_the_command_line(self):
        told = edge_eval("report", str(self.page.parent), cwd=self.dir).out
        findings = json.loads(edge_eval("audit", str(self.page.parent), "--json", cwd=self.dir).out)["findings"]
        with browser.Browser() as b:
            b.open(self.page)
            said = b.run("return [...document.querySelectorAll('#verdict dd')].map((d) => d.textContent)")
            self.assertEqual(" ".join(said), " ".join(" ".join(told.split("Which one?")[1].split("at a glance")[0].split("profile")[0]
                             .replace("Does it pay?", "").replace("How sure?", "").split()).split()))  # fmt: skip
            self.assertIn("no fp16 score", " ".join(said))
            brief = b.run("return document.querySelector('#verdict .brief').textContent")
            self.assertIn(brief, " ".join(told.split()))
            self.assertEqual(brief.count(". "), 2)
            rules = b.run("return [...document.querySelectorAll('#audit article code')].map((c) => c.textContent)")
            self.assertEqual(rules, list(dict.fromkeys(f["rule"] for f in findings)))
            self.assertIn("modelled-energy", rules)

    def test_runs_side_by_side(self):
        done = edge_eval("report", str(self.page.parent), str(self.page.parent), "--format", "html", "--output", "two.html",
                         cwd=self.shared)  # fmt: skip
        self.assertEqual(done.code, OK, done)
        with browser.Browser() as b:
            b.open(self.shared / "two.html")
            self.check_quiet(b)
            names = b.run("return page.variants.map(variantName)")
            self.assertEqual(len(set(names)), 8)
            for part in ("frontier", "metrics", "energy", "power", "latency", "starts"):
                self.assertEqual(b.run(f"return document.querySelectorAll('#{part} .chart .note').length"), 0, part)
            marks = b.run("return document.querySelectorAll('#frontier [aria-label=dot] path').length")
            self.assertEqual(marks, 8)
            stages = b.run("return page.stages.map((s) => s.id)")
            self.assertEqual(len(set(stages)), len(stages))

    def test_joules_of_unlike_scopes_are_not_held_together(self):
        with browser.Browser() as b:
            b.open(self.page)
            kept = "return pareto([{task: 'a', x: 1, y: 1, scope: 's'}, {task: 'a', x: 2, y: 0.5, scope: arguments[0]}]).length"
            self.assertEqual(b.run(kept, "s"), 1)
            self.assertEqual(b.run(kept, "t"), 2)


class Published(Page):
    def test_the_72_variants_in_one_page(self):
        done = edge_eval("reproduce", "--format", "html", "--output", "published.html", cwd=self.dir)
        self.assertEqual(done.code, OK, done)
        path = self.dir / "published.html"
        self.assertLess(path.stat().st_size, 1.5e6)
        rows = list(csv.DictReader(io.StringIO(edge_eval("reproduce", "--format", "csv", cwd=self.dir).out)))
        with browser.Browser() as b:
            b.open(path)
            self.check_quiet(b)
            self.assertEqual(b.run("return document.querySelectorAll('#claims tbody tr').length"), 6)
            self.assertEqual(b.run("return document.querySelectorAll('#frontier [aria-label=dot] path').length"), 72)
            self.assertEqual(b.run("return document.querySelectorAll('#summary tbody tr').length"), 72)
            find = "return [...document.querySelectorAll('#contents a')].filter((a) => !document.querySelector(a.hash)).length"
            lost = b.run(find)
            self.assertEqual(lost, 0)
            shown = {(r["variant"], r["metric"]): r["value"] for r in csv.DictReader(io.StringIO(b.run("return asCsv(allFigures())")))
                     if r["profile"] == "paper"}  # fmt: skip
            for r in rows:
                name = f"{r['family']} {r['size']} {r['task']} {r['method']} {r['precision']}"
                self.assertEqual(float(shown[name, r["metric"]]), float(r["value"]), name)


class AdaptedRun(Page):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="edge-eval-adapted-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        tiny = tiny_model(cls.shared)
        rows = [{"id": f"t{i}", "context": f"Shed {i} is green.", "question": "Which colour?", "answers": {"text": ["green"]}}
                for i in range(8)]  # fmt: skip
        (cls.shared / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        adapt = {"data": {"rag": "rows.jsonl"}, "rank": 4, "batch": 2, "epochs": 2}
        content = plan({"path": str(tiny), "id": "tiny"}, methods=["lora", "qlora"], adapt=adapt, cost=COST, load={"warm": 2, "cold": 1})
        write_plan(cls.shared, content)
        done = edge_eval("run", "plan.yaml", "--out", "out", cwd=cls.shared)
        if done.code != 0:
            raise AssertionError(done)

    def test_72_variants_of_ones_own_fit_a_mail(self):
        shutil.copytree(self.shared / "out", self.dir / "out")
        run = Run(self.dir / "out")
        ((n,),) = run.rows("SELECT COUNT(*) FROM variant")
        many.multiply(run.path / "run.db", 72 // n)
        page = self.dir / "page.html"
        self.edge_eval("report", run.path, "--format", "html", "--output", page)
        self.assertLess(page.stat().st_size, 1.5e6)
        with browser.Browser() as b:
            b.open(page)
            self.check_quiet(b)
            self.assertEqual(b.run("return page.variants.length"), 72)
            self.assertEqual(b.run("return trained.filter((s) => s.training.loss.length === 200).length"), 36)
            self.assertEqual(b.run("return document.querySelectorAll('#frontier [aria-label=dot] path').length"), 72)
            for part in ("frontier", "metrics", "energy", "adaptation", "power", "latency", "starts"):
                self.assertEqual(b.run(f"return document.querySelectorAll('#{part} .chart .note').length"), 0, part)
            b.run("document.querySelector('#stages details').open = true")
            b.run("return new Promise((ok) => setTimeout(ok, 200))")
            ((windows,),) = run.rows("SELECT COUNT(*) FROM energy")
            self.assertEqual(b.run("return document.querySelectorAll('#stages details tbody tr:not(.stage)').length"), windows)

    def test_of_many_variants_a_reason_is_told_once(self):
        shutil.copytree(self.shared / "out", self.dir / "out")
        few = " ".join(self.edge_eval("report", "out").out.split())
        many.multiply(self.dir / "out" / "run.db", 18)
        with contextlib.closing(sqlite3.connect(self.dir / "out" / "run.db")) as db:
            db.execute("UPDATE energy SET quality = 'missing', joules = NULL, reason = 'only ' || stage_id || '.5 ms long'"
                       " WHERE stage_id IN (SELECT stage_id FROM stage WHERE kind = 'load' AND title LIKE '%lora fp16')")  # fmt: skip
            db.execute("UPDATE cold_start SET joules = NULL, warm_joules = NULL")
            db.commit()
        told = " ".join(self.edge_eval("report", "out").out.split("profile  paper")[0].split())
        self.assertRegex(told, r"C_tax of \d+ of 72 variants, tiny rag q?lora fp16 the first: [^:]*: only \d+\.5 ms long "
                               r"\(the first's figures; the others have their own\)")  # fmt: skip
        self.assertEqual(told.count(" ms long"), 1)
        self.assertNotRegex(few, "the first's|the first:")

    def test_loss_and_energy_of_both_methods(self):
        run = Run(self.shared / "out")
        with browser.Browser() as b:
            b.open(run.path / "report.html")
            self.check_quiet(b)
            steps = b.run("return trained.map((s) => s.training.loss.length)")
            stored = run.rows("SELECT COUNT(*) FROM training GROUP BY stage_id")
            self.assertEqual(steps, [n for (n,) in stored])
            self.assertEqual(len(steps), 2)
            self.assertGreater(b.run("return document.querySelectorAll('#adaptation .chart svg path').length"), 2)
            joules = dict(run.rows("SELECT title, joules FROM energy JOIN stage USING (stage_id)"
                                   " WHERE window = 'adapt' AND component = 'total'"))  # fmt: skip
            said = b.run("return document.querySelector('#adaptation li:last-child').textContent")
            ratio = joules["adapt tiny rag qlora"] / joules["adapt tiny rag lora"]
            self.assertAlmostEqual(float(said.split("took ")[1].split(" times")[0]), ratio, delta=0.01 * ratio)
            self.assertIn("modelled", said)


class OddReports(Page):
    """Runs as nobody wishes them: one measured run, changed in its store."""

    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="edge-eval-odd-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        try:
            content = plan({"path": str(tiny_model(cls.shared)), "id": "tiny"}, precisions=["fp16", "int4"])
        except unittest.SkipTest:
            shutil.rmtree(cls.shared)
            raise
        write_plan(cls.shared, content)
        done = edge_eval("run", "plan.yaml", "--out", "out", cwd=cls.shared)
        if done.code != 0:
            raise AssertionError(done)

    def page_of(self, script):
        """The page of the shared run after that SQL."""
        path = self.dir / "run"
        path.mkdir()
        shutil.copy(self.shared / "out" / "run.db", path / "run.db")
        with contextlib.closing(sqlite3.connect(path / "run.db")) as db:
            db.executescript(script)
            db.commit()
        page = self.dir / "page.html"
        done = edge_eval("report", path, "--format", "html", "--output", page, cwd=self.dir)
        self.assertEqual(done.code, OK, done)
        return page

    def back_to(self, version, tables):
        """SQL that takes the shared run back to an older schema, which had these tables alone."""
        with contextlib.closing(sqlite3.connect(self.shared / "out" / "run.db")) as db:
            now = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        self.assertLessEqual(tables, now)
        return "".join(f"DROP TABLE {name};" for name in now - tables) + f"PRAGMA user_version = {version};"

    def words_of(self, page):
        with browser.Browser() as b:
            b.open(page)
            self.check_quiet(b)
            self.assertEqual(b.run("return document.querySelectorAll('img, iframe, object').length"), 0)
            self.assertNotEqual(b.run("return document.title"), "owned")
            return b.run("return document.body.innerText")

    def test_hostile_names_are_inert(self):
        content = plan({"path": str(tiny_model(self.dir)), "id": "x", "family": HOSTILE, "size": HOSTILE}, precisions=["int4"])
        run, _ = self.measure(content)
        self.words_of(run.path / "report.html")

    def test_everything_hostile_in_a_store_is_inert(self):
        text = "'" + HOSTILE.replace("'", "''") + "'"
        page = self.page_of(
            f"""
            UPDATE variant SET family = x.t, size = x.t, note = x.t, engine = x.t, device = x.t, model_id = x.t || model_id
              FROM (SELECT {text} AS t) AS x;
            UPDATE stage SET title = x.t, status = 'failed', error_code = 'failed', error = x.t
              FROM (SELECT {text} AS t) AS x WHERE kind = 'serve';
            UPDATE energy SET source = x.t, reason = x.t, window = x.t || window FROM (SELECT {text} AS t) AS x;
            UPDATE meta SET value = x.t FROM (SELECT {text} AS t) AS x WHERE key IN ('run_id', 'plan_yaml', 'plan_path');
            UPDATE request SET text = {text}, item_id = {text} || ordinal;
            UPDATE machine SET json = json_set(json, '$.cpu', {text});
            """
        )
        words = self.words_of(page)
        self.assertIn("<img src=x", words, "shown as the text that it is")
        images = "return document.querySelectorAll('img').length"
        with browser.Browser() as b:
            b.open(page)
            b.run("document.querySelector('#stages details').open = true")
            b.run("return new Promise((ok) => setTimeout(ok, 100))")
            self.assertIn("<img src=x", b.run("return document.querySelector('#stages details').innerText"))
            self.assertEqual(b.run(images), 0)
            saved = self.dir / "saved.html"
            saved.write_text("<!doctype html>" + b.run("return document.documentElement.outerHTML"), encoding="utf-8")
            b.open(saved)
            self.assertEqual(b.run(images), 0, "in a page saved from the browser")

    def test_a_failed_run_opens_and_says_what_is_missing(self):
        broken = self.dir / "broken.gguf"
        broken.write_bytes(b"GGUF" + bytes(64))
        content = plan({"path": str(broken), "id": "broken"})
        run, _ = self.measure(content, code=1)
        words = self.words_of(run.path / "report.html")
        self.assertSays(words, "the frontier cannot be drawn", "broken.gguf", "Nothing was scored and no request was counted",
                        "no variant can be named")  # fmt: skip

    def test_a_run_of_an_older_schema(self):
        page = self.page_of(self.back_to(1, FIRST_TABLES))
        self.assertSays(self.words_of(page), "No power was recorded over time.", "Which one?", "tiny")

    def test_a_run_of_the_second_schema(self):
        page = self.page_of(self.back_to(2, FIRST_TABLES | {"power"}))
        words = self.words_of(page)
        self.assertSays(words, "Which one?", "Power over time")
        self.assertNotIn("No power was recorded", words)

    def test_a_run_without_energy(self):
        page = self.page_of("DELETE FROM energy; DELETE FROM power; UPDATE cold_start SET joules = NULL, warm_joules = NULL;")
        words = self.words_of(page)
        self.assertSays(words, "No stage has an energy reading", "not measured", "refused")

    def test_power_that_was_stored_below_zero_joins_its_neighbour(self):
        point = "CAST(points AS BLOB)"
        page = self.page_of(
            f"UPDATE power SET points = CAST({point} || x'e80300000a000000000048c2' AS BLOB) WHERE length(points) >= 24;"  # 1 ms at -50 W
        )
        with browser.Browser() as b:
            b.open(page)
            self.check_quiet(b)
            watts = b.run("return powerRows().points.map((p) => p.watts)")
            self.assertGreater(len(watts), 3)
            self.assertGreaterEqual(min(watts), 0)

    def test_a_run_with_one_variant(self):
        page = self.page_of("DELETE FROM variant_stage WHERE variant_id NOT LIKE '%int4'; DELETE FROM variant WHERE precision <> 'int4';")
        self.assertSays(self.words_of(page), "no fp16 score", "Quality against cost")

    def test_a_hundred_thousand_requests(self):
        page = self.page_of(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
            INSERT INTO request SELECT (SELECT stage_id FROM stage WHERE kind = 'serve' LIMIT 1), 0, 1000 + i, 'item ' || i, 'ok',
              'stop', NULL, 10, 5, i * 1000, i * 1000, i * 1000 + 1000000 + i, i * 1000 + 9000000 + i, i * 1000 + 9000000 + i,
              NULL, NULL FROM n;
            """
        )
        self.assertLess(page.stat().st_size, 1.5e6)
        with browser.Browser() as b:
            b.open(page)
            self.check_quiet(b)
            served = b.run("const v = page.variants.find((v) => v.ttft.n > 1000); return [v.ttft.n, v.ttft.q.length, v.ttft.q[50]]")
            self.assertGreaterEqual(served[0], 100000)
            self.assertEqual(served[1], 101)
            self.assertAlmostEqual(served[2], 0.001 + 50000e-9, delta=2e-6)  # of the requests put in, which are nearly all
            self.assertEqual(b.run("return document.querySelectorAll('#latency .chart .note').length"), 0)


if __name__ == "__main__":
    unittest.main()
