"""A headless Chromium, spoken to over a pipe in its own protocol (chromedevtools.github.io/devtools-protocol)."""
import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess


def find():
    """The browser's name (TERN_CHROMIUM, or one of the usual), or None."""
    for name in filter(None, [os.environ.get("TERN_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]):
        if shutil.which(name) and subprocess.run([name, "--version"], capture_output=True).returncode == 0:
            return name
    return None


class Browser:
    """One page. `with Browser(name, folder) as page:`"""

    def __init__(self, program, profile, size=(1400, 900)):
        ours, theirs = os.pipe(), os.pipe()  # it reads descriptor 3 and writes 4

        def join():
            read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (ours[0], theirs[1]))  # neither is 3 or 4 now
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--remote-debugging-pipe"],
            preexec_fn=join, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(ours[0])
        os.close(theirs[1])
        self.to, self.answers = os.fdopen(ours[1], "wb", 0), os.fdopen(theirs[0], "rb")
        self.numbers, self.waiting, self.session = itertools.count(1), b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def message(self):
        while b"\0" not in self.waiting:
            some = self.answers.read1(1 << 16)
            if not some:
                raise RuntimeError("the browser has ended")
            self.waiting += some
        first, self.waiting = self.waiting.split(b"\0", 1)
        return json.loads(first)

    def call(self, method, **params):
        number = next(self.numbers)
        self.to.write(json.dumps({"id": number, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})).encode() + b"\0")
        while (answer := self.message()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def run(self, script):
        """The value of a JavaScript expression; a promise is waited for."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"])[:1000])
        return result["result"].get("value")

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
