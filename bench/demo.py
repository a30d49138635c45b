"""Measures the demo: from `demo up` to the first page, each role's boot, memory on the host and inside. ./build.sh bench demo

The cluster is booted twice, with blank disks and with the disks of the first time, in a directory of its own.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "image/demo"))

import agent  # pylint: disable=wrong-import-position
import cluster as recipe  # pylint: disable=wrong-import-position
from state import State  # pylint: disable=wrong-import-position

PORT = 8079
HELPERS = ("supervisor", "gossip", "log", "agent")


def line(text, value):
    print(f"{text:<44} {value}", flush=True)


def demo(directory, *words):
    """Runs the demo; returns how long it took."""
    started = time.monotonic()
    done = subprocess.run(["/usr/bin/python3", os.path.join(TOP, "image/demo/demo.py"), f"--state={directory}", f"--port={PORT}",
                           "--deadline=600", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"demo {' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return time.monotonic() - started


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kib(text, key):
    return next((int(words.split()[1]) for words in text.splitlines() if words.startswith(key)), 0)


def pids(status):
    """PID 1 and its helpers, by name."""
    found = {service["name"]: service["pid"] for service in status["services"] if service["pid"]}
    found["supervisor"] = 1
    return {name: found[name] for name in HELPERS if name in found}


def inside(state, ports):
    """What a machine says of itself: milliseconds until all was ready, and memory in KiB by process."""
    status = json.loads(agent.run(state, ports, ["status", "--json"], 60)[1])
    memory = {}
    for name, pid in pids(status).items():
        text = agent.read(state, ports, f"/proc/{pid}/smaps_rollup", 60).decode()
        memory[name] = (kib(text, "Rss:"), kib(text, "Pss:"))
    free = kib(agent.read(state, ports, "/proc/meminfo", 60).decode(), "MemAvailable:")
    return status["boot_ms"], memory, free


def report(state):
    for role in recipe.ROLES:
        name = f"{role}1"
        ports = [f"{name}.ctl1"]
        boot_ms, memory, free = inside(state, ports)
        line(f"{name}: from PID 1's start until all is ready", f"{boot_ms / 1000:.1f} s")
        line(f"{name}: processor time of its QEMU until then", f"{processor_seconds(state.process(name).pid()):.1f} s")
        line(f"{name}: memory available inside, of 256 MiB", f"{free // 1024} MiB")
        line(f"{name}: memory (RSS / PSS)", ", ".join(f"{key} {rss}/{pss} KiB" for key, (rss, pss) in memory.items()))


def main():
    directory = tempfile.mkdtemp(prefix="demo-bench-")
    try:
        line("load of this machine before", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        demo(directory, "up")  # bakes and unpacks what is not there yet
        demo(directory, "reset")
        line("demo up, blank disks: first page after", f"{demo(directory, 'up'):.1f} s")
        while subprocess.run(["/usr/bin/python3", os.path.join(TOP, "image/demo/demo.py"), f"--state={directory}", "status"],
                             capture_output=True, check=False).returncode != 0:
            time.sleep(1)
        report(State(directory))
        line("demo down", f"{demo(directory, 'down'):.1f} s")
        line("demo up, the same disks: first page after", f"{demo(directory, 'up'):.1f} s")
    finally:
        demo(directory, "reset")
        shutil.rmtree(directory, ignore_errors=True)


main()
