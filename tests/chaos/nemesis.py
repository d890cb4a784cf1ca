#!/usr/bin/env python3
"""Trains for real with ps_server and ps_worker, and breaks everything that can be broken, from a seed.

At the end a checker reads the ledger (checker.py), and the last checkpoint must have the bytes of one calm `trainer`.
Exit code 0: they are right, and no hand was needed. tests/chaos/README.md says more.
"""
import argparse
import asyncio
import collections
import json
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import checker
import players
import strangers
from relay import Relay

STUCK = 90      # seconds without a new step
SECOND = 6      # seconds that a second server or a worker with a wrong token is given


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Nemesis:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.build = pathlib.Path(args.build).resolve()
        self.rng = random.Random(args.seed)
        self.counts, self.problems = collections.Counter(), []
        self.running, self.stopped = [], collections.Counter()
        self.port = free_port()
        self.disk = players.Disk(work / "disk")
        self.run_folder = work / "disk" / "run"
        for name in ("token", "wrong-token"):
            file = work / name
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(32) + "\n")
        self.security = ["--insecure"] if args.insecure else ["--token-file", str(work / "token")]
        data_name, data_dir = ("cifar10", pathlib.Path(args.data).resolve()) if args.data else ("synthetic", work / "data")
        if not args.data:
            self.program("trainer", "data", "synth", "--dir", str(data_dir), "--train", "1500", "--test", "50")
        (work / "config.json").write_text(json.dumps(players.config(data_name, data_dir), indent=2))

    def program(self, *command):
        subprocess.run([str(self.build / command[0]), *command[1:]], cwd=self.work, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=players.die_with_parent)

    # ---- the cast

    def start(self):
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        self.loop = loop
        self.relays = []
        self.server = self.player("server", self.server_command())
        self.workers = [self.player(f"worker {i + 1}", self.worker_command(i)) for i in range(self.args.workers)]
        self.shards = [self.player(f"shard {i + 1}", self.shard_command(i)) for i in range(self.args.shards)]
        for player in self.everybody():
            player.start()

    def player(self, name, command):
        return players.Player(name, command, self.work / f"{name.replace(' ', '-')}.log", self.work)

    def everybody(self):
        return [self.server, *self.workers, *self.shards]

    def relay_to(self, port):
        """The address of a bad link of its own."""
        relay = Relay(("127.0.0.1", port), self.args.seed + len(self.relays), delay=0.004)
        asyncio.run_coroutine_threadsafe(relay.start(), self.loop).result()
        self.relays.append(relay)
        return f"127.0.0.1:{relay.port}"

    def server_command(self, *more):
        shards = ["--shards", str(self.args.shards)] if self.args.shards else []
        return [str(self.build / "ps_server"), "config.json", "--listen", f"127.0.0.1:{self.port}", *self.security, "--workers",
                str(self.args.workers), *shards, "--out", str(self.run_folder), "--resume", "auto", "--progress", "lines", *more]

    def worker_command(self, i):
        return [str(self.build / "ps_worker"), "--server", self.relay_to(self.port), *self.security, "--name",
                f"w{i + 1}", "--threads", "1", "--reconnect", "1h", "--progress", "lines"]

    def shard_command(self, i):
        port = free_port()
        return [str(self.build / "ps_server"), "--shard-of", self.relay_to(self.port), "--listen", f"127.0.0.1:{port}", "--advertise",
                self.relay_to(port), *self.security, "--name", f"s{i + 1}", "--reconnect", "1h", "--progress", "lines"]

    def tell(self, relay, command):
        self.loop.call_soon_threadsafe(relay.command, command)

    def steps(self):
        """The last line's step and run_epoch, and the ledger's size."""
        try:
            with open(self.run_folder / "ledger.jsonl", "rb") as ledger:
                size = ledger.seek(0, os.SEEK_END)
                ledger.seek(max(0, size - 5000))
                lines = ledger.read().split(b"\n")
        except OSError:
            return None, 0, 0
        for line in reversed(lines):
            try:
                entry = json.loads(line)
                return entry["step"], entry["run_epoch"], size
            except ValueError:
                continue
        return None, 0, 0

    # ---- faults: each is a generator of waits, in seconds; what stands after the last one heals it

    def end_one(self, cast, number, rng):
        player = rng.choice(cast)
        player.pause = rng.uniform(0, 3)
        player.send(number)
        yield 0

    def kill_worker(self, rng):
        yield from self.end_one(self.workers, signal.SIGKILL, rng)

    def kill_shard(self, rng):
        yield from self.end_one(self.shards, signal.SIGKILL, rng)

    def kill_server(self, rng):
        self.server.pause = rng.uniform(0, 2)
        self.server.send(signal.SIGKILL)
        yield 0

    def kill_everybody(self, rng):
        for player in self.everybody():
            player.pause = rng.uniform(0, 2)
            player.send(signal.SIGKILL)
        yield 0

    def stop(self, player, seconds):
        self.stopped[player] += 1
        player.send(signal.SIGSTOP)
        yield seconds
        player.send(signal.SIGCONT)
        self.stopped[player] -= 1

    def stop_worker_briefly(self, rng):
        yield from self.stop(rng.choice(self.workers), rng.uniform(0.1, 2.5))

    def stop_worker_beyond_its_lease(self, rng):
        yield from self.stop(rng.choice(self.workers), rng.uniform(4, 14))

    def stop_server(self, rng):
        yield from self.stop(self.server, rng.uniform(0.2, 12))

    def stop_shard(self, rng):
        yield from self.stop(rng.choice(self.shards), rng.uniform(0.2, 14))

    def worker_leaves(self, rng):
        yield from self.end_one(self.workers, signal.SIGTERM, rng)

    def shard_leaves(self, rng):
        yield from self.end_one(self.shards, signal.SIGTERM, rng)

    def server_leaves(self, rng):
        for player in [*self.workers, *self.shards]:
            player.excuse(0, 30)  # they are sent home
            player.pause = 0.5
        self.server.pause = rng.uniform(0, 2)
        self.server.send(signal.SIGTERM)
        yield 0

    def partition(self, rng):
        relay, way, seconds = rng.choice(self.relays), rng.choice(("up", "down", "both")), rng.uniform(0.5, 14)
        self.tell(relay, f"partition {way} {seconds}")
        yield seconds

    def partition_of_all(self, rng):
        seconds = rng.uniform(0.5, 5)
        for relay in self.relays:
            self.tell(relay, f"partition both {seconds}")
        yield seconds

    def on_the_wire(self, name, most=0):
        def fault(rng):
            way = rng.choice(("up", "down"))
            # The first bytes of a connection are handshakes: half of the faults fall there.
            size = f" {int(most ** rng.random())}" if most else ""
            relay = rng.choice(self.relays)
            self.tell(relay, f"{name} {way}{size}")
            if most and rng.random() < 0.5:
                self.tell(relay, f"reset {way} 0")
                self.tell(relay, f"{name} {way}{size}")
            yield 0
        return fault

    def slow_link(self, rng):
        relay, seconds = rng.choice(self.relays), rng.uniform(1, 6)
        self.tell(relay, rng.choice(("rate 20000", "rate 3000", "slice 1", "slice 13", "delay 0.05", "delay 0.5")))
        yield seconds
        for command in ("rate 0", "slice 0", "delay 0"):
            self.tell(relay, command)

    def full_disk(self, rng):
        self.server.excuse(1, 20)  # a server that begins on a full disk cannot go on
        self.disk.fill(self.server, rng.choice((0, 0, 4096, 20000)))
        killed = rng.random() < 0.3
        yield rng.uniform(0.2, 4)
        if killed:
            self.server.pause = rng.uniform(0, 1)
            self.server.send(signal.SIGKILL)
            yield 0.5
        self.disk.empty(self.server)

    def stranger(self, rng):
        yield from strangers.visit(rng, self.port, None if self.args.insecure else self.work / "token")

    def expect(self, what, command, codes, words):
        """A program that must be turned away."""
        child = subprocess.Popen(command, cwd=self.work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True, preexec_fn=players.die_with_parent)
        pid, undisturbed = self.server.process.pid, True
        for _ in range(10 * SECOND):
            undisturbed = undisturbed and not self.stopped[self.server]
            if child.poll() is not None:
                break
            yield 0.1
        undisturbed = undisturbed and self.server.alive() and self.server.process.pid == pid
        if child.poll() is None:
            child.kill()
        text = child.communicate()[1]
        if undisturbed and (child.returncode not in codes or words not in text):
            self.problems.append(f"{what}: ended with {child.returncode}, wanted {codes} and \"{words}\": {text[-500:]}")

    def second_server(self, rng):
        self.server.excuse(2, 20)  # where the first one dies just now, the second is the first
        command = self.server_command()
        command[command.index("--listen") + 1] = "127.0.0.1:0"
        yield from self.expect("second server", command, (2,), "another process is training in this run folder")

    def wrong_token(self, rng):
        relay = rng.choice(self.relays)
        command = [str(self.build / "ps_worker"), "--server", f"127.0.0.1:{self.port}", "--token-file", "wrong-token", "--reconnect",
                   "4s", "--progress", "lines", "--name", "stranger"]  # a server that has just been started listens within that
        yield from self.expect("wrong token", command, (7,), "insecure" if self.args.insecure else "token")

    def kinds(self):
        kinds = {name: getattr(self, name) for name in (
            "kill_worker", "kill_server", "kill_everybody", "stop_worker_briefly", "stop_worker_beyond_its_lease",
            "stop_server", "worker_leaves", "server_leaves", "partition", "partition_of_all", "slow_link", "full_disk",
            "stranger", "second_server", "wrong_token")}
        if self.shards:
            kinds.update({name: getattr(self, name) for name in ("kill_shard", "stop_shard", "shard_leaves")})
        for name, most in {"reset": 30000, "desert": 30000, "corrupt": 0, "duplicate": 0, "drop": 0}.items():
            kinds[f"{name}_bytes"] = self.on_the_wire(name, most)
        if unknown := set(self.args.only) - set(kinds):
            sys.exit(f"--only: no fault is called {', '.join(sorted(unknown))}; there are {', '.join(sorted(kinds))}")
        return {name: fault for name, fault in kinds.items() if not self.args.only or name in self.args.only}

    # ---- the play

    def attack(self):
        kinds, begun, told = self.kinds(), time.monotonic(), 0
        deck, next_fault, last = [], begun + 3, (None, begun)
        while time.monotonic() - begun < self.args.seconds and not self.problems:
            now = time.monotonic()
            if now >= next_fault and sum(self.counts.values()) < self.args.faults:
                deck = deck or self.rng.sample(sorted(kinds), len(kinds))  # every kind before any comes again
                name = deck.pop()
                self.counts[name] += 1
                if self.args.verbose:
                    print(f"{now - begun:8.2f} {name}", flush=True)
                self.running.append([now, kinds[name](random.Random(self.rng.getrandbits(64)))])
                next_fault = now + self.rng.expovariate(1 / self.args.every)
            self.advance()
            step, life, size = self.steps()
            if (life, size) != last[0]:
                last = ((life, size), now)
            self.judge(now - last[1])
            if now - told > 10:
                told = now
                print(f"{now - begun:6.0f} s  {sum(self.counts.values())} faults, step {step}, life {life} of the server", flush=True)
            if sum(self.counts.values()) >= self.args.faults and not self.running:
                break
            time.sleep(0.02)

    def advance(self):
        now = time.monotonic()
        for fault in list(self.running):
            while fault[0] <= now:
                try:
                    fault[0] = now + next(fault[1])
                except StopIteration:
                    self.running.remove(fault)
                    break

    def judge(self, idle):
        for player in self.everybody():
            self.problems += player.complaints
            player.complaints = []
        if idle > STUCK:
            self.problems.append(f"no step was taken for {STUCK} s")

    def heal(self):
        deadline = time.monotonic() + 30
        while self.running and time.monotonic() < deadline:
            self.advance()
            time.sleep(0.02)
        for relay in self.relays:
            self.tell(relay, "clear")
        self.disk.empty(self.server)
        for player in self.everybody():
            player.send(signal.SIGCONT)
            player.pause = 0.2

    def finish(self):
        """Lets the run end at the end of an epoch. Returns the number of epochs."""
        others = [*self.workers, *self.shards]
        for player in others:
            player.excuse(0, 60)
        self.server.retire()
        self.server.send(signal.SIGTERM)
        if (code := self.server.join(60)) is None:
            self.problems.append("the server does not stop on SIGTERM")
        step = self.steps()[0]
        epochs = (step or 0) // players.STEPS_AN_EPOCH + 8  # time for all workers to come back
        self.server = self.player("server", self.server_command("--epochs", str(epochs)))
        self.server.retire()
        self.server.start()
        time.sleep(1)  # who was just sent home
        for player in others:
            player.retire()
        for player, patience in [(self.server, 180), *((player, 30) for player in others)]:
            code = player.join(patience)
            leaving = code in (143, -signal.SIGTERM) and player is not self.server  # told so just before, by worker_leaves or shard_leaves
            if code != 0 and not leaving:
                self.problems.append(f"{player.name} should have ended with 0, got {'no end' if code is None else code}")
        self.judge(0)
        return epochs

    def verdict(self, epochs):
        entries, found = checker.read(self.run_folder / "ledger.jsonl")
        steps = epochs * players.STEPS_AN_EPOCH
        self.problems += found + checker.check(entries, steps, players.STEPS_AN_EPOCH, players.LANES, sharded=self.args.shards > 0)
        print(f"ledger: {len(entries)} lines, {steps} steps, {len({e['run_epoch'] for e in entries})} lives of the server; "
              f"the calm run now", flush=True)
        self.program("trainer", "config.json", "--epochs", str(epochs), "--out", "calm", "--progress", "none")
        digests = [players.sha256(run / "checkpoints" / "last.safetensors") for run in (self.run_folder, self.work / "calm")]
        print(f"SHA-256 of the last checkpoint: {digests[0]}\n                of the calm trainer: {digests[1]}")
        if digests[0] != digests[1]:
            self.problems.append("the last checkpoint is not that of the calm run")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=".", metavar="DIR", help="where ps_server, ps_worker and trainer are")
    parser.add_argument("--data", metavar="DIR", help="the folder of CIFAR-10 (default: synthetic pictures)")
    parser.add_argument("--seconds", type=float, default=60, help="of faults; ending and the calm run come besides")
    parser.add_argument("--faults", type=int, default=10**9, help="at most so many")
    parser.add_argument("--every", type=float, default=1.5, metavar="SECONDS", help="between two faults, on average")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], metavar="KIND,...", help="these faults alone")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--shards", type=int, default=0, help="that add up parts of gradients, each behind bad links to server and workers")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--insecure", action="store_true", help="without TLS: the frames must stand up for themselves")
    parser.add_argument("--keep", action="store_true", help="leave logs, ledger and checkpoints behind; so do failures")
    parser.add_argument("--verbose", action="store_true", help="print every fault")
    args = parser.parse_args()
    players.into_own_mounts([sys.executable, *sys.argv])

    work = pathlib.Path(tempfile.mkdtemp(prefix="nemesis-"))
    print(f"nemesis: seed {args.seed}, {args.workers} workers, {args.shards} shards, {'plain text' if args.insecure else 'TLS'}, in {work}", flush=True)
    nemesis = Nemesis(args, work)
    nemesis.start()
    try:
        nemesis.attack()
        nemesis.heal()
        if not nemesis.problems:
            nemesis.verdict(nemesis.finish())
    finally:
        for player in nemesis.everybody():
            player.retire()
            player.send(signal.SIGKILL)
        nemesis.loop.call_soon_threadsafe(nemesis.loop.stop)
    print(f"{sum(nemesis.counts.values())} faults: " + ", ".join(f"{kind} {n}" for kind, n in sorted(nemesis.counts.items())))
    for problem in nemesis.problems[:20]:
        print("FAILED:", problem)
    if nemesis.problems or args.keep:
        if nemesis.disk.own:  # which goes with this process
            shutil.copytree(nemesis.run_folder, work / "run", dirs_exist_ok=True)
        print(f"kept: {work} (seed {args.seed})")
    else:
        shutil.rmtree(work / "disk", ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    print("verdict:", "broken" if nemesis.problems else "nothing lost, nothing doubled, the same bytes")
    sys.stdout.flush()
    os._exit(1 if nemesis.problems else 0)  # the relays' half-open connections need no good-bye


if __name__ == "__main__":
    main()
