#!/usr/bin/env python3
"""A picture of a report's page, as docs/report.md shows them; needs Chromium and ChromeDriver (scripts/deps.sh --lint).

usage: scripts/pictures.py PAGE.html OUT.png [--section ID] [--dark] [--print] [--size 1000x740]
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/e2e"))
import browser

SETTLE_S = 0.3  # until charts have drawn and the page has scrolled


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("page", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--section", help="id of the section that the picture begins with")
    p.add_argument("--dark", action="store_true")
    p.add_argument("--print", action="store_true", dest="printed", help="laid out as on paper")
    p.add_argument("--size", default="1000x740", help="of the window; its frame is not in the picture")
    a = p.parse_args()
    width, height = (int(n) for n in a.size.split("x"))
    with browser.Browser(width=width, height=height) as b:
        if a.printed:
            b.as_printed()
        b.open(a.page)
        b.run("document.documentElement.style.overflow = 'hidden'")
        if a.dark:
            b.run("document.getElementById('theme').click()")
        if a.section:
            b.run("document.getElementById(arguments[0]).scrollIntoView(); window.scrollBy(0, -12)", a.section)
        time.sleep(SETTLE_S)
        b.screenshot(a.out)
        if complaints := b.console():
            sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
