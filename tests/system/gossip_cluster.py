"""Real gossip processes over loopback addresses; this module plays the supervising process of each."""

import base64
import os
import pathlib
import random
import select
import signal
import socket
import struct
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SUPERVISOR_BIN", TOP / "build/supervisor"))

# src/gossip/message.h
MAGIC = 0x676F7332
SELF, NODE, READY, LEAVE, PING, KNOWN, QUERY = 1, 2, 3, 4, 5, 6, 7
MEMBER, PROGRESS, LEFT, PEER = 16, 17, 18, 19
STATES = ["unknown", "alive", "suspect", "dead", "left"]
DROPS = ["short", "magic", "source", "flood", "replay", "boot", "seal", "content", "send", "conflict", "kernel"]
CHANGES = ["numbers", "joined", "alive", "suspect", "dead", "left", "updated", "conflict"]
CONFLICTS = ["", "twins", "clones", "elsewhere"]
MEMBER_FORMAT = "=HBBHHHBBIIIQQIB3x128s"
MESSAGE_BYTES = 224


def message(kind, body=b""):
    return struct.pack("=IHH", MAGIC, kind, 0) + body.ljust(216, b"\0")


def keygen():
    out = subprocess.run([BINARY, "keygen"], capture_output=True, text=True, check=True).stdout
    pairs = dict(line.split(" = ") for line in out.splitlines() if " = " in line)
    return base64.b64decode(pairs["secret-key"]), base64.b64decode(pairs["key"])


class Node:
    """A name, an address and a key pair; a process only while started."""

    def __init__(self, index, name, address, port):
        self.index, self.name, self.address, self.port = index, name, address, port
        self.secret, public = keygen()
        self.publics = [public]
        self.socket = None
        self.boot = 0
        self.process = self.channel = None
        self.members, self.peers, self.history, self.events = {}, {}, [], []
        self.left, self.progress, self.serial, self.tags = False, None, 0, b""

    def open(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.address, self.port))
        self.socket.setblocking(False)

    def state(self, index):
        member = self.members.get(index)
        return member["state"] if member else None

    def last_sequence(self):
        return max([event["sequence"] for event in self.events], default=0)

    def take(self, data):
        assert len(data) == MESSAGE_BYTES
        magic, kind, reserved = struct.unpack_from("=IHH", data)
        assert (magic, reserved) == (MAGIC, 0)
        body = data[8:]
        if kind == MEMBER:
            keys = ["index", "state", "ready", "services", "services_ready", "services_failed", "change", "conflict",
                    "generation", "incarnation", "elsewhere", "boot", "sequence", "tags_hash", "tags_bytes", "tags"]
            member = dict(zip(keys, struct.unpack_from(MEMBER_FORMAT, body)))
            member["state"] = STATES[member["state"]]
            member["change"], member["conflict"] = CHANGES[member["change"]], CONFLICTS[member["conflict"]]
            member["tags"] = member["tags"][:member.pop("tags_bytes")]
            member["body"] = body
            if member["sequence"]:
                assert member["sequence"] == self.last_sequence() + 1
            if member["change"] != "numbers":
                self.events.append(member)
            if self.state(member["index"]) != member["state"]:
                self.history.append((member["index"], member["state"]))
            self.members[member["index"]] = member
        elif kind == PROGRESS:
            words = struct.unpack_from("=10QIBB2x11Q", body)
            self.progress = dict(zip(["serial", "ticks", "late", "in", "out", "bytes_in", "bytes_out", "changes",
                                      "suspicions", "objections", "health", "locked", "realtime"], words))
            self.progress["dropped"] = dict(zip(DROPS, words[13:]))
        elif kind == PEER:
            keys = ["index", "version", "session", "rtt_us", "rtt_min_us", "rtt_last_us", "loss", "reserved", "sent",
                    "received", "missed", "heard_ms"]
            peer = dict(zip(keys, struct.unpack_from("=HBBIIIIIQQQQ", body)))
            self.peers[peer["index"]] = peer
        else:
            assert kind == LEFT
            self.left = True


