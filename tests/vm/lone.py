"""One small virtual machine with an image and a configuration of a test's own: no switch, no other nodes."""

import contextlib
import io
import json
import os
import socket
import subprocess
import tarfile
import time

from nodes import BUILD, DEADLINE_S, TOP, agent, state, wait_for
import machine


def headers(where):
    """The kernel's headers for musl-gcc, which has its own idea of /usr/include."""
    there = os.path.join(where, "include")
    os.makedirs(there, exist_ok=True)
    for name, source in (("linux", "linux"), ("asm-generic", "asm-generic"), ("asm", "x86_64-linux-gnu/asm")):
        with contextlib.suppress(FileExistsError):
            os.symlink("/usr/include/" + source, os.path.join(there, name))
    return there


def bake(directory, role, *additions):
    """The image of a role with files of the test's own; returns its directory."""
    out = os.path.join(directory, "image")
    words = [word for source, place in additions for word in ("--add", f"{source}:{place}")]
    subprocess.run([os.path.join(TOP, "image/bake.sh"), f"--profile={role}", "--out", out, "--compress=none", *words],
                   check=True, capture_output=True)
    return out


class Lone(machine.Machine):
    """Started by power_on with the files of its config disk and the words of its kernel command line."""

    def __init__(self, directory, image, name="lone"):
        made = state.State(os.path.join(directory, "state"))
        made.make()
        super().__init__(made, name, "web", 31, image, {"config": (os.path.join(made.disks, "config.raw"), True)})
        self.words = []

    def command(self, accel):
        words = super().command(accel)
        words[words.index("-append") + 1] = "console=ttyS0 net.ifnames=0 panic=1 no_timer_check cryptomgr.notests " \
            f"mitigations=off quiet loglevel=4 {' '.join(self.words)}"
        words[words.index("-netdev") + 1] = "hubport,id=net,hubid=0"  # a network with nobody in it
        return words

    def power_on(self, files, *words):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(text.encode()), 0o600
                tar.addfile(info, io.BytesIO(text.encode()))
        with open(self.disks["config"][0], "wb") as file:
            file.write(content.getvalue())
        self.words = words
        self.start(machine.Accelerator("tcg"))

    def off(self):
        """Whether QEMU has ended."""
        return self.reap() is not None

    def wait_off(self, deadline_s=DEADLINE_S):
        begin = time.monotonic()
        wait_for("the machine goes off", self.off, deadline_s)
        return time.monotonic() - begin

    def said(self):
        if not self.has_spoken():
            return ""
        with open(self.log(), "rb") as file:
            return file.read().decode("utf-8", "replace").replace("\r", "")

    def wait_said(self, text, deadline_s=DEADLINE_S, times=1):
        wait_for(f"{text!r} on the console", lambda: self.said().count(text) >= times or (self.off() and "off"), deadline_s)
        assert self.said().count(text) >= times, self.said()

    def ctl(self, *words, timeout=DEADLINE_S):
        code, out, err = agent.run(self.state, self.ctl_ports, words, timeout)
        return code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def do(self, *words, timeout=DEADLINE_S):
        code, out, err = self.ctl(*words, timeout=timeout)
        assert code == 0, f"supervisor {' '.join(words)}: exit code {code}\n{out}{err}"
        return out

    def end(self, *words):
        """A verb that ends the machine: the agent may be told to end before its answer is through."""
        try:
            self.do(*words)
        except agent.NoAnswer:
            pass
        except agent.Refused as error:
            if not error.is_goodbye():
                raise

    def read(self, path):
        return agent.read(self.state, self.ctl_ports, path, DEADLINE_S).decode("utf-8", "replace")

    def status(self):
        return json.loads(self.do("status", "--json"))

    def service(self, name):
        return json.loads(self.do("status", name, "--json"))["services"][0]

    def wait_status(self, what, condition):
        """Until condition(STATUS): from its power-on, and across its resets."""
        def look():
            with contextlib.suppress(agent.NoAnswer, agent.Refused):
                code, out, _ = self.ctl("status", "--json", timeout=10)
                return code == 0 and condition(json.loads(out))
            return False
        wait_for(what, look)

    def wait_ready(self):
        self.wait_status("all services ready", lambda status: status["ready"])

    @contextlib.contextmanager
    def events(self):
        """Calls next(NAME): QEMU's next event of that name."""
        with self.state.connect(self.name + ".qmp", DEADLINE_S) as sock, sock.makefile("rw") as lines:
            lines.readline()
            lines.write('{"execute": "qmp_capabilities"}\n')
            lines.flush()

            def next_event(name):
                while True:
                    line = lines.readline()
                    assert line, f"QEMU ended without {name}"
                    event = json.loads(line)
                    if event.get("event") == name:
                        return event
            yield next_event


__all__ = ["BUILD", "Lone", "bake", "headers", "socket"]
