"""The demo's directory: where it is, who may change it, and which processes belong to it.

A process is remembered by its number and its start time (field 22 of /proc/PID/stat) and the host's boot, and is
signalled through a pidfd that was checked against them: a number that meanwhile belongs to another process is never hit.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket


class DemoError(Exception):
    """Something the user should read: what was tried, on what, what came back."""


class Interrupted(Exception):
    """SIGINT, SIGTERM or SIGHUP; the argument is its name."""


class Interrupts:
    """Turns these signals into Interrupted, but not between the start of a process and its record."""

    def __init__(self):
        self.shields = 0
        self.pending = None

    def _arrived(self, number, _):
        if self.shields:
            self.pending = number
        else:
            raise Interrupted(signal.Signals(number).name)

    def catch(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._arrived)

    def ignore(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def shield(self):
        self.shields += 1
        try:
            yield
        finally:
            self.shields -= 1
            if self.pending and not self.shields:
                number, self.pending = self.pending, None
                raise Interrupted(signal.Signals(number).name)


interrupts = Interrupts()


def boot_id():
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def stat_fields(pid):
    """Of /proc/PID/stat, from the state (field 3) on; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def start_time(pid):
    """When the process was started, in the kernel's ticks; None if there is none, or only its remains (a zombie)."""
    fields = stat_fields(pid)
    return None if not fields or fields[0] in (b"Z", b"X") else int(fields[19])


class Process:
    """A process of the demo that outlives the command that started it."""

    def __init__(self, path):
        self.path = path

    def record(self, pid):
        text = json.dumps({"pid": pid, "start": start_time(pid), "boot": boot_id()})
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.replace(self.path + ".new", self.path)

    def _read(self):
        try:
            with open(self.path, encoding="ascii") as file:
                found = json.load(file)
        except (FileNotFoundError, ValueError):
            return None
        return found if found.get("boot") == boot_id() and found.get("start") is not None else None

    def pid(self):
        """Its number while it runs, else None."""
        found = self._read()
        if found and start_time(found["pid"]) == found["start"]:
            return found["pid"]
        return None

    def stopped(self):
        """Whether it runs, but was told to stop (SIGSTOP)."""
        pid = self.pid()
        fields = stat_fields(pid) if pid else None
        return bool(fields) and fields[0] == b"T"

    def open(self):
        """A pidfd of the running process, else None. The caller closes it."""
        found = self._read()
        if not found:
            return None
        try:
            fd = os.pidfd_open(found["pid"])
        except ProcessLookupError:
            return None
        if start_time(found["pid"]) != found["start"]:
            os.close(fd)
            return None
        return fd

    def send(self, number):
        fd = self.open()
        if fd is None:
            return False
        try:
            signal.pidfd_send_signal(fd, number)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)

    def wait(self, seconds):
        """Waits for its end. False if it still runs."""
        fd = self.open()
        if fd is None:
            return True
        try:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self.pid() or 0, os.WNOHANG)[0]:
                    return True
            import select  # pylint: disable=import-outside-toplevel
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        finally:
            os.close(fd)

    def end(self, seconds=5, number=signal.SIGTERM):
        """Ends it: asked first, killed after the deadline."""
        if self.send(number) and not self.wait(seconds):
            self.send(signal.SIGKILL)
            self.wait(10)
        self.forget()

    def forget(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


class State:
    """DIR/run: sockets, logs and process records; DIR/disks; DIR/cluster: keys and the cluster file."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.run = os.path.join(self.path, "run")
        self.disks = os.path.join(self.path, "disks")
        self.cluster = os.path.join(self.path, "cluster")

    def make(self):
        try:
            for path in (self.path, self.run, self.disks, self.cluster):
                os.makedirs(path, mode=0o700, exist_ok=True)
        except OSError as error:
            raise DemoError(f"cannot make {error.filename}: {error.strerror}") from error

    def in_run(self, name):
        return os.path.join(self.run, name)

    def process(self, name):
        return Process(self.in_run(name + ".pid"))

    @contextlib.contextmanager
    def locked(self):
        """Held by the commands that start and stop machines, one at a time."""
        self.make()
        with open(os.path.join(self.path, "lock"), "w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DemoError(f"another demo command is at work on {self.path}") from error
            yield

    def connect(self, name, timeout=None):
        """Connects to the Unix socket run/NAME, however long the path to it is."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            directory = os.open(self.run, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            sock.close()
            raise
        try:
            sock.connect(f"/proc/self/fd/{directory}/{name}")
        except OSError:
            sock.close()
            raise
        finally:
            os.close(directory)
        return sock
