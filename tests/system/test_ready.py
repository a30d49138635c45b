"""How a service becomes ready, and who is its main process: real processes, as PID 1 and as an ordinary process.

What a service does is a Python program of the test's own, told by lines in a file what to do next.
"""

import contextlib
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import pytest

from supervised import BINARY, Supervised, wait_for
from test_members import NAMES, Three

SLEEPER = "kind = daemon\nstart = /bin/sleep 1000000\n"
ROBOT = "start = /usr/bin/python3 @RUN@/../robot.py @RUN@/.. %i\n".replace("%i", "robot")

# Does what the lines of DIR/orders say, each once, in order; `did` counts them.
ROBOT_PY = r'''
import array, os, signal, socket, subprocess, sys, time
where, me = sys.argv[1:]
said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
if os.environ.get("NOTIFY_SOCKET"):
    said.connect(os.environ["NOTIFY_SOCKET"])
def say(text):
    said.send(text if isinstance(text, bytes) else text.encode())
def put(name, text):
    with open(os.path.join(where, name + ".new"), "w") as f:
        f.write(text)
    os.rename(os.path.join(where, name + ".new"), os.path.join(where, name))
def child(code):
    """A child of this process, which runs code and sleeps."""
    pid = os.fork()
    if pid == 0:
        exec(code, globals())
        while True:
            time.sleep(1000)
    return pid
def orphan(code, session=True):
    """A process whose parent has ended; its pid."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        if session:
            os.setsid()
        pid = os.fork()
        if pid == 0:
            os.write(w, b"%d" % os.getpid())
            os.close(w)
            exec(code, globals())
            while True:
                time.sleep(1000)
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(r, 20))
done = 0
while True:
    try:
        with open(os.path.join(where, "orders")) as f:
            orders = f.read().split("\n;\n")
    except FileNotFoundError:
        orders = []
    for order in orders[done:]:
        done += 1
        exec(order, globals())
        put("did", str(done))
    time.sleep(0.01)
'''


@pytest.fixture(params=[False, True], ids=["process", "namespace"])
def namespace(request):
    return request.param


