"""What the stages of tools/gpu-check share: places, commands with a deadline, the log, and lines for the table."""
import datetime
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CARRIED = ROOT / ".deps"
PACKAGES, REVISION, PICTURES = CARRIED / "packages.tar.xz", CARRIED / "revision", CARRIED / "data/cifar10-jpeg.tar.xz"


class Failed(Exception):
    """A stage that cannot go on; the text says why."""


class Stage:
    def __init__(self, args, name, deadline):
        self.args, self.name = args, name
        self.out, self.build = Path(args.out).resolve(), Path(args.build).resolve()
        self.deadline = deadline
        self.result = {"stage": name, **facts()}
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def left(self):
        return max(1.0, self.deadline - time.monotonic())

    def run(self, command, limit=None, env=None):
        """(exit status or None when it ran out of time, output). Whatever a command started ends with it."""
        words = [str(word) for word in command]
        print(f"+ {' '.join(words)}", file=sys.stderr, flush=True)
        start = time.monotonic()
        process = subprocess.Popen(words, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        try:
            output, _ = process.communicate(timeout=min(limit or self.left(), self.left()))
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, status = process.communicate()[0], None
        with open(self.out / "log.txt", "a") as log:
            end = "ran out of time" if status is None else f"exit status {status}"
            log.write(f"==== {self.name}: {' '.join(words)}\n{output[-20000:]}\n---- {end}, {time.monotonic() - start:.1f} s\n")
        return status, output

    def need(self, command, **options):
        status, output = self.run(command, **options)
        if status != 0:
            why = "ran out of time" if status is None else f"exit status {status}"
            raise Failed(f"{Path(str(command[0])).name}: {why}: {' / '.join(output.strip().splitlines()[-3:])}")
        return output

    def program(self, name):
        if not (self.build / name).exists():
            raise Failed(f"{self.build / name} is not there: run the stage build first")
        return self.build / name


def output_of(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def facts():
    revision = output_of("git", "rev-parse", "--short", "HEAD")
    if not revision and REVISION.exists():
        revision = REVISION.read_text().strip() + " (when packages were collected)"
    gpu = output_of("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "revision": revision or "unknown", "gpu": gpu or "none found", "processors": os.cpu_count()}