class Cluster:
    def __init__(self, count):
        self.nodes = []
        for _ in range(50):
            port, net = random.randrange(20000, 30000), random.randrange(16, 250)
            try:
                nodes = [Node(i, f"node{i}", f"127.77.{net}.{i + 1}", port) for i in range(count)]
                for node in nodes:
                    node.open()
            except OSError:
                continue
            self.nodes = nodes
            return
        raise RuntimeError("no free addresses")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            self.kill(node)
            node.socket.close()

    def describe(self, node, secret=None, known=()):
        """SELF, KNOWN and NODE messages as the node's supervising process sends them."""
        yield message(SELF, struct.pack("=HHB3xQ32s32s128s", node.index, len(self.nodes), len(node.tags), node.boot,
                                        b"testing", secret or node.secret, node.tags))
        for other in self.nodes:
            if other is self.nodes[0]:
                for body in known:
                    yield message(KNOWN, body)
            yield message(NODE, struct.pack("=HH4s32s32s64sB", other.index, other.port,
                                            socket.inet_aton(other.address), other.name.encode(),
                                            b"test", b"".join(other.publics), len(other.publics)))

    def start(self, node, new_boot=True, configure=True, known=(), prefix=()):
        if new_boot:
            node.boot = random.getrandbits(64) | 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        node.members, node.peers, node.history, node.events = {}, {}, [], []
        node.left, node.progress = False, None
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        node.channel = ours

        def hand_over():
            os.dup2(theirs.fileno(), 3)

        node.process = subprocess.Popen([*prefix, BINARY, "worker", "gossip"], stdin=node.socket,
                                        stderr=subprocess.PIPE, close_fds=False,
                                        preexec_fn=hand_over, text=True)
        theirs.close()
        ours.setblocking(False)
        if configure:
            for data in self.describe(node, known=known):
                ours.send(data)

    def start_all(self):
        for node in self.nodes:
            self.start(node)

    def kill(self, node):
        if node.process is None:
            return
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
        node.process.stderr.close()
        node.channel.close()
        node.process = node.channel = None

    def pump(self, seconds):
        """Takes in what the processes say for at most that long, or until something came."""
        channels = {node.channel: node for node in self.nodes if node.channel}
        ready, _, _ = select.select(list(channels), [], [], seconds)
        for channel in ready:
            try:
                while data := channel.recv(4096):
                    channels[channel].take(data)
            except BlockingIOError:
                pass
            except ConnectionResetError:
                data = b""
            if not data:
                raise AssertionError(f"{channels[channel].name} ended: "
                                     f"{channels[channel].process.communicate()[1]}")

    def run(self, seconds):
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            self.pump(rest)

    def run_blind(self, seconds):
        time.sleep(seconds)

    def until(self, condition, seconds=5):
        """Seconds that it took."""
        start = time.monotonic()
        while not condition():
            rest = start + seconds - time.monotonic()
            assert rest > 0, "not within %s s: %s" % (
                seconds, {n.name: {i: m["state"] for i, m in n.members.items()} for n in self.nodes})
            self.pump(min(rest, 0.2))
        return time.monotonic() - start

    def ask(self, node):
        """Its counters, and what it knows of the way to each."""
        node.serial += 1
        node.channel.send(message(QUERY, struct.pack("=Q", node.serial)))
        self.until(lambda: node.progress and node.progress["serial"] == node.serial)
        return node.progress

    def restart(self, node):
        """Another process for the same boot, that is told what the one before knew."""
        known = []
        for member in node.members.values():
            if member["boot"]:
                body = bytearray(member["body"])
                struct.pack_into("=BB", body, 10, 0, 0)  # change, conflict
                struct.pack_into("=I", body, 20, 0)      # elsewhere
                struct.pack_into("=Q", body, 32, 0)      # sequence
                known.append(bytes(body))
        self.kill(node)
        self.start(node, new_boot=False, known=known)

    def running(self):
        return [node for node in self.nodes if node.process]

    def all_see(self, subject, state):
        return all(node.state(subject.index) == state for node in self.running()
                   if node is not subject)

    def all_alive(self):
        return all(self.all_see(node, "alive") for node in self.running())
