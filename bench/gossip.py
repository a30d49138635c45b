"""The gossip beside serf (Debian's package serf): real processes, each on an address in a network namespace of its own on
one bridge; above 20, on addresses of the loopback device of one namespace. gossip.py [6] [100]: which sizes; both if none is given. Root only.

Both are measured from outside in the same way: bytes and packets at the bridge's ports (or the loopback device), with all headers; processor and
memory from /proc; the time of a death from kill(2) until each of the others says so on its own output. All of them, serf too,
have the best nice value: what else the machine does is no part of this.
"""

import json
import os
import pathlib
import re
import resource
import select
import signal
import statistics
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP / "tests/helpers"), str(TOP / "tests/system")]
os.environ.setdefault("SUPERVISOR_BIN", str(pathlib.Path(os.environ.get("BUILD", TOP / "build")) / "supervisor"))
from gossip_cluster import Cluster, Node  # noqa: E402  pylint: disable=wrong-import-position
from network import Loopback, Network  # noqa: E402  pylint: disable=wrong-import-position

PORT = 7946
LOSS_PERCENT = 5
STOPPED_MS, RUNNING_MS = 270, 30  # of the starved one: a tenth of its processor
STARVED_SECONDS = 40
LOAD_SECONDS = 15
FIRST = ["nice", "-n", "-20"]


class Ours(Cluster):
    name = "supervisor"

    def __init__(self, network, count):  # pylint: disable=super-init-not-called
        self.network = network
        self.nodes = [Node(i, f"node{i}", network.address(i), PORT) for i in range(count)]
        for node in self.nodes:
            node.socket = network.socket(node.index, PORT)
            node.socket.setblocking(False)

    def up(self):
        for node in self.nodes:
            self.start(node, prefix=FIRST)
        self.until(self.all_alive, 120)

    def pid(self, index):
        return self.nodes[index].process.pid

    def death(self, index):
        """Seconds until each of the others says so."""
        victim, seen = self.nodes[index], {}
        start = time.monotonic()
        self.kill(victim)
        while len(seen) < len(self.nodes) - 1 and time.monotonic() - start < 60:
            self.pump(0.1)
            now = time.monotonic() - start
            for node in self.running():
                if node.state(index) == "dead":
                    seen.setdefault(node.index, now)
        return seen

    def again(self, index):
        self.start(self.nodes[index], prefix=FIRST)
        self.until(self.all_alive, 60)

    def forget(self):
        for node in self.nodes:
            node.history.clear()

    def wait(self, seconds):
        self.run(seconds)

    def said(self, state, index):
        """How often any of them said that of this one, and of another one."""
        whom = [i for node in self.nodes for i, s in node.history if s == state]
        return f"{whom.count(index)}+{len(whom) - whom.count(index)}"


