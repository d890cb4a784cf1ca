#!/usr/bin/env python3
"""Opens report pages in a headless Chromium: no error, a click on a cell opens its pictures, keys move in the matrix; with
Chart.js and without. Exit codes: 0 as they should be, 1 not, 77 skipped."""
import html
import json
import re
import subprocess

import browser
import trained

WATCH = """<script>
window.wrong = [];
addEventListener('error', e => wrong.push(String(e.message)));
addEventListener('securitypolicyviolation', e => wrong.push('blocked: ' + e.blockedURI));
for (const kind of ['error', 'warn']) console[kind] = (...words) => wrong.push(words.join(' '));
</script>"""

TRY_RUN = """<script>addEventListener('load', () => setTimeout(() => {
  const found = {wrong, title: document.title, charts: document.querySelectorAll('.plot > *').length, synthetic: document.body.innerText.includes('synthetic')};
  const cells = [...document.querySelectorAll('.confusion td[role=gridcell]')], names = document.querySelectorAll('.confusion tbody tr').length;
  const most = cells.map((td, i) => [Math.floor(i / names) === i % names ? 0 : Number(td.textContent) || 0, i]).sort((a, b) => b[0] - a[0])[0];
  cells[most[1]].click();
  found.wanted = most[0];
  found.pictures = document.querySelectorAll('#cell .picture').length;
  found.described = [...document.querySelectorAll('#cell .picture')].every(p => p.getAttribute('aria-label').includes('taken for'));
  found.filled = found.pictures > 0 && getComputedStyle(document.querySelector('#cell .picture')).backgroundImage.startsWith('url("data:image/png');
  cells[0].focus();
  cells[0].dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
  found.moved = document.activeElement === cells[1];
  cells[1].dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
  found.chosen = cells[1].getAttribute('aria-selected') === 'true' && cells[most[1]].getAttribute('aria-selected') === 'false';
  found.unnamed = [...document.querySelectorAll('canvas, .plot svg')].filter(e => !e.getAttribute('aria-label')).length;
  found.wide = document.documentElement.scrollWidth - innerWidth;
  document.body.append(Object.assign(document.createElement('div'), {id: 'found', textContent: JSON.stringify(found)}));
}, 0));</script>"""

TRY_COMPARISON = """<script>addEventListener('load', () => setTimeout(() => {
  const found = {wrong, charts: document.querySelectorAll('.plot > *').length, rows: document.querySelector('main section:last-of-type') !== null,
    text: document.body.innerText, wide: document.documentElement.scrollWidth - innerWidth};
  document.body.append(Object.assign(document.createElement('div'), {id: 'found', textContent: JSON.stringify(found)}));
}, 0));</script>"""


def visit(program, bench, page, script, chart, width):
    """What the script found in the page."""
    text = (bench.folder / page).read_text()
    if "<script src" in text or re.search(r'(?:href|src)="(?!data:)', text.split("<script>", 1)[0]):
        raise RuntimeError(f"{page} links to something outside")
    text = text.replace("<head>", "<head>" + WATCH, 1).replace("</body>", script + "</body>", 1)
    if not chart:
        text = text.replace('<script type="application/json"', '<script>delete window.Chart;</script><script type="application/json"', 1)
    copy = bench.folder / "page.html"
    copy.write_text(text)
    done = subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={bench.folder}/profile", f"--window-size={width},900",
                           "--virtual-time-budget=20000", "--dump-dom", f"file://{copy}"], capture_output=True, text=True, timeout=300)
    found = re.search(r'<div id="found">(.*?)</div>', done.stdout, re.S)
    if not found:
        raise RuntimeError(f"{page}: the page did not answer: {done.stderr[-2000:]}")
    return json.loads(html.unescape(found[1]))


def check_run(found, chart, at):
    wrong = [f"{at}: {line}" for line in found["wrong"]]
    good = {"curves": found["charts"] >= 7, "synthetic data are called so": found["synthetic"], "title": found["title"] == "run · tern",
            "a click opens the cell's pictures": found["pictures"] == found["wanted"] > 0, "pictures have a text": found["described"],
            "pictures are there": found["filled"], "arrow keys move": found["moved"], "Enter chooses": found["chosen"],
            "curves have a text": found["unnamed"] == 0, "nothing sticks out": found["wide"] <= 0}
    return wrong + [f"{at}: {what}: not so; found {found}" for what, holds in good.items() if not holds]


def check(bench):
    program = browser.find() or trained.skip("no chromium (TERN_CHROMIUM: its name)")
    bench.train("--out", "run")
    bench.train("--seeds", "1..2", "--epochs", "1", "--out", "seeds")
    bench.train("--epochs", "1..2", "--out", "epochs")
    bench.run("trainer", "report", "run", "seeds", "epochs", "--out", "all.html")
    wrong = []
    for chart in (True, False):
        for width in (400, 1400):
            wrong += check_run(visit(program, bench, "run/report.html", TRY_RUN, chart, width), chart, f"run, {width} wide, Chart.js {chart}")
        for page, says in (("seeds/report.html", "over seeds"), ("epochs/report.html", "over numbers of epochs"), ("all.html", "McNemar")):
            found = visit(program, bench, page, TRY_COMPARISON, chart, 1000)
            wrong += [f"{page}: {line}" for line in found["wrong"]]
            if says not in found["text"] or found["charts"] < 6 or found["wide"] > 0:
                wrong.append(f"{page}: found {found}")
    return wrong


if __name__ == "__main__":
    trained.main(check, __doc__)
