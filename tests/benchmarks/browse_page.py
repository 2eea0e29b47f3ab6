"""A page in a browser: errors, loading from elsewhere, sorting, filtering, accessibility; two widths, light and dark.

``python tests/benchmarks/browse_page.py PAGE.html [--axe axe.min.js] [--pictures DIR]``, with Playwright from PyPI in
an environment of its own, Chromium of the system and, for accessibility, axe-core of npm. Ends with 1 if something is
wrong.
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

SIZES = ((1280, "light"), (390, "dark"))


def sorted_by(page: Page, table: int, column: int) -> list[str]:
    """The cells of a column after a click on its heading."""
    grid = page.locator("table").nth(table)
    grid.locator("thead th").nth(column).locator("button").click()
    return grid.locator(f"tbody tr td:nth-child({column + 1})").all_text_contents()


def problems_of(page: Page, axe: str | None) -> list[str]:
    """What is wrong with a page that is loaded."""
    problems = []
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        problems.append("wider than the window")
    for table in range(page.locator("table").count()):
        for column in range(page.locator("table").nth(table).locator("thead th").count()):
            if page.locator("table").nth(table).locator("thead th").nth(column).locator("button").count():
                up, down = sorted_by(page, table, column), sorted_by(page, table, column)
                if len(set(up)) > 1 and up == down:
                    problems.append(f"table {table}, column {column}: is not sorted")
    fields = page.locator("input[type=search]")
    if fields.count():
        fields.first.fill("no line has this text")
        if page.locator("label.filter + .scroll tbody tr:visible").count() and fields.count() == 1:
            problems.append("the filter hides nothing")
        fields.first.fill("")
    if axe:
        page.add_script_tag(path=axe)
        found = page.evaluate("axe.run()")["violations"]
        problems += [f"{one['impact']}: {one['id']}" for one in found if one["impact"] in ("serious", "critical")]
    return problems


def main() -> None:
    """Print what is wrong, by width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page")
    parser.add_argument("--axe", help="axe.min.js of axe-core")
    parser.add_argument("--pictures", help="a folder for pictures of the page")
    arguments = parser.parse_args()
    wrong = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, scheme in SIZES:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, bypass_csp=True
            )
            page, heard = context.new_page(), list[str]()
            page.on("console", lambda message, heard=heard: heard.append(message.text))
            page.on("pageerror", lambda error, heard=heard: heard.append(str(error)))
            page.on("requestfailed", lambda request, heard=heard: heard.append(f"asked for {request.url}"))
            page.goto(Path(arguments.page).absolute().as_uri())
            if arguments.pictures:
                page.screenshot(path=str(Path(arguments.pictures) / f"{width}_{scheme}.png"), full_page=True)
            problems = heard + problems_of(page, arguments.axe)
            wrong = wrong or bool(problems)
            print(f"{width} px, {scheme}: {'; '.join(problems) or 'nothing wrong'}")
        browser.close()
    sys.exit(wrong)


if __name__ == "__main__":
    main()