class Serf:
    def __init__(self, network, count, profile):
        self.network, self.count, self.profile = network, count, profile
        self.name = f"serf, profile {profile}"
        self.process, self.buffer, self.events, self.view = {}, {}, [], {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.process.values():
            process.kill()
        for process in self.process.values():
            process.wait()
            process.stdout.close()

    def start(self, index):
        address = self.network.address(index)
        join = [] if index == 0 and not self.view else [f"-join={self.network.address((index + 1) % self.count if index == 0 else 0)}"]
        process = subprocess.Popen(self.network.command(index, [
            *FIRST, "serf", "agent", f"-node=node{index}", f"-bind={address}:{PORT}", f"-profile={self.profile}", "-log-level=info",
            f"-rpc-addr={address}:7373", *join]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.set_blocking(process.stdout.fileno(), False)
        self.process[index], self.buffer[index], self.view[index] = process, b"", {}

    def up(self):
        for index in range(self.count):
            self.start(index)
            if index == 0:
                self.wait(1)
        self.until(lambda: all(len([s for s in view.values() if s == "alive"]) >= self.count
                               for view in self.view.values()), 240)

    def pump(self, seconds):
        files = {process.stdout: index for index, process in self.process.items()}
        for file in select.select(list(files), [], [], seconds)[0]:
            index = files[file]
            data = file.read()
            if not data:
                raise RuntimeError(f"serf {index} ended")
            self.buffer[index] += data
            *lines, self.buffer[index] = self.buffer[index].split(b"\n")
            for line in lines:
                found = re.search(rb"EventMember(Join|Failed|Leave): node(\d+) ", line)
                suspect = re.search(rb"Suspect node(\d+) has failed", line)
                if found:
                    state = {"Join": "alive", "Failed": "dead", "Leave": "left"}[found[1].decode()]
                    self.view[index][int(found[2])] = state
                    self.events.append((int(found[2]), state))
                elif suspect:
                    self.events.append((int(suspect[1]), "suspect"))

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            self.pump(rest)

    def until(self, condition, seconds):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name}: not within {seconds} s")
            self.pump(0.1)

    def pid(self, index):
        return self.process[index].pid

    def death(self, index):
        seen, start = {}, time.monotonic()
        process = self.process.pop(index)
        process.kill()
        process.wait()
        process.stdout.close()
        del self.view[index]
        while len(seen) < self.count - 1 and time.monotonic() - start < 120:
            self.pump(0.1)
            now = time.monotonic() - start
            for other, view in self.view.items():
                if view.get(index) == "dead":
                    seen.setdefault(other, now)
        return seen

    def again(self, index):
        self.start(index)
        self.until(lambda: len(self.view[index]) >= self.count and all(view.get(index) == "alive" for view in self.view.values()), 60)

    def forget(self):
        self.events.clear()

    def said(self, state, index):
        whom = [i for i, s in self.events if s == state]
        return f"{whom.count(index)}+{len(whom) - whom.count(index)}"


def traffic(network):
    """Packets and bytes that all of them sent, as the bridge's ports took them."""
    links = json.loads(subprocess.run(["ip", "-netns", network.hub, "-s", "-j", "link", "show"], capture_output=True, check=True).stdout)
    counts = [link["stats64"]["rx"] for link in links if link["ifname"].startswith("p") or isinstance(network, Loopback)]
    return sum(c["packets"] for c in counts), sum(c["bytes"] for c in counts)


def processor(pid):
    words = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii"))[1])


def load(system, network, count):
    before, cpu, start = traffic(network), [processor(system.pid(i)) for i in range(count)], time.monotonic()
    system.wait(LOAD_SECONDS)
    seconds, after = time.monotonic() - start, traffic(network)
    used = [processor(system.pid(i)) - cpu[i] for i in range(count)]
    return {"packets/s": (after[0] - before[0]) / seconds / count, "bytes/s": (after[1] - before[1]) / seconds / count,
            "processor %": statistics.mean(used) / seconds * 100,
            "resident MiB": statistics.median(memory_kib(system.pid(i)) for i in range(count)) / 1024}


def deaths(system, count, rounds):
    each, whole, unseen = [], [], 0
    for n in range(rounds):
        index = 1 + n % (count - 1)
        system.wait(0.37 * (n % 5))  # at any phase of the others' periods
        seen = system.death(index)
        each += seen.values()
        unseen += count - 1 - len(seen)
        whole.append(max(seen.values(), default=120))
        system.again(index)
    each.sort()
    return {"deaths": rounds, "p50 s": each[len(each) // 2], "p99 s": each[min(len(each) - 1, len(each) * 99 // 100)],
            "all know s": statistics.median(whole), "worst s": max(whole), "not seen": unseen}


def starved(system, network, count):
    """One node with a tenth of its processor, and losses everywhere: whom do they call dead?"""
    for i in range(count):
        subprocess.run(network.command(i, [
            "nft", "add table ip t; add chain ip t in { type filter hook input priority 0; }; "
            f"add rule ip t in iif eth0 numgen random mod 100 < {LOSS_PERCENT} drop"]), check=True)
    system.wait(2)
    system.forget()
    end, pid = time.monotonic() + STARVED_SECONDS, system.pid(count - 1)
    while time.monotonic() < end:
        os.kill(pid, signal.SIGSTOP)
        system.wait(STOPPED_MS / 1000)
        os.kill(pid, signal.SIGCONT)
        system.wait(RUNNING_MS / 1000)
    return {"false deaths (of the starved one + of others)": system.said("dead", count - 1),
            "suspicions": system.said("suspect", count - 1)}


def measure(make, count, rounds):
    with (Network if count <= 20 else Loopback)(count) as network, make(network) as system:
        system.up()
        system.wait(3)
        result = load(system, network, count)
        result.update(deaths(system, count, rounds))
        if count <= 6:
            result.update(starved(system, network, count))
    words = ", ".join(f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in result.items())
    print(f"{count} nodes, {system.name}: {words}", flush=True)


def main():
    sizes = [int(word) for word in sys.argv[1:]] or [6, 100]
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}", flush=True)
    for count in sizes:
        rounds = 20 if count <= 6 else 5
        measure(lambda network, count=count: Ours(network, count), count, rounds)
        for profile in ("lan", "local") if count <= 6 else ("lan",):
            measure(lambda network, count=count, profile=profile: Serf(network, count, profile), count, max(rounds // 3, 3))
    print(f"load after: {os.getloadavg()[0]:.1f}")


main()
