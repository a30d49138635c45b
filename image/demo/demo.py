"""Six virtual machines that serve PHP from a replicated filesystem: ./build.sh demo. See USAGE."""

import argparse
import concurrent.futures
import contextlib
import copy
import http.client
import json
import os
import queue
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import agent
import cluster as recipe
import console
import machine as machines
from progress import Progress
from state import DemoError, Interrupted, State, boot_id, interrupts

USAGE = """\
usage: ./build.sh demo [--state DIR] [--port N] [--site DIR] [--images DIR]
                          [--deadline SECONDS] [VERB …]

  (none)                boot the cluster, stay, power it off on Ctrl-C
  up                    boot it; returns when the site answers
  status [--json]       machines, how far they are, memory, links that are not whole
  down                  power off in order: web, php, data. Disks stay
  reset                 power cut, then remove keys and disks
  ctl NODE ARG…         run `supervisor ARG…` in a machine; its output and exit code are passed on
  read NODE PATH        a file of a machine, such as /proc/mounts
  signal NODE PID NUM   a signal to one process of a machine
  console NODE          its serial console; leave with Ctrl-]
  log NODE [-f]         what it said on its console
  kill NODE             power cut
  stop NODE             orderly power off
  start NODE            power on
  hang NODE             stop its clock and processor, as a host that is out of memory does
  resume NODE           let it go on
  slow NODE RATE        its disk does so many reads and writes a second; 0: as fast as it can
  cut A B | A>B | A     cut a link both ways, one way, or all links of A. The host itself is called host
  delay LINK 50ms       slow down a link          loss LINK 10%   lose frames
  heal [LINK]           all links, or this one, whole again
  net                   counters of the switch
  help                  this text

  --state DIR           where disks, keys and sockets are (build/demo, or $DEMO_STATE)
  --port N              the site's port on 127.0.0.1 (8080)
  --site DIR            a directory of shares, one directory a host name (image/demo/site)
  --images DIR          boot DIR/{data,php,web} instead of baking them
  --deadline SECONDS    for `up` (300)
"""

UP_SECONDS = 300
POWER_OFF_SECONDS = 45
SITE_SECONDS = 10  # for one answer of the site
PORT = 8080
EXIT_NO, EXIT_USAGE = 1, 2


def say(text):
    print(text, file=sys.stderr, flush=True)


