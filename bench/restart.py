"""Measures the supervising process: how soon a killed service runs again, beside a bare fork/exec loop and, where they are
installed, beside s6 and runit; what it costs when idle, and with 500 services. ./build.sh bench restart
"""

import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.path.join(os.environ.get("BUILD", os.path.join(TOP, "build")), "supervisor")
KILLS = int(os.environ.get("KILLS", "300"))
# s6-supervise and runsv wait until a second has passed since the last start: they are measured after that.
KILLS_OF_OTHERS = 15
IDLE_S = 20
TURNS = 2000
POOLS = 8
SLEEPER = "start = /bin/sleep 1000000\n"


def line(text, value):
    print(f"{text:<52} {value}", flush=True)


class Victim:
    """A program that says when it runs."""

    def __init__(self, directory):
        self.program = os.path.join(directory, "restart")
        subprocess.run(["gcc", "-O2", "-static", "-o", self.program, os.path.join(TOP, "bench/restart.c")], check=True)
        self.fifo = os.path.join(directory, "fifo")
        os.mkfifo(self.fifo)
        self.fd = os.open(self.fifo, os.O_RDWR)
        self.command = [self.program, "victim", self.fifo]
        self.pid = 0

    def next_pid(self):
        return int(os.read(self.fd, 15))

    def measure(self, kills, rest_s=0.0):
        """Milliseconds from each SIGKILL until the next one runs."""
        self.pid, times = self.next_pid(), []
        for _ in range(kills):
            time.sleep(rest_s)
            start = time.perf_counter()
            os.kill(self.pid, signal.SIGKILL)
            self.pid = self.next_pid()
            times.append((time.perf_counter() - start) * 1000)
        return times

    def end(self):
        """The last one, whose supervisor is gone, or does not take it along."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def running(command, **options):
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def supervisor(directory, services):
    config, run = os.path.join(directory, "config"), os.path.join(directory, "run")
    shutil.rmtree(config, ignore_errors=True)
    os.makedirs(config + "/services")
    os.makedirs(config + "/profiles")
    for name, text in services.items():
        with open(f"{config}/services/{name}.service", "w", encoding="ascii") as file:
            file.write(text)
    with open(f"{config}/profiles/bench.profile", "w", encoding="ascii") as file:
        file.write(f"description = bench\nservices = {' '.join(services)}\n")
    with running([BINARY, "--profile=bench", f"--config={config}", f"--run={run}"]) as process:
        while not os.path.exists(f"{run}/control"):
            time.sleep(0.01)
        yield process.pid, f"{run}/control"


def show(text, times, base):
    median, worst = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
    line(text, f"{median:7.3f} ms, 99 %: {worst:7.3f} ms, {median / base:5.1f} times the loop" if base else
         f"{median:7.3f} ms, 99 %: {worst:7.3f} ms")
    return median


def bench_latency(directory, victim):
    with running([victim.program, "loop", *victim.command]):
        base = show("bare fork/exec loop", victim.measure(KILLS), 0)
    victim.end()
    quick = f"start = {' '.join(victim.command)}\nrestart-delay = 1ms\nrestart-delay-max = 1ms\n"
    with supervisor(directory, {"victim": quick}):
        show("supervisor, restart-delay = 1ms", victim.measure(KILLS), base)
    with supervisor(directory, {"victim": quick, **{f"other{i}": SLEEPER for i in range(200)}}):
        show("the same beside 200 other services", victim.measure(KILLS), base)
    for program in ("s6-supervise", "runsv"):
        if not shutil.which(program):
            line(program, "is not installed")
            continue
        service = os.path.join(directory, program)
        os.makedirs(service)
        with open(service + "/run", "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\nexec {' '.join(victim.command)}\n")
        os.chmod(service + "/run", 0o755)
        with running([program, service]):
            show(f"{program}, after a second of running", victim.measure(KILLS_OF_OTHERS, 1.1), base)
        victim.end()


def number_in(path, word):
    with open(path, encoding="ascii") as file:
        return next(int(text.split()[1]) for text in file if text.startswith(word))


def cpu_ns(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


def bench_idle(pid, services):
    """Each connection that comes and goes is two turns: an event, and all decisions taken anew."""
    status = f"/proc/{pid}/status"
    time.sleep(1)  # the last connection's end is behind it
    before = number_in(status, "voluntary_ctxt_switches")
    time.sleep(IDLE_S)
    wakes = number_in(status, "voluntary_ctxt_switches") - before
    line(f"{services} services, idle: wake-ups in a minute", f"{wakes * 60 / IDLE_S:.0f}")
    line(f"{services} services: resident memory", f"{number_in(status, 'VmRSS')} KiB")


def bench_turn(pid, control, services):
    before = cpu_ns(pid)
    for _ in range(TURNS // 2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(control)
    line(f"{services} services: an event and its decisions", f"{(cpu_ns(pid) - before) / TURNS / 1000:.1f} us")


def bench_size(directory):
    for services in (1, 500):
        each = -(-services // POOLS)
        files = {"single": SLEEPER} if services == 1 else {
            f"pool{i}": SLEEPER + f"instances = {min(each, services - i * each)}\n" for i in range(POOLS)}
        start = time.perf_counter()
        with supervisor(directory, files) as (pid, control):
            while children(pid) < services:
                time.sleep(0.005)
            line(f"{services} services: from exec to the last one's start", f"{time.perf_counter() - start:.2f} s")
            time.sleep(2)
            bench_turn(pid, control, services)
            bench_idle(pid, services)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return len(file.read().split())


def main():
    directory = tempfile.mkdtemp(prefix="bench-restart-")
    try:
        victim = Victim(directory)
        bench_latency(directory, victim)
        bench_size(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
