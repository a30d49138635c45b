"""The host's side of services/agent/agent.h: requests to a VM over one of its virtio-serial ports."""

import contextlib
import fcntl
import os
import socket
import struct
import time
import zlib

MAGIC = b"sVa1"
HEADER = struct.Struct(">4s8sB3xII")
RUN, READ, SIGNAL = 1, 2, 3
STDOUT, STDERR, EXIT, REFUSED = 17, 18, 19, 20
ANSWER_MAX = 16384


class NoAnswer(Exception):
    """The VM is off, not so far yet, or hung up."""


class Refused(Exception):
    """The agent says why it did nothing."""

    def is_goodbye(self):
        """The agent itself was stopped, as it is when a machine powers off."""
        return str(self) == "the agent was told to end"


@contextlib.contextmanager
def _free_port(state, ports):
    """A request has a port for itself: the first one that no other command holds, or the first when all are held."""
    held = None
    try:
        for number, name in enumerate(list(ports) + [ports[0]]):
            held = os.open(state.in_run(name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | (fcntl.LOCK_NB if number < len(ports) else 0))
                yield name
                return
            except BlockingIOError:
                os.close(held)
                held = None
    finally:
        if held is not None:
            os.close(held)


class _Stream:
    """Frames of one session out of the port's bytes; anything else in them is left over from earlier clients."""

    def __init__(self, sock, session, deadline):
        self.sock, self.session, self.deadline = sock, session, deadline
        self.bytes = bytearray()

    def _more(self):
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise NoAnswer("no answer in time")
            self.sock.settimeout(left)
        try:
            got = self.sock.recv(65536)
        except socket.timeout as error:
            raise NoAnswer("no answer in time") from error
        except OSError as error:
            raise NoAnswer(str(error)) from error
        if not got:
            raise NoAnswer("the machine went off")
        self.bytes += got

    def frame(self):
        wanted = MAGIC + self.session
        while True:
            at = self.bytes.find(wanted)
            if at < 0:
                del self.bytes[:max(0, len(self.bytes) - len(wanted) + 1)]
            else:
                del self.bytes[:at]
                if len(self.bytes) >= HEADER.size:
                    _, _, kind, length, _ = HEADER.unpack_from(self.bytes)
                    if length > ANSWER_MAX:
                        raise NoAnswer(f"a frame of {length} bytes")
                    if len(self.bytes) >= HEADER.size + length:
                        payload = bytes(self.bytes[HEADER.size:HEADER.size + length])
                        del self.bytes[:HEADER.size + length]
                        return kind, payload
            self._more()


def request_frame(session, kind, payload):
    head = HEADER.pack(MAGIC, session, kind, len(payload), 0)[:-4]
    return head + struct.pack(">I", zlib.crc32(payload, zlib.crc32(head))) + payload


def request(state, ports, kind, payload, on_output, timeout=None):
    """Sends a request and passes its output on as on_output(STDOUT or STDERR, bytes). Returns the exit code."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with _free_port(state, ports) as name:
        try:
            sock = state.connect(name, timeout)
        except OSError as error:
            raise NoAnswer(f"{name}: {error.strerror or error}") from error
        with sock:
            session = os.urandom(8)
            try:
                sock.sendall(request_frame(session, kind, payload))
            except OSError as error:
                raise NoAnswer(str(error)) from error
            stream = _Stream(sock, session, deadline)
            while True:
                kind_back, data = stream.frame()
                if kind_back == EXIT and len(data) == 1:
                    return data[0]
                if kind_back == REFUSED:
                    raise Refused(data.decode("utf-8", "replace"))
                if kind_back in (STDOUT, STDERR):
                    on_output(kind_back, data)


def arguments(words):
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def run(state, ports, words, timeout=None):
    """Runs `supervisor WORDS…` in the VM; returns its exit code, stdout and stderr."""
    out = {STDOUT: bytearray(), STDERR: bytearray()}
    code = request(state, ports, RUN, arguments(words), lambda kind, data: out[kind].extend(data), timeout)
    return code, bytes(out[STDOUT]), bytes(out[STDERR])


def read(state, ports, path, timeout=None):
    """The contents of a file in the VM, such as /proc/mounts."""
    out = bytearray()
    code = request(state, ports, READ, os.fsencode(path), lambda kind, data: out.extend(data), timeout)
    if code != 0:
        raise Refused(f"{path}: could not be read to its end")
    return bytes(out)