class Demo:
    """One demo: a state directory, its switch and its machines."""

    def __init__(self, options):
        self.build = os.environ.get("BUILD") or os.path.join(recipe.TOP, "build")
        self.state = State(options.state or os.environ.get("DEMO_STATE") or os.path.join(self.build, "demo"))
        self.kept = self._kept()
        self.port = options.port or self.kept.get("port", PORT)
        site = options.site or self.kept.get("site") or recipe.SITE
        self.cluster = recipe.Cluster(self.state, self.build, site, options.images or self.kept.get("images"))
        self.switch = self.state.process("switch")
        self.switch_child = None
        self.up_seconds = options.deadline or UP_SECONDS
        self.off_seconds = options.deadline or POWER_OFF_SECONDS

    def _kept(self):
        """The options of the last `up`: later commands, and a later `up`, need not repeat them."""
        try:
            with open(os.path.join(self.state.path, "options"), encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def keep(self):
        with open(os.path.join(self.state.path, "options"), "w", encoding="utf-8") as file:
            json.dump({"port": self.port, "site": self.cluster.site, "images": self.cluster.given_images}, file)

    def machine(self, name):
        try:
            return self.cluster.machines[name]
        except KeyError:
            raise DemoError(f"no node \"{name}\"; there are: {', '.join(self.cluster.machines)}") from None

    def running_machine(self, name):
        machine = self.machine(name)
        if not machine.running():
            raise DemoError(f"{name} is off")
        return machine

    def running(self):
        return [machine for machine in self.cluster.machines.values() if machine.running()]

    # --- the switch

    def start_switch(self):
        if self.switch.pid():
            return
        if self.running():
            raise DemoError("the switch has ended, and with it the machines' network: demo down, then demo up")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise DemoError(f"port {self.port} of 127.0.0.1: {error.strerror}; choose another by --port N") from error
        program = build_switch(self.build)
        command = [program, f"--host={recipe.HOST_ADDRESS}",
                   f"--forward=127.0.0.1:{self.port}={recipe.WEB_ADDRESS}:80", ".", *self.cluster.machines]
        with open(self.state.in_run("switch.log"), "wb") as errors, interrupts.shield():
            self.switch_child = subprocess.Popen(command, cwd=self.state.run, stdin=subprocess.DEVNULL,
                                                 stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
            self.switch.record(self.switch_child.pid)
        with self.switch_child.stdout as out:
            if out.readline() != b"ready\n":
                self.switch_child.wait()
                self.switch.forget()
                with open(self.state.in_run("switch.log"), encoding="utf-8") as file:
                    raise DemoError(file.read().strip() or "the switch ended without a word")

    def ask_switch(self, line):
        try:
            with self.state.connect("switch.ctl", 5) as sock, sock.makefile("rw") as lines:
                lines.write(line + "\n")
                lines.flush()
                answer = json.loads(lines.readline())
        except OSError as error:
            raise DemoError(f"the switch does not run or does not answer: {error.strerror or error}") from error
        if not answer["ok"]:
            raise DemoError(answer["error"])
        return answer

    # --- up

    def start_all(self, progress):
        self.cluster.prepare(progress.say)
        self.start_switch()
        self.keep()
        accel = machines.accelerator(self.state, boot_id())
        progress.say(f"{len(self.cluster.machines)} machines of {machines.MEMORY_MIB} MiB, {accel.kind.upper()}")
        for machine in self.cluster.machines.values():
            if not machine.running():
                machine.start(accel)
            progress.set(machine.name, "starting")

    def phase(self, machine, timeout=3):
        """How far a machine is, in the words of progress.py, and a detail."""
        if not machine.running():
            return "off", ""
        if machine.process.stopped():
            return "hung", "demo resume lets it go on"
        status = self.node_status(machine, timeout)
        if status is not None:
            return phase_of(status)
        return ("kernel" if machine.has_spoken() else "starting"), ""

    def node_status(self, machine, timeout):
        """`supervisor status --json` of the machine, or None while it cannot answer."""
        try:
            _, out, _ = agent.run(self.state, machine.ctl_ports, ["status", "--json"], timeout)
            found = json.loads(out)
            return found if isinstance(found, dict) else None
        except (agent.NoAnswer, agent.Refused, ValueError):
            return None

    def site_answers(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SITE_SECONDS)
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.reason
        except (OSError, http.client.HTTPException) as error:
            return None, str(error) or type(error).__name__

    def watch(self, machine, changes, stop):
        """Thread: puts (machine, phase, detail) into the queue as the machine comes up."""
        while not stop.is_set() and machine.running():
            status = self.node_status(machine, self.up_seconds)  # waits in the port until the machine reads it
            if status is not None:
                phase, detail = phase_of(status)
                changes.put((machine, phase, detail))
                if phase == "ready":
                    return
            stop.wait(1)

    def watch_site(self, changes, stop):
        """Thread: puts (None, status, reason) each time the site was asked."""
        answer = None
        while answer != 200 and not stop.wait(0.5):
            answer, reason = self.site_answers()
            changes.put((None, answer, reason))

    def wait_up(self, progress, seconds):
        """Returns when the site answers 200. The machines may still be busy behind it; status tells."""
        deadline = time.monotonic() + seconds
        changes, stop = queue.SimpleQueue(), threading.Event()
        for machine in self.cluster.machines.values():
            threading.Thread(target=self.watch, args=(machine, changes, stop), daemon=True).start()
        asking, last = False, "not asked yet"
        try:
            while time.monotonic() < deadline:
                with contextlib.suppress(queue.Empty):
                    machine, phase, detail = changes.get(timeout=0.25)
                    if machine:
                        progress.set(machine.name, phase, detail)
                    elif phase == 200:
                        return
                    else:
                        last = f"{phase or ''} {detail}".strip()
                for machine in self.cluster.machines.values():
                    if not machine.running():
                        raise DemoError(self.report(f"{machine.name} went off"))
                    if progress.phases[machine.name][0] == "starting" and machine.has_spoken():
                        progress.set(machine.name, "kernel")
                # Not before web1 is ready: its socket would take the requests, and it would have them all to answer.
                if not asking and (progress.phases["web1"][0] == "ready" or progress.elapsed() > max(60, seconds / 2)):
                    asking = True
                    threading.Thread(target=self.watch_site, args=(changes, stop), daemon=True).start()
        finally:
            stop.set()
        raise DemoError(self.report(f"the site does not answer 200 after {seconds} s: {last}"))

    def report(self, text):
        """Who is not ready, and why."""
        lines = [text]
        for machine in self.cluster.machines.values():
            phase, detail = self.phase(machine)
            if phase != "ready":
                lines.append(f"{machine.name}: {phase} {detail}".rstrip())
                lines += ["    | " + line for line in machine.last_lines()]
        return "\n".join(lines)

    def up(self):
        progress = Progress(self.cluster.machines)
        before = self.running()
        try:
            self.start_all(progress)
            self.wait_up(progress, self.up_seconds)
        except Interrupted:
            interrupts.ignore()
            self.power_cut([machine for machine in self.running() if machine not in before])
            say("interrupted: what was started is off again")
            raise
        except DemoError:
            if not self.running():
                self.switch.end()
            raise
        memory = self.memory_mib()
        progress.say(f"up after {progress.elapsed():.1f} s, {memory} MiB of memory")
        progress.close()
        print(f"http://127.0.0.1:{self.port}/", flush=True)

    def memory_mib(self):
        return sum(machine.memory_kib() for machine in self.cluster.machines.values()) // 1024

    # --- off

    def ask_off(self, machine):
        try:
            code, _, errors = agent.run(self.state, machine.ctl_ports, ["poweroff"], 10)
            if code != 0:
                say(f"{machine.name}: poweroff: {errors.decode('utf-8', 'replace').strip()}")
                machine.qmp("system_powerdown")
        except agent.NoAnswer:
            machine.qmp("system_powerdown")  # it may well go on: going off is how it answers
        except agent.Refused as error:
            if not error.is_goodbye():
                say(f"{machine.name}: {error}")
                machine.qmp("system_powerdown")

    def power_off(self, chosen):
        """Orderly, all of `chosen` at once; what is not off by the deadline is cut off. Returns the names of those."""
        asked = [machine for machine in chosen if machine.running()]
        for machine in asked:
            machine.process.send(signal.SIGCONT)
        with concurrent.futures.ThreadPoolExecutor(len(asked) or 1) as pool:
            list(pool.map(self.ask_off, asked))
        deadline = time.monotonic() + self.off_seconds
        late = []
        for machine in asked:
            if not machine.process.wait(max(0, deadline - time.monotonic())):
                late.append(machine.name)
                machine.qmp("quit")
                if not machine.process.wait(5):
                    machine.kill()
            machine.gone()
        return late

    def power_cut(self, chosen):
        for machine in chosen:
            machine.kill()
        if not self.running():
            self.switch.end()

    def down(self):
        late = []
        for role in reversed(recipe.ROLES):
            running = [machine for machine in self.cluster.of_role(role) if machine.running()]
            if running:
                say(f"powering off {' '.join(machine.name for machine in running)}")
                late += self.power_off(running)
        for machine in self.cluster.machines.values():
            machine.gone()
        self.switch.end()
        for name in late:
            say(f"{name}: not off in {self.off_seconds} s, switched off")
        return EXIT_NO if late else 0

    def stay(self):
        """Until interrupted, or until the switch ends because somebody else said `down`."""
        fd = self.switch.open()
        if fd is None:
            return
        say("Ctrl-C powers the cluster off")
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll()
        os.close(fd)
        say("powered off from elsewhere")


def phase_of(status):
    """Of the answer of `supervisor status --json`: the phase, and what is not ready though it is wanted."""
    if status.get("ready"):
        return "ready", ""
    services = [service for service in status.get("services", ()) if service.get("wanted", True)]
    late = [service for service in services if service.get("state") != "ready"]
    busy = [service["name"] for service in late if service.get("state") != "waiting"]
    failed = [service["name"] for service in late if service.get("state") == "failed"]
    detail = f"{len(services) - len(late)}/{len(services)}"
    if failed:
        return "services", f"{detail} failed: {' '.join(failed)}"
    return "services", f"{detail} {' '.join(busy)}".rstrip()


def build_switch(build):
    program = os.path.join(build, "demo", "switch")
    done = subprocess.run(["make", "-s", "-C", os.path.join(recipe.TOP, "image", "demo", "switch"),
                           f"OUT={os.path.dirname(program)}"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemoError(f"cannot build the switch:\n{(done.stdout + done.stderr).rstrip()}")
    return program


# --- verbs: each takes the demo and its own arguments, returns the exit code

def need(words, count, usage):
    if len(words) != count:
        say(f"usage: demo {usage}")
        raise SystemExit(EXIT_USAGE)
    return words


def verb_foreground(demo, _):
    try:
        with demo.state.locked():
            demo.up()
        demo.stay()
        return 0
    except Interrupted:
        say("")
    if not demo.running():
        return EXIT_NO
    try:
        with demo.state.locked():
            return demo.down()
    except Interrupted:
        interrupts.ignore()
        with demo.state.locked():
            say("interrupted again: power cut")
            demo.power_cut(demo.running())
            return EXIT_NO


def verb_up(demo, words):
    need(words, 0, "up")
    with demo.state.locked():
        demo.up()
    return 0


def verb_down(demo, words):
    need(words, 0, "down")
    with demo.state.locked():
        return demo.down()


def verb_reset(demo, words):
    need(words, 0, "reset")
    with demo.state.locked():
        demo.power_cut(demo.running())
        demo.switch.end()
        for path in (demo.state.disks, demo.state.cluster, demo.state.run):
            shutil.rmtree(path, ignore_errors=True)
    return 0


def verb_status(demo, words):
    if words not in ([], ["--json"]):
        need(words, 0, "status [--json]")
    nodes = {}
    for machine in demo.cluster.machines.values():
        phase, detail = demo.phase(machine)
        nodes[machine.name] = {"phase": phase, "detail": detail, "pid": machine.process.pid(),
                               "memory_mib": machine.memory_kib() // 1024}
    links = demo.ask_switch("status")["links"] if demo.switch.pid() else []
    if words:
        print(json.dumps({"nodes": nodes, "links": links, "switch": demo.switch.pid(),
                          "url": f"http://127.0.0.1:{demo.port}/"}))
    else:
        for name, node in nodes.items():
            print(f"{name:8} {node['phase']:9} {node['memory_mib']:4} MiB  {node['detail']}".rstrip())
        for link in links:
            state = "cut" if link["cut"] else f"{link['delay_ms']} ms, {link['loss_percent']}% lost"
            print(f"link     {link['from']}>{link['to']} {state}")
        print(f"http://127.0.0.1:{demo.port}/" if demo.switch.pid() else "off")
    return 0 if all(node["phase"] == "ready" for node in nodes.values()) else EXIT_NO


def pass_on(kind, data):
    stream = sys.stdout if kind == agent.STDOUT else sys.stderr
    stream.buffer.write(data)
    stream.buffer.flush()


def verb_ctl(demo, words):
    if len(words) < 2:
        need(words, 2, "ctl NODE ARG…")
    machine = demo.running_machine(words[0])
    return agent.request(demo.state, machine.ctl_ports, agent.RUN, agent.arguments(words[1:]), pass_on)


def verb_read(demo, words):
    name, path = need(words, 2, "read NODE PATH")
    return agent.request(demo.state, demo.running_machine(name).ctl_ports, agent.READ, os.fsencode(path), pass_on, 30)


def verb_signal(demo, words):
    name, pid, number = need(words, 3, "signal NODE PID NUMBER")
    return agent.request(demo.state, demo.running_machine(name).ctl_ports, agent.SIGNAL, f"{pid} {number}".encode(), pass_on, 30)


def verb_kill(demo, words):
    need(words, 1, "kill NODE")
    with demo.state.locked():
        machine = demo.running_machine(words[0])
        machine.kill()
    return 0


def verb_stop(demo, words):
    need(words, 1, "stop NODE")
    with demo.state.locked():
        machine = demo.running_machine(words[0])
        if demo.power_off([machine]):
            raise DemoError(f"{machine.name}: not off in {demo.off_seconds} s, switched off")
    return 0


def verb_start(demo, words):
    machine = demo.machine(*need(words, 1, "start NODE"))
    with demo.state.locked():
        if machine.running():
            raise DemoError(f"{machine.name} runs")
        if not demo.switch.pid():
            raise DemoError("the demo is off; start it by: demo up")
        machine.start(machines.accelerator(demo.state, boot_id()))
    return 0


def verb_process(verb, number):
    def run(demo, words):
        demo.running_machine(*need(words, 1, f"{verb} NODE")).process.send(number)
        return 0
    return run


def verb_slow(demo, words):
    name, rate = need(words, 2, "slow NODE RATE")
    machine = demo.running_machine(name)
    disks = [serial for serial, (_, read_only) in machine.disks.items() if not read_only]
    if not disks:
        raise DemoError(f"{name} has no disk that it writes to")
    if not rate.isdecimal() or int(rate) > 1000000:
        raise DemoError(f"slow: found \"{rate}\", expected reads and writes a second, 0 for no limit")
    limits = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0) | {"iops": int(rate)}
    for serial in disks:
        if not machine.qmp("block_set_io_throttle", device=serial, **limits):
            raise DemoError(f"{name}: QEMU did not take the limit of disk {serial}")
    return 0


def verb_links(verb):
    def run(demo, words):
        demo.ask_switch(" ".join([verb, *words]))
        return 0
    return run


def verb_net(demo, words):
    need(words, 0, "net")
    stats = demo.ask_switch("stats")
    columns = [key for key in stats["ports"][0] if key != "name"]
    print("port     " + " ".join(f"{name.replace('dropped', 'drop'):>12}" for name in columns))
    for port in stats["ports"]:
        print(f"{port['name']:8} " + " ".join(f"{port[name]:12}" for name in columns))
    return 0


def verb_log(demo, words):
    follow = words[1:] == ["-f"]
    machine = demo.machine(*need(words[:1] if follow else words, 1, "log NODE [-f]"))
    try:
        with open(machine.log(), "rb") as file:
            while True:
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.flush()
                if not follow:
                    return 0
                time.sleep(0.2)
    except FileNotFoundError:
        raise DemoError(f"{machine.name} was never started") from None


def verb_console(demo, words):
    machine = demo.running_machine(*need(words, 1, "console NODE"))
    try:
        sock = demo.state.connect(machine.name + ".serial")
    except OSError as error:
        raise DemoError(f"{machine.name}: no console: {error.strerror}") from error
    say(f"console of {machine.name}; leave with Ctrl-]")
    console.attach(sock)
    return 0


VERBS = {
    None: verb_foreground, "up": verb_up, "down": verb_down, "reset": verb_reset, "status": verb_status,
    "ctl": verb_ctl, "read": verb_read, "signal": verb_signal, "kill": verb_kill, "stop": verb_stop, "start": verb_start,
    "hang": verb_process("hang", signal.SIGSTOP), "resume": verb_process("resume", signal.SIGCONT), "slow": verb_slow,
    "console": verb_console, "log": verb_log, "net": verb_net,
    "cut": verb_links("cut"), "heal": verb_links("heal"), "delay": verb_links("delay"), "loss": verb_links("loss"),
}


# Verbs after which options may stand as well as before; the others pass their words on as they are.
OPTIONS_AFTER = ("up", "down", "reset", "status", "start", "stop", "kill")


def parse(argv):
    """The options, and the words that are not options: verb and arguments."""
    parser = argparse.ArgumentParser(prog="demo", add_help=False, allow_abbrev=False,
                                     usage="demo [OPTION…] [VERB …] (see: demo help)")
    parser.add_argument("--state")
    parser.add_argument("--port", type=int)
    parser.add_argument("--site")
    parser.add_argument("--images")
    parser.add_argument("--deadline", type=int)
    parser.add_argument("--help", "-h", action="store_true")
    first = copy.deepcopy(parser)
    first.add_argument("words", nargs=argparse.REMAINDER)
    options = first.parse_args(argv)
    if options.words and options.words[0] in OPTIONS_AFTER:
        _, options.words = parser.parse_known_args(options.words, options)
    for name, value, most in (("port", options.port, 65535), ("deadline", options.deadline, 86400)):
        if value is not None and not 0 < value <= most:
            parser.error(f"--{name}: expected 1 to {most}, found {value}")
    return options


def main(argv):
    options = parse(argv)
    verb, words = (options.words[0], options.words[1:]) if options.words else (None, [])
    if options.help or verb == "help":
        print(USAGE, end="")
        return 0
    if verb not in VERBS:
        say(f"demo: no verb \"{verb}\"")
        say(USAGE)
        return EXIT_USAGE
    interrupts.catch()
    try:
        return VERBS[verb](Demo(options), words)
    except (DemoError, agent.NoAnswer, agent.Refused) as error:
        say(f"demo: {error}")
        return EXIT_NO
    except Interrupted as error:
        return 128 + signal.Signals[str(error)]
    except BrokenPipeError:
        return EXIT_NO


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
