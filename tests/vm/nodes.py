"""The six virtual machines of the demo, for tests: a directory and a port of their own, the demo's site and the tests' pages.

Machines are asked through the demo's agent, as `demo ctl` and `demo read` do it. Nothing is timed here: everything is waited for by
asking, with deadlines that a slow machine keeps too.
"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import types
import urllib.parse

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build"))
DEMO = os.path.join(TOP, "image", "demo")
sys.path.insert(0, DEMO)
import agent  # noqa: E402
import cluster as recipe  # noqa: E402
import state  # noqa: E402

NODES = {"data1": "10.77.0.11", "data2": "10.77.0.12", "php1": "10.77.0.21", "php2": "10.77.0.22",
         "web1": "10.77.0.31", "web2": "10.77.0.32"}
SHARES = {"a.example": ("10.77.0.101", "data1"), "b.example": ("10.77.0.102", "data2")}
DEADLINE_S = 120
CTL_PORTS = 3


def of_role(role):
    return [name for name in NODES if name.startswith(role)]


def wait_for(what, condition, deadline_s=DEADLINE_S):
    """Asks again and again; what it last answered is in the message of a failure."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {deadline_s} s; last: {value!r}")
        time.sleep(0.1)


def at_once(*calls):
    """Runs all calls in threads; returns their results in order."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


class Cluster:
    def __init__(self, directory):
        self.directory = directory
        self.state = state.State(os.path.join(directory, "state"))
        self.site = os.path.join(directory, "site")
        self.port = None

    # --- the demo's own commands

    def demo(self, *words, code=0, timeout=400):
        """./build.sh demo WORDS, without looking at the build again. code=None: any."""
        done = subprocess.run(["/usr/bin/python3", os.path.join(DEMO, "demo.py"), "--state", self.state.path, *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False)
        if code is not None:
            assert done.returncode == code, f"demo {' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def make_site(self):
        """The demo's site; each share gets the tests' pages as well."""
        shutil.rmtree(self.site, ignore_errors=True)
        shutil.copytree(os.path.join(DEMO, "site"), self.site)
        pages = os.path.join(TOP, "tests", "vm", "site")
        for share in SHARES:
            for name in os.listdir(pages):
                shutil.copy(os.path.join(pages, name), os.path.join(self.site, share, name))

    def up(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        return self.demo("--port", str(self.port), "--site", self.site, "up")

    def reset(self):
        if os.path.exists(self.state.path):
            self.demo("reset", code=None)
            shutil.rmtree(self.state.path, ignore_errors=True)

    def console(self, node, old=False):
        with contextlib.suppress(FileNotFoundError):
            with open(self.state.in_run(f"{node}.console{'.old' if old else ''}"), "rb") as file:
                return file.read().decode("utf-8", "replace").replace("\r", "")
        return ""

    def image(self, role):
        return recipe.Cluster(self.state, BUILD, self.site, None).image(role)

    # --- one machine

    def _ports(self, node):
        return [f"{node}.ctl{index}" for index in range(1, CTL_PORTS + 1)]

    def ctl(self, node, *words, timeout=DEADLINE_S):
        code, out, err = agent.run(self.state, self._ports(node), words, timeout)
        return types.SimpleNamespace(code=code, out=out.decode("utf-8", "replace"), err=err.decode("utf-8", "replace"))

    def do(self, node, *words, timeout=DEADLINE_S):
        answer = self.ctl(node, *words, timeout=timeout)
        assert answer.code == 0, f"{node}: supervisor {' '.join(words)}: exit code {answer.code}\n{answer.out}{answer.err}"
        return answer.out

    def read(self, node, path):
        return agent.read(self.state, self._ports(node), path, DEADLINE_S).decode("utf-8", "replace")

    def status(self, node):
        return json.loads(self.do(node, "status", "--json"))

    def service(self, node, name):
        return json.loads(self.do(node, "status", name, "--json"))["services"][0]

    def members(self, node):
        return {member["name"]: member for member in json.loads(self.do(node, "members", "--json"))}

    def mounts(self, node):
        """Mount point -> (device, type, options) as the kernel tells them."""
        return {words[1]: (words[0], words[2], words[3].split(","))
                for words in (line.split() for line in self.read(node, "/proc/mounts").splitlines())}

    def process_status(self, node, pid):
        """/proc/PID/status as a mapping."""
        return {key: value.strip() for key, _, value in
                (line.partition(":") for line in self.read(node, f"/proc/{pid}/status").splitlines())}

    def drbd(self, node):
        """The fields of the device's line in /proc/drbd: {"cs": "Connected", "ro": …, "ds": …}."""
        for line in self.read(node, "/proc/drbd").splitlines():
            if line.lstrip().startswith("0:"):
                return dict(word.split(":", 1) for word in line.split()[1:] if ":" in word)
        return {}

    def wait_ready(self, nodes=None, deadline_s=DEADLINE_S):
        """Until every service of these nodes is ready."""
        for node in nodes or NODES:
            wait_for(f"{node} ready", lambda node=node: self.is_ready(node), deadline_s)

    def is_ready(self, node):
        try:
            status = self.status(node)
        except agent.NoAnswer:
            return False
        return status["ready"] and not status["stopping"]

    def kill_service(self, node, name):
        """SIGKILL, then its new process. Returns (before, after)."""
        before = self.service(node, name)
        self.do(node, "kill", name, "KILL")

        def again():
            now = self.service(node, name)
            return now if now["state"] == "ready" and now["pid"] not in (0, before["pid"]) else None
        return before, wait_for(f"{name} of {node} back", again)

    # --- the site

    def get(self, path="/", host="a.example", timeout=DEADLINE_S):
        """(status, body) through the web address."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def page(self, path="/?json", host="a.example", timeout=DEADLINE_S):
        status, body = self.get(path, host, timeout)
        assert status == 200, f"{host}{path}: {status}\n{body}"
        return json.loads(body)

    def fcgi(self, php, page, share="a.example", via="web1", timeout=DEADLINE_S, **query):
        """A page made by a chosen PHP machine, asked from inside a web machine."""
        out = self.do(via, "fcgi", f"{NODES[php]}:9000", f"/srv/{share}/{page}", urllib.parse.urlencode(query), timeout=timeout)
        return json.loads(out.replace("\r", "").partition("\n\n")[2])

    # --- for a failure's report

    def describe(self, lines=25):
        """What every machine says of itself, and the end of its console."""
        parts = []
        for node in NODES:
            try:
                answer = self.ctl(node, "status", timeout=5)
                parts.append(f"--- {node}\n{answer.out}{answer.err}")
                parts.append(self.ctl(node, "members", timeout=5).out)
            except (agent.NoAnswer, agent.Refused) as error:
                parts.append(f"--- {node}: {error}\n")
            parts.append("".join(f"    | {line}\n" for line in self.console(node).splitlines()[-lines:]))
        return "".join(parts)
