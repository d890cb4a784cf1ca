"""The real programs of a run under attack: a server and workers that are started again whenever they end."""
import ctypes
import hashlib
import os
import resource
import signal
import subprocess
import threading
import time

NETWORK = [
    {"type": "conv2d", "name": "conv1", "out": 8, "kernel": 3, "stride": 2, "padding": 1},
    {"type": "batch_norm", "name": "bn1"}, {"type": "relu"},
    {"type": "conv2d", "name": "conv2", "out": 16, "kernel": 3, "stride": 2, "padding": 1},
    {"type": "batch_norm", "name": "bn2"}, {"type": "relu"},
    {"type": "global_avg_pool"}, {"type": "dropout", "p": 0.3}, {"type": "linear", "name": "fc", "out": 10}]
PICTURES, MICRO_BATCH, LANES = 1270, 8, 4  # the last step of an epoch has 3 lanes, the last of 6 pictures
STEPS_AN_EPOCH = -(-PICTURES // (MICRO_BATCH * LANES))


def config(data_name, data_dir):
    """A network and steps of a few milliseconds, with everything that has a state. Its epochs may be changed later."""
    return {
        "model": {"layers": NETWORK},
        "data": {"name": data_name, "dir": str(data_dir), "limit": PICTURES,
                 "augment": [{"name": "crop", "pad": 4}, {"name": "flip"}, {"name": "cutout", "size": 8}]},
        "train": {"epochs": 1000000, "micro_batch": MICRO_BATCH, "lanes": LANES, "clip_norm": 1.0, "ema": 0.9},
        "optim": [{"params": "conv*", "name": "adamw", "lr": 0.001, "no_decay": True},
                  {"params": "*", "name": "sgd", "lr": 0.01, "momentum": 0.9, "nesterov": True}],
        "schedule": {"name": "constant"},
        "run": {"seed": 7, "threads": 1},
        "log": {"every_steps": 100, "tensorboard": False},
        "checkpoint": {"every_steps": 25, "keep": 3}}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def die_with_parent():
    """In the child: a nemesis that is killed leaves nothing running. A full disk by file size must not be a signal."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


class Player:
    """A program that is started again whenever it ends, as an init system would. Ends that nobody caused are noted."""

    def __init__(self, name, command, log, directory):
        self.name, self.command, self.log, self.directory = name, command, log, directory
        self.lock = threading.RLock()
        self.process, self.starts = None, 0
        self.excused = {}           # exit code -> until when it is nothing to wonder at
        self.complaints = []
        self.restarting, self.pause = True, 0.2
        self.thread = threading.Thread(target=self.keep_alive, daemon=True)

    def start(self):
        self.thread.start()

    def keep_alive(self):
        while True:
            with self.lock:
                if not self.restarting and self.starts > 0:
                    return
                with open(self.log, "ab") as log:
                    log.write(f"--- start {self.starts + 1}: {' '.join(self.command)}\n".encode())
                    log.flush()
                    self.process = subprocess.Popen(self.command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log,
                                                    stderr=log, preexec_fn=die_with_parent)
                self.starts += 1
            code = self.process.wait()
            with self.lock:
                self.last_code = code
                if time.monotonic() > self.excused.get(code, 0) and (code != 0 or self.restarting):
                    self.complaints.append(f"{self.name} ended by itself with code {code} (start {self.starts}, {self.log})")
                again = self.restarting
            if not again:
                return
            time.sleep(self.pause)

    def excuse(self, code, seconds):
        with self.lock:
            self.excused[code] = max(self.excused.get(code, 0), time.monotonic() + seconds)

    def send(self, number):
        """A signal to the process, if there is one. A kill and a term are excused."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                return False
            if number == signal.SIGKILL:
                self.excuse(-number, 1e9)
            if number == signal.SIGTERM:
                self.excuse(143, 30)
                self.excuse(-number, 30)  # it came before main()
            self.process.send_signal(number)
            return True

    def alive(self):
        with self.lock:
            return self.process is not None and self.process.poll() is None

    def limit_files(self, size):
        """The most bytes that a file of the process may have; None: as many as it likes."""
        with self.lock:
            if self.process is not None and self.process.poll() is None:
                hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
                resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

    def retire(self):
        """It is not started again."""
        with self.lock:
            self.restarting = False

    def join(self, seconds):
        """Its exit code, or None where it is still there after `seconds`."""
        self.thread.join(seconds)
        return None if self.thread.is_alive() else self.last_code


class Disk:
    """The run's disk: a tmpfs of its own where one may be mounted, to be made full and empty again."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.own = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", str(folder)],
                                  capture_output=True).returncode == 0

    def resize(self, size):
        return subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], capture_output=True).returncode == 0

    def fill(self, server, room):
        """Leaves about `room` bytes."""
        if not self.own:
            return server.limit_files(max(room, 4096))
        status = os.statvfs(self.folder)
        return self.resize((status.f_blocks - status.f_bfree) * status.f_frsize + room)

    def empty(self, server):
        self.resize("4g") if self.own else server.limit_files(None)


def into_own_mounts(argv):
    """Runs this program anew where it may mount, if the system lets it: mounts then go when it ends, however it ends."""
    probe = ["unshare", "--mount", "--map-root-user"]
    if os.environ.get("NEMESIS_MOUNTS"):
        return
    try:
        allowed = subprocess.run(probe + ["mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0
    except OSError:
        allowed = False
    if allowed:
        os.environ["NEMESIS_MOUNTS"] = "1"
        os.execvp(probe[0], probe + argv)