class Robot(Supervised):
    """One service "robot", which obeys."""

    def __init__(self, keys, namespace, orders=(), services=None, **more):
        self.orders = list(orders)
        if "restart" not in keys:
            keys += "restart = never\n"
        super().__init__({"robot": "kind = daemon\n" + ROBOT + keys, **(services or {})},
                         " ".join(["robot", *(services or {})]), namespace, **more)
        self.put("run/robot.py", ROBOT_PY)
        if orders:
            self.put("run/orders", "\n;\n".join(orders))

    def write(self, name, text):
        return super().write(name, text.replace("@RUN@/..", os.path.dirname(self.run)))

    def put(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def get(self, name):
        try:
            with open(self.path(name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def tell(self, order):
        """Has it done, and returns when it is."""
        self.orders.append(order)
        self.put("run/orders", "\n;\n".join(self.orders))
        wait_for(order, lambda: self.get("run/did") == str(len(self.orders)))

    def anew(self):
        """For the robot's next life."""
        self.orders = []
        for name in ("orders", "did"):
            if os.path.exists(self.path(f"run/{name}")):
                os.remove(self.path(f"run/{name}"))

    def begin(self, verb):
        """Asks for it, and does not wait."""
        subprocess.Popen([BINARY, verb, "robot"], env={**os.environ, "SUPERVISOR_RUN": self.run},
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def robot(self):
        return self.status("robot")


def open_files(pid):
    time.sleep(0.05)  # clients are gone
    return len(os.listdir(f"/proc/{pid}/fd"))


# --- sd_notify


def test_reloading_withdraws_readiness_until_it_says_ready(namespace):
    """Its dependents keep running; the node as a whole is not ready meanwhile."""
    with Robot("ready = notify\n", namespace, ["say('READY=1')"],
               {"above": SLEEPER + "requires = robot\n"}) as s:
        pid = s.wait_state("above", "ready")["pid"]
        wait_for("the node", lambda: s.status()["ready"])
        s.tell("say('RELOADING=1\\nSTATUS=reading')")
        assert s.wait_state("robot", "reloading")["why"] == "reading"
        assert not s.status()["ready"]
        s.tell("say('READY=1')")
        s.wait_state("robot", "ready")
        assert s.status()["ready"]
        assert s.status("above")["pid"] == pid
        assert "robot: reloading" in s.messages() and "robot: reloaded" in s.messages()


def test_a_reload_that_takes_too_long_is_said(namespace):
    with Robot("ready = notify\nstart-timeout = 1s\n", namespace, ["say('READY=1')"]) as s:
        s.wait_state("robot", "ready")
        s.tell("say('RELOADING=1')")
        wait_for("the message", lambda: "robot: reload failed: no READY=1 from it in 1 s; it goes on as before" in s.messages())
        assert s.wait_state("robot", "ready")["why"] == "reload failed: no READY=1 from it in 1 s"
        assert "robot: reloaded" not in s.messages()
        s.tell("say('RELOADING=1\\nREADY=1')")
        wait_for("no more of it", lambda: s.robot()["why"] == "")


def test_all_at_once_ends_with_where_it_has_got_to(namespace):
    with Robot("ready = notify\n", namespace, ["say('READY=1\\nRELOADING=1\\nSTATUS=both')"]) as s:
        s.wait_state("robot", "ready")
        s.tell("say('READY=1\\nRELOADING=1')")
        assert s.state("robot") == "ready"


def test_a_service_that_says_it_ends_is_not_ready_any_more(namespace):
    with Robot("ready = notify\nrestart-delay = 10ms\n", namespace, ["say('READY=1')"]) as s:
        s.wait_state("robot", "ready")
        s.tell("say('STOPPING=1')")
        s.wait_state("robot", "stopping")
        s.anew()
        s.ctl("kill", "robot", "KILL")
        wait_for("a new one", lambda: s.robot()["starts"] == 2)


def test_what_it_says_of_its_failure_is_its_reason(namespace):
    with Robot("ready = notify\nrestart = never\n", namespace, ["say('ERRNO=2')", "os._exit(3)"]) as s:
        assert s.wait_state("robot", "failed")["why"] == "exited with 3: No such file or directory"
        s.anew()
        s.begin("start")
        s.tell("say('BUSERROR=org.example.No\\x1b[31m')")
        s.ctl("kill", "robot", "KILL")
        assert s.wait_state("robot", "failed")["why"] == "killed by signal 9 (Killed): org.example.No?[31m"
        s.anew()
        s.begin("start")
        s.tell("say('ERRNO=99999')")
        wait_for("a refusal", lambda: "robot: ERRNO=99999 refused" in s.messages())
        s.ctl("kill", "robot", "KILL")
        assert s.wait_state("robot", "failed")["why"] == "killed by signal 9 (Killed)"


def test_a_barrier_is_passed_when_all_before_it_was_read(namespace):
    """sd_notify_barrier(3): the descriptor that is sent along is closed by the supervisor."""
    barrier = ("r, w = os.pipe()\n"
               "said.sendmsg([b'BARRIER=1'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [w]))])\n"
               "os.close(w)\n"
               "assert os.read(r, 1) == b''\n")
    with Robot("ready = notify\n", namespace, ["say('READY=1')"]) as s:
        s.wait_state("robot", "ready")
        before = open_files(s.main_pid())
        s.tell("say('STATUS=before')\n" + barrier + "put('passed', 'yes')")
        assert s.get("run/passed") == "yes"
        assert s.robot()["why"] == "before"
        s.tell("for i in range(100):\n" + "\n".join(" " + line for line in barrier.splitlines()))
        wait_for("as many files as before", lambda: open_files(s.main_pid()) == before)


def test_files_that_nobody_asked_for_are_closed_and_the_message_counts(namespace):
    many = ("said.sendmsg([b'STATUS=many'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0] * 253))])")
    with Robot("ready = notify\n", namespace, ["say('READY=1')"]) as s:
        s.wait_state("robot", "ready")
        before = open_files(s.main_pid())
        s.tell(f"for i in range(20):\n {many}")
        wait_for("the status", lambda: s.robot()["why"] == "many")
        wait_for("as many files as before", lambda: open_files(s.main_pid()) == before)
        s.tell("said.sendmsg([b'READY=1', b'\\nSTATUS=two parts'])")
        wait_for("the status", lambda: s.robot()["why"] == "two parts")


def test_a_senders_end_does_not_make_its_word_a_strangers(namespace):
    """systemd-notify and shell scripts say READY=1 from a process that is gone the next moment. Linux 6.15 and
    later tell whose it was."""
    late = ("s.sendto(b'STATUS=' + sys.argv[1].encode(), os.environ['NOTIFY_SOCKET'])")
    order = (f"subprocess.run([sys.executable, '-c', \"import os, socket, sys; "
             f"s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); {late}\", 'gone'])")
    with Robot("ready = notify\n", namespace, ["say('READY=1')"]) as s:
        s.wait_state("robot", "ready")
        if tuple(int(n) for n in os.uname().release.split(".")[:2]) < (6, 17):
            pytest.skip("this kernel cannot tell")
        os.kill(s.main_pid(), signal.SIGSTOP)
        try:
            s.tell(order)
        finally:
            os.kill(s.main_pid(), signal.SIGCONT)
        wait_for("its word", lambda: s.robot()["why"] == "gone")


def test_nonsense_is_passed_over(namespace):
    """NUL, long, endless, empty, many lines: nothing of it is taken for what it is not."""
    with Robot("ready = notify\n", namespace) as s:
        s.wait_state("robot", "starting")
        s.tell("say(b'')\nsay(b'\\0READY=1')\nsay(b'READY=1\\0')\nsay(b'READY=1 ')\nsay(b'=\\n=\\n')\n"
               "say(b'x' * 4096)\nsay(b'\\n' * 4096)\nsay(b'STATUS=end\\0')")
        wait_for("the last", lambda: s.robot()["why"] == "end?")
        assert s.state("robot") == "starting"
        s.tell("say(b'A=B\\n' * 1000 + b'STATUS=x' + b'\\n' * 80)\nsay(b'READY=1' + b'\\n' * 4090)")
        wait_for("the refusal", lambda: "sent more than fits" in s.messages())
        assert s.state("robot") == "starting"
        s.tell("say(b'\\n' * 4089 + b'READY=1')")
        s.wait_state("robot", "ready")


# --- MAINPID=


def test_the_main_process_changes_hands(namespace):
    """The end of the old one is no event, that of the new one is the service's, and its exit status counts."""
    with Robot("ready = notify\nrestart = never\nsuccess-exit = 7\n", namespace, ["say('READY=1')"]) as s:
        first = s.wait_state("robot", "ready")["pid"]
        s.tell("put('pid', str(orphan('signal.signal(signal.SIGUSR1, lambda *a: os._exit(7))')))")
        s.tell("say('MAINPID=' + open(where + '/pid').read())")
        second = wait_for("another pid", lambda: s.robot()["pid"] != first and s.robot()["pid"])
        assert str(second) == s.get("run/pid")
        s.tell("os.kill(os.getpid(), 9) if not put('did', str(done)) else 0")
        time.sleep(0.2)
        assert s.robot()["state"] == "ready" and s.robot()["pid"] == second
        s.ctl("kill", "robot", "USR1")
        s.wait_state("robot", "ended")
        assert s.robot()["starts"] == 1


def test_the_stop_signal_goes_to_the_new_main_process(namespace):
    with Robot("ready = notify\nstop-signal = USR1\n", namespace, ["say('READY=1')"]) as s:
        first = s.wait_state("robot", "ready")["pid"]
        s.tell("orphan(\"signal.signal(signal.SIGUSR1, lambda *a: (put('got', 'yes'), os._exit(0)))\\n"
               "say('MAINPID=%d' % os.getpid())\")")
        wait_for("another pid", lambda: s.robot()["pid"] != first)
        s.ctl("stop", "robot")
        assert s.state("robot") == "down" and s.robot()["why"] == ""
        assert s.get("run/got") == "yes"


def test_a_main_process_that_is_anothers_child_is_watched(namespace):
    """Its parent lives on and reaps it: that it has ended is known all the same."""
    with Robot("ready = notify\nrestart = never\n", namespace, ["say('READY=1')"]) as s:
        first = s.wait_state("robot", "ready")["pid"]
        s.tell("put('pid', str(child('')))\nsay('MAINPID=' + open(where + '/pid').read())")
        second = wait_for("another pid", lambda: s.robot()["pid"] != first and s.robot()["pid"])
        s.tell("put('did', str(done))\nos.kill(int(open(where + '/pid').read()), 9)")
        assert s.wait_state("robot", "failed")["why"] == "ended; how, only its parent knows"
        assert str(second) == s.get("run/pid")


def test_an_adopted_process_that_loses_its_parent_later_tells_how_it_ended(namespace):
    with Robot("ready = notify\nrestart = never\n", namespace, ["say('READY=1')"]) as s:
        first = s.wait_state("robot", "ready")["pid"]
        s.tell("put('pid', str(child('signal.signal(signal.SIGUSR1, lambda *a: os._exit(9))')))\n"
               "time.sleep(0.3)\nsay('MAINPID=' + open(where + '/pid').read())")
        wait_for("another pid", lambda: s.robot()["pid"] != first)
        s.tell("put('did', str(done))\nos._exit(0)")
        time.sleep(0.2)
        assert s.state("robot") == "ready"
        s.ctl("kill", "robot", "USR1")
        assert s.wait_state("robot", "failed")["why"] == "exited with 9"


@pytest.mark.parametrize("value", ["0", "1", "-1", "", "x", "12x", " 12", "99999999", "4194305", "2147483648",
                                   "18446744073709551616", "0x10", "\\x1b[31m"])
def test_an_impossible_pid_is_refused_by_name_and_value(value):
    with Robot("ready = notify\n", False, ["say('READY=1')"]) as s:
        pid = s.wait_state("robot", "ready")["pid"]
        s.tell(f"say('MAINPID={value}\\nSTATUS=said')")
        wait_for("the status", lambda: s.robot()["why"] == "said")
        shown = value.replace("\\x1b", "?")
        assert f"robot: MAINPID={shown} refused: " in s.messages()
        assert s.robot()["pid"] == pid and s.state("robot") == "ready"


def test_foreign_pids_are_refused_without_a_flood_of_complaints(namespace):
    """Another service's, a stranger's, the supervisor's own, one that has ended, a thread's."""
    with Robot("ready = notify\n", namespace, ["say('READY=1')"], {"other": SLEEPER}) as s:
        pid = s.wait_state("robot", "ready")["pid"]
        other = s.wait_state("other", "ready")["pid"]
        for value in (other, 1) if namespace else (other, os.getpid(), s.main_pid()):
            s.tell(f"say('MAINPID={value}')")
            wait_for(f"refusal of {value}", lambda value=value: f"robot: MAINPID={value} refused: " in s.messages())
            time.sleep(1.1)  # one complaint a second
        s.tell("import threading\nt = threading.Thread(target=time.sleep, args=(1000,), daemon=True)\nt.start()\n"
               "put('tid', str(t.native_id))\nsay('MAINPID=%d' % t.native_id)")
        wait_for("refusal of a thread", lambda: f"MAINPID={s.get('run/tid')} refused: " in s.messages())
        s.tell("p = os.fork()\nif p == 0: os._exit(0)\nos.waitpid(p, 0)\n"
               "for i in range(3000): say('MAINPID=%d' % p)\nsay('STATUS=end')")
        wait_for("the end", lambda: s.robot()["why"] == "end")
        assert s.messages().count("MAINPID=") < 20
        assert s.robot()["pid"] == pid and s.status("other")["pid"] == other


# --- ready = fd N


def test_a_newline_on_the_descriptor_is_readiness(namespace):
    """On the number that the file says, with a socket and the channel below it, and nothing else open."""
    keys = "ready = fd 9\nlisten = unix @RUN@/robot.socket\nchannel = yes\nlimit-nofile = 32\n"
    with Robot(keys, namespace, services={"above": SLEEPER + "requires = robot\n"}) as s:
        s.wait_state("robot", "starting")
        s.tell("put('fds', ' '.join(sorted(os.listdir('/proc/self/fd'), key=int)))")
        assert [fd for fd in s.get("run/fds").split() if 3 < int(fd) < 32][:2] == ["4", "5"]
        listed = s.get("run/fds").split()
        assert "9" in listed and not {"7", "8", "10", "11", "12"} & set(listed)
        s.tell("os.write(9, b'not yet')")
        assert s.state("robot") == "starting"
        s.tell("os.write(9, b'\\n')")
        s.wait_state("above", "ready")
        s.tell("try:\n os.write(9, b'x')\n put('pipe', 'open')\nexcept BrokenPipeError:\n put('pipe', 'closed')")
        assert s.get("run/pipe") == "closed"


def test_a_descriptor_closed_without_a_newline_is_not_readiness(namespace):
    with Robot("ready = fd 3\nstart-timeout = 2s\nrestart = never\n", namespace,
               ["os.write(3, b'almost')", "os.close(3)"]) as s:
        assert s.wait_state("robot", "failed")["why"] == \
            "not ready in 2 s: nothing on its descriptor 3: it was closed without a newline"


def test_a_descriptor_full_of_nonsense_keeps_nobody_busy(namespace):
    with Robot("ready = fd 3\nstart-timeout = 2s\nrestart = never\n", namespace,
               ["signal.signal(signal.SIGPIPE, signal.SIG_IGN)\n"
                "try:\n while True: os.write(3, b'x' * 4000)\nexcept BrokenPipeError: pass"]) as s:
        wait_for("its end", lambda: s.get("run/did") == "1")
        assert s.wait_state("robot", "failed")["why"] == \
            "not ready in 2 s: nothing on its descriptor 3: no newline in all that it wrote"


def test_what_inherits_the_descriptor_may_be_ready_for_it_and_it_leaks_nowhere(namespace):
    with Robot("ready = fd 3\n", namespace, services={"other": SLEEPER}) as s:
        other = s.wait_state("other", "ready")["pid"]
        s.wait_state("robot", "starting")
        before = open_files(s.main_pid())
        s.tell("child(\"os.write(3, b'\\\\n')\")")
        s.wait_state("robot", "ready")
        wait_for("fewer files", lambda: open_files(s.main_pid()) < before)
        if not namespace:
            assert sorted(os.listdir(f"/proc/{other}/fd")) == ["0", "1", "2"]
        for i in range(3):
            s.anew()
            s.begin("restart")
            s.tell("os.write(3, b'\\n')")
            s.wait_state("robot", "ready")
        wait_for("fewer files", lambda: open_files(s.main_pid()) < before)


# --- ready = pid-file PATH

DAEMON = "put_pid = lambda: open(where + '/d/robot.pid', 'w').write('%d\\n' % os.getpid())\n"


def background(code="put_pid()"):
    """The robot goes on as an orphan; the start command ends well."""
    return (DAEMON + "if os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n" + code)


PID_FILE = "ready = pid-file @RUN@/../d/robot.pid\n"


def test_a_daemon_in_the_background_is_held_by_its_pid_file(namespace):
    """The start command's end is not the service's; the process in the file is its main one, with its exit status."""
    with Robot(PID_FILE + "restart = never\n", namespace, ["os.mkdir(where + '/d')", background("pass")],
               {"above": SLEEPER + "requires = robot\n"}) as s:
        wait_for("the background", lambda: s.get("run/did") == "2")
        wait_for("no process to show", lambda: s.robot()["pid"] == 0)
        assert s.state("robot") == "starting" and s.state("above") == "waiting"
        s.tell("put_pid()")
        s.wait_state("above", "ready")
        assert str(s.robot()["pid"]) == s.get("run/d/robot.pid").strip()
        s.tell("put('did', str(done))\nos._exit(5)")
        assert s.wait_state("robot", "failed")["why"] == "exited with 5"
        assert s.robot()["starts"] == 1


def test_it_comes_back_over_the_file_of_the_run_before(namespace):
    """The old file is there all the time; only what is written after the start counts."""
    with Robot(PID_FILE + "restart-delay = 10ms\n", namespace,
               ["os.makedirs(where + '/d', exist_ok=True)", background()]) as s:
        first = s.wait_state("robot", "ready")["pid"]
        for _ in range(5):
            s.ctl("kill", "robot", "KILL")
            second = wait_for("a new one", lambda first=first: s.state("robot") == "ready"
                              and s.robot()["pid"] not in (0, first) and s.robot()["pid"])
            assert str(second) == s.get("run/d/robot.pid").strip()
            first = second
        assert s.robot()["starts"] == 6


def test_a_stale_file_does_not_count_whatever_number_it_holds(namespace):
    """Even the number of a process of this run: nobody has written it since the start."""
    with Robot(PID_FILE + "start-timeout = 2s\nrestart = never\n", namespace,
               ["sys.stdin.read()", "pass"]) as s:
        pid = s.wait_state("robot", "starting")["pid"]
        s.put("run/d/robot.pid", f"{pid}\n")
        s.wait_state("robot", "ready")  # written after the start, it does
        s.ctl("stop", "robot")
        s.anew()
        s.put("run/orders", "os.utime(where + '/d/robot.pid', (0, 0)) if 0 else 0")
        s.begin("start")
        why = s.wait_state("robot", "failed")["why"]
        assert why.startswith("not ready in 2 s: no pid in ") and why.endswith(": what is there is older than its start")


def test_the_file_may_be_in_a_directory_that_is_made_later(namespace):
    with Robot(PID_FILE.replace("/d/robot.pid", "/d/e/f/robot.pid"), namespace) as s:
        s.wait_state("robot", "starting")
        s.tell("os.makedirs(where + '/d/e')")
        s.tell("os.rename(where + '/d', where + '/x')\nos.makedirs(where + '/d/e/g')")
        s.tell("os.mkdir(where + '/d/e/h')\nopen(where + '/d/e/h/robot.pid', 'w').write(str(os.getpid()))\n"
               "os.rename(where + '/d/e/h', where + '/d/e/f')")
        s.wait_state("robot", "ready")


def test_a_file_that_is_written_late_and_stays_open(namespace):
    """Made empty first, as those who lock their pid file do."""
    with Robot(PID_FILE, namespace) as s:
        s.wait_state("robot", "starting")
        s.tell("os.mkdir(where + '/d')\nlate = open(where + '/d/robot.pid', 'w')")
        assert s.state("robot") == "starting"
        s.tell("late.write(str(os.getpid()))\nlate.flush()")
        s.wait_state("robot", "ready")


FORGED = {
    "a symbolic link": "open(where + '/real', 'w').write(str(os.getpid()))\nos.symlink(where + '/real', path)",
    "a symbolic link on the way": "os.rmdir(where + '/d')\nos.mkdir(where + '/e')\n"
                                  "open(where + '/e/robot.pid', 'w').write(str(os.getpid()))\n"
                                  "os.symlink(where + '/e', where + '/d')",
    "a fifo": "os.mkfifo(path)",
    "a directory": "os.mkdir(path)",
    "a socket": "k = socket.socket(socket.AF_UNIX)\nk.bind(path)",
    "another user's": None,  # the test's own to make: the robot has no capability
    "pid 1": "open(path, 'w').write('1')",
    "pid 0": "open(path, 'w').write('0')",
    "a negative number": "open(path, 'w').write('-5')",
    "a huge number": "open(path, 'w').write('9' * 40)",
    "no number": "open(path, 'w').write('robot')",
    "something endless": "open(path, 'w').write(' ' * 100000 + str(os.getpid()))",
    "the parent's": "open(path, 'w').write(str(os.getppid()))",
    "nobody's": "p = os.fork()\nif p == 0: os._exit(0)\nos.waitpid(p, 0)\nopen(path, 'w').write(str(p))",
}
SAID = {
    "a symbolic link": "is a symbolic link", "a symbolic link on the way": "d on the way there is a symbolic link",
    "a fifo": "is no regular file", "a directory": "is no regular file", "a socket": "is no regular file",
    "another user's": "belongs to user 12345", "pid 1": "1, which it names, is none that it can have",
    "pid 0": "holds a number that no process can have", "a negative number": "holds something that is no number",
    "a huge number": "holds a number that no process can have", "no number": "holds something that is no number",
    "something endless": "is too long for a number", "the parent's": "which it names, is", "nobody's": "is no process of it",
}


@pytest.mark.parametrize("what", FORGED)
def test_a_file_that_is_not_what_it_should_be_is_refused(what):
    """The machine goes on at once, says what is wrong, and takes the right one when it comes."""
    with Robot(PID_FILE, False) as s:
        s.wait_state("robot", "starting")
        s.tell("os.mkdir(where + '/d')\npath = where + '/d/robot.pid'\n" + (FORGED[what] or ""))
        if not FORGED[what]:
            s.put("run/foreign", str(s.robot()["pid"]))
            os.chown(s.path("run/foreign"), 12345, 12345)
            os.rename(s.path("run/foreign"), s.path("run/d/robot.pid"))
        wait_for("the message", lambda: SAID[what] in s.messages())
        assert s.state("robot") == "starting"
        assert SAID[what] in s.robot()["why"]
        s.tell("import shutil\n(os.remove if os.path.islink(where + '/d') else shutil.rmtree)(where + '/d')\n"
               "os.mkdir(where + '/d')\nopen(path, 'w').write(str(os.getpid()))")
        s.wait_state("robot", "ready")


def test_another_services_pid_in_the_file_is_refused(namespace):
    with Robot(PID_FILE, namespace, services={"other": SLEEPER}) as s:
        other = s.wait_state("other", "ready")["pid"]
        s.wait_state("robot", "starting")
        s.put("run/d/robot.pid", f"{other}")
        wait_for("the refusal", lambda: f"{other}, which it names, is no process of it" in s.messages())
        assert s.state("robot") == "starting"


def test_a_daemon_that_is_gone_before_it_wrote_its_file_has_failed(namespace):
    with Robot(PID_FILE + "restart = never\n", namespace,
               [background("put('gone', 'yes')\nos._exit(0)")]) as s:
        assert s.wait_state("robot", "failed")["why"] == "ended without a main process"


def test_a_start_command_that_fails_is_a_failure(namespace):
    with Robot(PID_FILE + "restart = never\n", namespace, ["orphan('')", "os._exit(4)"]) as s:
        assert s.wait_state("robot", "failed")["why"] == "exited with 4"


def test_stop_while_its_main_process_is_not_known_yet(namespace):
    """All of it is asked to end, and is gone."""
    with Robot(PID_FILE + "stop-signal = USR1\nstop-timeout = 30s\n", namespace,
               [background("signal.signal(signal.SIGUSR1, lambda *a: (put('asked', 'yes'), os._exit(0)))")]) as s:
        wait_for("the background", lambda: s.get("run/did") == "1" and s.robot()["pid"] == 0)
        time.sleep(0.2)
        assert s.ctl("stop", "robot").returncode == 0
        assert s.state("robot") == "down" and s.get("run/asked") == "yes"


def test_stop_of_one_that_ignores_it_while_its_main_process_is_not_known_yet(namespace):
    with Robot(PID_FILE + "stop-timeout = 500ms\n", namespace,
               [background("signal.signal(signal.SIGTERM, signal.SIG_IGN)")]) as s:
        wait_for("the background", lambda: s.get("run/did") == "1" and s.robot()["pid"] == 0)
        time.sleep(0.2)
        assert s.ctl("stop", "robot").returncode == 0
        assert s.state("robot") == "down"


def test_a_timeout_names_the_file(namespace):
    with Robot(PID_FILE + "restart = never\nstart-timeout = 500ms\n", namespace, [background("pass")]) as s:
        why = s.wait_state("robot", "failed")["why"]
        assert why.startswith("not ready in 500 ms: no pid in ") and why.endswith("/d/robot.pid")


def test_many_wait_for_files_in_one_directory(namespace):
    """One watch for all; each gets its own."""
    script = "import os, sys, time\ntime.sleep(float(sys.argv[2]))\nopen(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(100000)\n"
    services = {f"s{i}": f"kind = daemon\nready = pid-file @RUN@/../d/{i}.pid\n"
                         f"start = /usr/bin/python3 @RUN@/../late.py @RUN@/../d/{i}.pid 0.{i}\n" for i in range(8)}
    with Robot("", namespace, services=services) as s:
        os.makedirs(s.path("run/d"))
        s.put("run/late.py", script)
        for name in services:
            s.wait_state(name, "ready")
        watches = subprocess.run(f"grep -h ^inotify /proc/{s.main_pid()}/fdinfo/*", shell=True, text=True,
                                 capture_output=True, check=False).stdout
        assert watches == ""


# --- reload


RELOADED = "ready = notify\nreload = /bin/sh @RUN@/../reload.sh\n"


def reload(s, what="exit 0"):
    """Asks for it, with a command that does that; returns what the command line said."""
    s.put("run/reload.sh", what)
    return s.ctl("reload", "robot")


def test_a_reload_command_ends_well(namespace):
    """It runs beside the main process, which it finds in its environment; the service is not ready meanwhile."""
    with Robot(RELOADED + "environment = COLOR=red\n", namespace, ["say('READY=1')"], {"above": SLEEPER + "requires = robot\n"}) as s:
        pid = s.wait_state("robot", "ready")["pid"]
        above = s.wait_state("above", "ready")["pid"]
        s.put("run/reload.sh", f"echo $COLOR $MAINPID > {s.path('run/reloaded')}; while [ ! -e {s.path('run/go')} ]; do sleep 0.05; done")
        s.begin("reload")
        s.wait_state("robot", "reloading")
        assert not s.status()["ready"]
        wait_for("its word", lambda: s.get("run/reloaded") == f"red {pid}\n")
        s.put("run/go", "")
        s.wait_state("robot", "ready")
        assert s.robot()["pid"] == pid and s.robot()["starts"] == 1 and s.status("above")["pid"] == above
        assert reload(s).returncode == 0


def test_a_reload_that_fails_is_told_and_all_goes_on(namespace):
    with Robot(RELOADED, namespace, ["say('READY=1')"]) as s:
        pid = s.wait_state("robot", "ready")["pid"]
        answer = reload(s, "echo line 7: no such word >&2; exit 3")
        assert answer.returncode == 1 and "reload failed: line 7: no such word" in answer.stderr
        assert s.robot()["why"] == "reload failed: line 7: no such word"
        assert s.state("robot") == "ready" and s.robot()["pid"] == pid
        assert "robot: reload failed: line 7: no such word; it goes on as before" in s.messages()
        assert reload(s).returncode == 0
        assert s.robot()["why"] == ""


def test_a_reload_command_that_hangs_is_killed_whole(namespace):
    with Robot(RELOADED + "start-timeout = 3s\n", namespace, ["say('READY=1')"]) as s:
        pid = s.wait_state("robot", "ready")["pid"]
        left = f"sleep {random.randrange(10**7, 10**8)}"
        answer = reload(s, f"trap '' TERM\nsetsid {left} &\n{left}")
        assert answer.returncode == 1
        assert s.robot()["why"] == "reload failed: its command has not ended in 3 s"
        assert s.state("robot") == "ready" and s.robot()["pid"] == pid
        wait_for("no leftover", lambda: subprocess.run(["pgrep", "-f", left], check=False).returncode == 1)
        assert reload(s).returncode == 0


def test_a_stop_ends_a_reload_too(namespace):
    with Robot(RELOADED, namespace, ["say('READY=1')"]) as s:
        s.wait_state("robot", "ready")
        left = f"sleep {random.randrange(10**7, 10**8)}"
        s.put("run/reload.sh", left)
        s.begin("reload")
        s.wait_state("robot", "reloading")
        assert s.ctl("stop", "robot").returncode == 0
        assert s.state("robot") == "down"
        wait_for("no leftover", lambda: subprocess.run(["pgrep", "-f", left], check=False).returncode == 1)


def test_a_reload_command_that_is_not_there_is_named(namespace):
    with Robot("ready = notify\nreload = /no/such/program\n", namespace, ["say('READY=1')"]) as s:
        s.wait_state("robot", "ready")
        answer = s.ctl("reload", "robot")
        assert answer.returncode == 1 and "No such file or directory" in answer.stderr
        assert s.state("robot") == "ready"


def test_who_says_reloading_during_its_command_is_waited_for(namespace):
    with Robot(RELOADED, namespace, ["say('READY=1')"]) as s:
        s.wait_state("robot", "ready")
        s.put("run/reload.sh", f"while [ ! -e {s.path('run/go')} ]; do sleep 0.05; done")
        s.begin("reload")
        s.wait_state("robot", "reloading")
        s.tell("say('RELOADING=1')")
        s.put("run/go", "")
        time.sleep(0.5)
        assert s.state("robot") == "reloading"
        s.tell("say('READY=1')")
        s.wait_state("robot", "ready")


def test_a_reload_signal_reaches_the_main_process(namespace):
    with Robot("ready = notify\nreload-signal = USR1\n", namespace,
               ["signal.signal(signal.SIGUSR1, lambda *a: put('got', 'yes'))\nsay('READY=1')"]) as s:
        s.wait_state("robot", "ready")
        assert s.ctl("reload", "robot").returncode == 0
        wait_for("the signal", lambda: s.get("run/got") == "yes")


# --- what it finds in its environment


@pytest.mark.parametrize("name", ["NOTIFY_SOCKET", "LISTEN_FDS", "INVOCATION_ID", "WATCHDOG_USEC", "MAINPID"])
def test_what_the_supervisor_says_has_one_source(name, tmp_path):
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "x.service").write_text(f"start = /bin/true\nenvironment = A=b {name}=x\n")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "test.profile").write_text("services = x\n")
    answer = subprocess.run([BINARY, "check", "--profile=test", str(tmp_path)], text=True, capture_output=True, check=False)
    assert answer.returncode == 1
    assert f"x.service:2: environment: found {name}, which the supervisor sets itself" in answer.stdout + answer.stderr


def test_the_file_goes_before_the_default_and_nothing_is_inherited(namespace):
    with Robot("environment = PATH=/nowhere A=b\n", namespace, ["put('env', repr(sorted(os.environ)))\nput('path', os.environ['PATH'])"]) as s:
        wait_for("its word", lambda: s.get("run/path"))
        assert s.get("run/path") == "/nowhere"
        assert s.get("run/env").replace("'LC_CTYPE', ", "") == "['A', 'INVOCATION_ID', 'NOTIFY_SOCKET', 'PATH']"


@pytest.mark.parametrize("keys", ["ready = pid-file /tmp/x.pid\nprivate-tmp = yes\n", "ready = pid-file /run/x.pid\nroot = empty\n"])
def test_a_pid_file_that_only_the_service_can_see_is_refused(keys, tmp_path):
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "x.service").write_text("start = /bin/true\n" + keys)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "test.profile").write_text("services = x\n")
    answer = subprocess.run([BINARY, "check", "--profile=test", str(tmp_path)], text=True, capture_output=True, check=False)
    assert "only the service itself can see it" in answer.stdout + answer.stderr


