#!/usr/bin/env python3
"""Judges a parameter server's run by its ledger alone.

    checker.py RUN/ledger.jsonl [--steps N] [--steps-an-epoch N] [--lanes N] [--mode bsp|asp|ssp|epoch] [--sharded]
    checker.py --self-test

Within one life of a server (a run_epoch), steps follow each other, each once; a life goes on from at most one step after
the last that was taken before. A step that several lives took has the same gradient, parameters and lanes' results in all.
A step's lanes are cut into parts without overlap or hole. Modes asp and ssp keep only "each step once" within a life.
"""
import argparse
import copy
import json
import sys


def read(path):
    """The entries of a ledger. A line that a kill cut short is passed over: it is the last of its life."""
    entries, problems, cut = [], [], None
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
            except ValueError:
                if cut is not None and (not entries or entries[-1]["run_epoch"] <= cut[1]):
                    problems.append(f"line {number}: a second line of one life that does not parse")
                cut = (number, entries[-1]["run_epoch"] if entries else 0)
                continue
            if cut is not None and entry["run_epoch"] <= cut[1]:
                problems.append(f"line {cut[0]}: does not parse, and its life goes on after it")
                cut = None
            entries.append(entry)
    return entries, problems


def lanes_of(entry):
    """How many lanes the entry covers, or None where there is an overlap or a hole."""
    at = 0
    for first, count, _, _ in sorted(entry["lanes"]):
        if first != at or count < 1:
            return None
        at += count
    return at or None


def check(entries, steps=None, steps_an_epoch=None, lanes=None, mode="bsp", sharded=False):
    """A list of what is wrong, in words. Empty: nothing. With shards a result has the digests of its parts, whose number changes."""
    exact = mode in ("bsp", "epoch")
    problems = []
    known = {}   # step -> the first entry of it
    parts = {}   # (step, first, count) -> digest
    taken = set()  # steps of the life that is read
    life, last, first = 0, -1, True
    for entry in entries:
        step, where = entry["step"], f"run_epoch {entry['run_epoch']}, step {entry['step']}"
        if entry["run_epoch"] < life:
            problems.append(f"{where}: stands after run_epoch {life}: two servers at once?")
        elif entry["run_epoch"] > life:
            life, taken, first = entry["run_epoch"], set(), True
            if exact and step > len(known):
                problems.append(f"{where}: the life begins there, and steps from {len(known)} were never taken")
        if step in taken:
            problems.append(f"{where}: taken twice in one life")
        if exact and not first and step not in taken and step != last + 1:
            problems.append(f"{where}: follows step {last}")
        taken.add(step)
        last, first = step, False
        covered = lanes_of(entry)
        if covered is None:
            problems.append(f"{where}: lanes overlap or are missing: {entry['lanes']}")
        if lanes and covered and covered != lanes and not (steps_an_epoch and (step + 1) % steps_an_epoch == 0 and covered < lanes):
            problems.append(f"{where}: {covered} lanes, wanted {lanes}")
        before = known.setdefault(step, entry)
        if not exact:
            continue
        for name in ("gradient", "parameters"):
            if before[name] != entry[name]:
                problems.append(f"{where}: {name} {entry[name]}, but {before[name]} in run_epoch {before['run_epoch']}")
        for begin, count, _, digest in [] if sharded else entry["lanes"]:
            if parts.setdefault((step, begin, count), digest) != digest:
                problems.append(f"{where}: the result for lanes {begin} to {begin + count - 1} differs from an earlier one")
    for step in sorted(set(range(steps if steps is not None else len(known))) - set(known))[:5]:
        problems.append(f"step {step} is lost: no life took it")
    if steps is not None and known and max(known) >= steps:
        problems.append(f"step {max(known)} was taken, and the run has {steps}")
    return problems


def self_test():
    """Every rule is broken once: a checker that finds nothing must not pass for a run that is right."""
    def entry(life, step, lanes=((0, 2, 1, "a"), (2, 2, 2, "b")), gradient="g", parameters="p"):
        return {"run_epoch": life, "step": step, "lanes": [list(lane) for lane in lanes],
                "gradient": f"{gradient}{step}", "parameters": f"{parameters}{step}"}

    good = [entry(1, s) for s in range(6)] + [entry(3, s) for s in range(4, 10)]
    assert check(good, steps=10, lanes=4) == [], check(good, steps=10, lanes=4)

    def broken(change):
        entries = copy.deepcopy(good)
        change(entries)
        return check(entries, steps=10, lanes=4)

    changes = {
        "a step is lost at the end": lambda e: e.pop(),
        "a step is lost in the middle": lambda e: e.pop(8),
        "a step is doubled": lambda e: e.insert(3, copy.deepcopy(e[3])),
        "steps change places": lambda e: e.insert(2, e.pop(3)),
        "a life begins too late": lambda e: [e.pop(6) for _ in range(4)],
        "two lives are mixed": lambda e: e.append(e.pop(2)),
        "another gradient after the restart": lambda e: e[6].update(gradient="other"),
        "other parameters after the restart": lambda e: e[7].update(parameters="other"),
        "another result after the restart": lambda e: e[6]["lanes"][0].__setitem__(3, "other"),
        "lanes overlap": lambda e: e[1]["lanes"][1].__setitem__(0, 1),
        "a lane is missing": lambda e: e[1]["lanes"].pop(),
        "a step too many": lambda e: e.append(entry(3, 10)),
    }
    for name, change in changes.items():
        assert broken(change), f"the checker does not see it: {name}"
    doubled = [entry(1, 1), entry(1, 0), entry(1, 1)]
    assert check(doubled[:2], steps=2, mode="asp") == [] and check(doubled, steps=2, mode="asp")
    print(f"the checker sees all of {len(changes) + 1} planted faults")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", nargs="?")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--steps-an-epoch", type=int)
    parser.add_argument("--lanes", type=int)
    parser.add_argument("--mode", choices=("bsp", "asp", "ssp", "epoch"), default="bsp")
    parser.add_argument("--sharded", action="store_true", help="the server had shards")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        return self_test()
    if not args.ledger:
        parser.error("which ledger?")
    entries, problems = read(args.ledger)
    problems += check(entries, args.steps, args.steps_an_epoch, args.lanes, args.mode, args.sharded)
    for problem in problems[:20]:
        print(problem)
    lives = len({entry["run_epoch"] for entry in entries})
    print(f"{len(entries)} lines, {len({entry['step'] for entry in entries})} steps, {lives} lives: "
          + (f"{len(problems)} problems" if problems else "nothing lost, nothing doubled"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
