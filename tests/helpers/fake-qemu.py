#!/usr/bin/python3
"""Stands in for qemu-system-x86_64 in the tests of the demo: the sockets of a machine and an agent that answers, no machine.

FAKE_QEMU names a directory; the file NODE in it may hold words that make the machine ill:
    dies      ends at once, with a complaint
    panics    speaks, never answers, ends soon
    mute      speaks, never answers
    deaf      does not listen to `supervisor poweroff`, nor to the power button
"""

import json
import os
import pathlib
import re
import select
import signal
import socket
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "image/demo")]

import agent
from ethernet import Guest, TinyHost

WORDS = sys.argv[1:]
NAME = WORDS[WORDS.index("-name") + 1] if "-name" in WORDS else ""
STATUS = {"ready": True, "services": []}


def illness():
    path = pathlib.Path(os.environ["FAKE_QEMU"]) / NAME
    return path.read_text(encoding="ascii").split() if path.exists() else []


def listen(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    return sock


def end():
    os._exit(0)


def answer(sock, session, words):
    def say(kind, data):
        sock.sendall(agent.HEADER.pack(agent.MAGIC, session, kind, len(data), 0) + data)

    if words[0] == "status":
        say(agent.STDOUT, json.dumps(STATUS).encode())
    elif words[0] == "echo":
        say(agent.STDOUT, " ".join(words[1:]).encode() + b"\n")
        say(agent.STDERR, b"complaint\n")
    elif words[0] == "stale":
        # What an earlier client left in the port, in front of the answer.
        sock.sendall(b"sVa1sVa1" + agent.HEADER.pack(agent.MAGIC, b"another!", agent.EXIT, 1, 0) + b"\x07")
    elif words[0] == "poweroff" and "deaf" not in illness():
        threading.Timer(0.1, end).start()
    elif words[0] == "refuse":
        say(agent.REFUSED, b"not today")
        return
    elif words[0] == "huge":
        sock.sendall(agent.HEADER.pack(agent.MAGIC, session, agent.STDOUT, 1 << 30, 0))
        return
    elif words[0] == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    say(agent.EXIT, bytes([3 if words[0] == "echo" else 0]))


def serve_ctl(path):
    server = listen(path)
    while True:
        client, _ = server.accept()
        with client:
            data = b""
            while got := client.recv(65536):
                data += got
                if len(data) < agent.HEADER.size:
                    continue
                _, session, _, length, _ = agent.HEADER.unpack_from(data)
                if len(data) >= agent.HEADER.size + length and not {"mute", "panics"} & set(illness()):
                    payload, data = data[agent.HEADER.size : agent.HEADER.size + length], data[agent.HEADER.size + length :]
                    answer(client, session, payload.decode().split("\0")[:-1])


def serve_qmp(path):
    server = listen(path)
    while True:
        client, _ = server.accept()
        with client, client.makefile("rw") as lines:
            lines.write('{"QMP": {}}\n')
            lines.flush()
            for line in lines:
                request = json.loads(line)
                command = request["execute"]
                if command == "block_set_io_throttle":
                    pathlib.Path(f"{NAME}.qmp-last").write_text(json.dumps(request["arguments"]), encoding="ascii")
                lines.write('{"event": "SOMETHING"}\n{"return": {}}\n')
                lines.flush()
                if command == "quit" or (command == "system_powerdown" and "deaf" not in illness()):
                    end()


def main():
    if not NAME:
        sys.exit(1)  # the probe of KVM
    if "dies" in illness():
        sys.exit("qemu: no such luck")
    socket_paths = {m[1]: m[2] for word in WORDS if (m := re.match(r"socket,id=(\w+),path=([^,]+)", word))}
    for kind, path in socket_paths.items():
        if kind.startswith("ctl"):
            threading.Thread(target=serve_ctl, args=(path,), daemon=True).start()
    threading.Thread(target=serve_qmp, args=(f"{NAME}.qmp",), daemon=True).start()
    serial = listen(socket_paths["serial"])
    pathlib.Path(f"{NAME}.console").write_text(f"kernel of {NAME}\npanic?\n", encoding="ascii")
    if "panics" in illness():
        time.sleep(1)
        sys.exit(0)
    port = next(m[1] for word in WORDS if (m := re.search(r"addr.path=([^,]+)", word)))
    guest = Guest(port, 31)
    if NAME == "web1":
        host = TinyHost(guest)
        while True:
            host.serve_one(None)
    while True:
        select.select([serial, guest.sock], [], [])
        guest.sock.recv(65536)


main()