# --- without cgroups: an orphan is tied to its service by nothing but its memory


def bare(robot):
    """No cgroups for this one."""
    script = "mount -t tmpfs tmpfs /sys/fs/cgroup"
    prefix = ["unshare", "--mount", "--propagation=private", "sh", "-c", script + ' || exit 99; exec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no such mounts here")
    robot.wrap = prefix
    return robot


def test_without_cgroups_a_daemon_in_the_background_is_recognized(namespace):
    with bare(Robot(PID_FILE + "restart-delay = 10ms\n", namespace,
                    ["os.makedirs(where + '/d', exist_ok=True)", background()])) as s:
        first = s.wait_state("robot", "ready")["pid"]
        assert "no cgroup2 is mounted" in s.messages()
        assert str(first) == s.get("run/d/robot.pid").strip()
        s.ctl("kill", "robot", "KILL")
        wait_for("a new one", lambda: s.state("robot") == "ready" and s.robot()["pid"] not in (0, first))
        assert s.ctl("stop", "robot").returncode == 0
        assert s.robot()["starts"] == 2 and s.state("robot") == "down"


def test_without_cgroups_a_main_process_changes_hands(namespace):
    with bare(Robot("ready = notify\n", namespace, ["say('READY=1')"])) as s:
        first = s.wait_state("robot", "ready")["pid"]
        s.tell("put('pid', str(orphan('signal.signal(signal.SIGUSR1, lambda *a: os._exit(9))')))")
        s.tell("say('MAINPID=' + open(where + '/pid').read())")
        wait_for("another pid", lambda: s.robot()["pid"] != first)
        assert str(s.robot()["pid"]) == s.get("run/pid")
        s.ctl("kill", "robot", "USR1")
        assert s.wait_state("robot", "failed")["why"] == "exited with 9"


def test_without_cgroups_another_services_orphan_is_refused(namespace):
    orphan = "kind = oneshot\nstart = /bin/sh -c \"(setsid sleep 464646 & echo $! > @RUN@/../foreign)\"\nready = exit\n"
    other = orphan.replace("kind = oneshot\n", "kind = daemon\n").replace("ready = exit\n", "").replace(
        "foreign)", "foreign); exec sleep 1000000")
    with bare(Robot("ready = notify\n", namespace, ["say('READY=1')"], {"other": other})) as s:
        pid = s.wait_state("robot", "ready")["pid"]
        foreign = wait_for("its pid", lambda: s.get("run/foreign").strip())
        s.tell(f"say('MAINPID={foreign}')")
        wait_for("the refusal", lambda: f"MAINPID={foreign} refused" in s.messages())
        assert s.robot()["pid"] == pid


def test_without_cgroups_stop_while_its_main_process_is_not_known_yet(namespace):
    with bare(Robot(PID_FILE, namespace, [background("pass")])) as s:
        wait_for("the background", lambda: s.get("run/did") == "1" and s.robot()["pid"] == 0)
        assert s.ctl("stop", "robot").returncode == 0
        assert s.state("robot") == "down"
        wait_for("nothing left", lambda: subprocess.run(["pgrep", "-f", s.path("run/robot.py")], check=False).returncode == 1)


# --- siblings


@pytest.mark.skipif(pathlib.Path(BINARY).parent.name == "asan", reason="the gossip's sandbox holds for the product only")
def test_siblings_see_that_a_node_is_not_ready_while_a_service_of_it_reloads():
    with contextlib.ExitStack() as stack:
        three = Three(stack)
        for name in NAMES:
            three.start(name)
        web1 = three.running["web1"]
        top = os.path.dirname(web1.run)

        def put(name, text):
            with open(f"{top}/{name}.new", "w", encoding="ascii") as file:
                file.write(text)
            os.rename(f"{top}/{name}.new", f"{top}/{name}")

        def seen(ready):
            wait_for(f"web1 ready: {ready}", lambda: three.members("data1")["web1"]["state"] == "alive"
                     and three.members("data1")["web1"]["ready"] == ready)

        put("robot.py", ROBOT_PY)
        web1.write("services/robot.service", "ready = notify\n" + ROBOT.replace("@RUN@/..", top))
        web1.write("profiles/test.profile", "services = gossip robot\n")
        seen(True)
        web1.ctl("reload", "--no-wait")
        seen(False)
        put("orders", "say('READY=1')")
        seen(True)
        put("orders", "say('READY=1')\n;\nsay('RELOADING=1')")
        seen(False)
        put("orders", "say('READY=1')\n;\nsay('RELOADING=1')\n;\nsay('READY=1')")
        seen(True)
