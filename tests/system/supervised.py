"""A real supervising process over services of the test's own.

Three ways to run it, one life cycle to see: as PID 1 of a PID namespace, or as an ordinary process (a subreaper).
Everything is waited for by asking the supervisor itself, with generous deadlines: a slow machine is no failure.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("SUPERVISOR_BIN", os.path.join(TOP, "build", "supervisor"))
DEADLINE_S = int(os.environ.get("DEADLINE_S", "60"))


def wait_for(what, condition, deadline_s=DEADLINE_S):
    """Asks again and again; what it last answered is in the message of a failure."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {deadline_s} s; last: {value!r}")
        time.sleep(0.02)


class Supervised:
    """Use as a context: services is {file name: text}; a profile called "test" holds those listed in `start`.

    @RUN@ in any text stands for the run directory of this supervisor.
    """

    def __init__(self, services, start, namespace=False, files=None, extra=()):
        self.directory = tempfile.mkdtemp(prefix="supervised-")
        self.config = os.path.join(self.directory, "config")
        self.run = os.path.join(self.directory, "run", "supervisor")
        self.namespace = namespace
        self.extra = list(extra)
        self.wrap = []  # a program that executes its arguments, the supervisor
        self.prefix = []  # with a namespace: more options of unshare(1), and a program that executes its arguments
        os.makedirs(os.path.dirname(self.run))
        if os.path.basename(os.path.dirname(BINARY)) == "asan":
            # An empty root holds no dynamic loader, and the shipped filter no calls of a sanitizer.
            with open(os.path.join(TOP, "services/log/log.service"), encoding="utf-8") as file:
                self.write("services/log.service", "".join(line for line in file
                                                           if line.split(" ")[0] not in ("root", "seccomp", "memory-max")))
        for name, text in services.items():
            self.write(f"services/{name}.service", text)
        self.write("profiles/test.profile", f"description = test\nservices = {start}\n")
        for name, text in (files or {}).items():
            self.write(name, text)
        os.chmod(self.directory, 0o755)
        self.process = None

    def write(self, name, text):
        path = os.path.join(self.config, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("@RUN@", self.run))
        return path

    def path(self, name):
        return os.path.join(self.directory, name)

    def __enter__(self):
        command = [*self.wrap, BINARY, "--profile=test", f"--config={self.config}", f"--run={self.run}", *self.extra]
        if self.namespace:
            command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *self.prefix, *command]
        self.console = open(self.path("console"), "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.console, stderr=self.console,
                                        start_new_session=True)
        wait_for("the control socket", lambda: os.path.exists(os.path.join(self.run, "control"))
                 or self.process.poll() is not None)
        assert self.process.poll() is None, self.messages()
        return self

    def __exit__(self, kind, value, traceback):
        try:
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
                self.process.wait(timeout=DEADLINE_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.console.close()
            if kind is not None:
                print(self.messages())
            shutil.rmtree(self.directory, ignore_errors=True)

    def main_pid(self):
        """The supervisor itself, seen from outside its namespace."""
        if not self.namespace:
            return self.process.pid
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            return int(file.read().split()[0])

    def signal(self, number):
        os.kill(self.main_pid(), number)

    def messages(self):
        with open(self.path("console"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def ctl(self, *arguments, timeout=DEADLINE_S):
        return subprocess.run([BINARY, *arguments], env={**os.environ, "SUPERVISOR_RUN": self.run}, text=True,
                              capture_output=True, timeout=timeout, check=False)

    def ctl_begin(self, *arguments):
        return subprocess.Popen([BINARY, *arguments], env={**os.environ, "SUPERVISOR_RUN": self.run}, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def processes(self):
        """All below the supervisor, seen from outside its namespace."""
        found, todo = [], [self.main_pid()]
        while todo:
            pid = todo.pop()
            try:
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                    children = [int(word) for word in file.read().split()]
            except FileNotFoundError:
                continue
            found += children
            todo += children
        return found

    def outside(self, pid):
        """A pid that the supervisor tells, as it is seen from outside its namespace."""
        if not self.namespace:
            return pid
        for found in self.processes():
            with open(f"/proc/{found}/status", encoding="utf-8") as file:
                numbers = [line.split()[1:] for line in file if line.startswith("NSpid:")][0]
            if int(numbers[-1]) == pid:
                return found
        raise AssertionError(f"no process has pid {pid} inside")

    def status(self, name=None):
        answer = self.ctl("status", *([name] if name else []), "--json")
        assert answer.returncode == 0, answer.stderr
        status = json.loads(answer.stdout)
        return status["services"][0] if name else status

    def state(self, name):
        return self.status(name)["state"]

    def wait_state(self, name, state):
        return wait_for(f"{name} {state}", lambda: self.state(name) == state and self.status(name))
