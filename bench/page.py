#!/usr/bin/env python3
"""How large report.html is and how soon it is ready for use: one JSON line a page, the median of several visits.

The time runs from the start of the navigation until every script of the page is done, in Chromium without a network; goals:
under 1.5 MB for 72 variants, ready within 1 s. Needs Chromium and ChromeDriver (scripts/deps.sh --lint).

usage: bench/page.py [--visits 5] PAGE.html...
"""

import argparse
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/e2e"))
import browser

WATCH = """
new MutationObserver((_, observer) => {
  if (document.documentElement?.dataset.ready) {
    globalThis.readyMs = performance.now();
    observer.disconnect();
  }
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-ready"] });
"""


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("pages", nargs="+", type=pathlib.Path)
    p.add_argument("--visits", type=int, default=5)
    a = p.parse_args()
    for page in a.pages:
        times = []
        for _ in range(a.visits):
            with browser.Browser() as b:
                b.before_pages(WATCH)
                b.open(page)
                times.append(b.run("return globalThis.readyMs"))
        print(json.dumps({"page": str(page), "bytes": page.stat().st_size, "ready_ms": round(statistics.median(times)),
                          "slowest_ms": round(max(times))}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
