"""Network namespaces on one bridge: machines that are none, for tests and measurements. Root only.

    with Network(6) as network:
        network.socket(0, 7946)       a UDP socket, bound to the first one's address
        network.command(0, ["ip", "addr"])   the argv that runs it there
"""

import ctypes
import os
import random
import socket
import subprocess

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Network:
    def __init__(self, count, strangers=0):
        self.tag = f"t{os.getpid():x}{random.randrange(256):02x}"
        self.count = count + strangers

    def name(self, index):
        return f"{self.tag}-{index}"

    @property
    def hub(self):
        return f"{self.tag}-hub"

    @staticmethod
    def address(index):
        return f"10.99.{index // 200}.{index % 200 + 1}"

    @staticmethod
    def port_of_hub(index):
        return f"p{index}"

    @staticmethod
    def ip(*lines):
        """Many commands at once: a process each would take seconds."""
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True, capture_output=True)

    def in_namespace(self, name, *lines):
        subprocess.run(["ip", "-netns", name, "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True,
                       capture_output=True)

    def __enter__(self):
        try:
            self.ip(f"netns add {self.hub}", *[f"netns add {self.name(i)}" for i in range(self.count)])
            self.in_namespace(self.hub, "link add hub type bridge", "link set hub up",
                              *[f"link add {self.port_of_hub(i)} type veth peer name eth0 netns {self.name(i)}"
                                for i in range(self.count)],
                              *[f"link set {self.port_of_hub(i)} master hub up" for i in range(self.count)])
            for i in range(self.count):
                self.in_namespace(self.name(i), f"addr add {self.address(i)}/16 dev eth0", "link set lo up",
                                  "link set eth0 up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in {self.hub, *[self.name(i) for i in range(self.count)]}:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def enter(self, name):
        """A context in which what this thread opens belongs to that namespace."""
        return Inside(f"/run/netns/{name}")

    def socket(self, index, port):
        with self.enter(self.name(index)):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((self.address(index), port))
        return made

    def command(self, index, argv):
        return ["ip", "netns", "exec", self.name(index), *argv]

    def cut(self, index, cut=True):
        self.in_namespace(self.hub, f"link set {self.port_of_hub(index)} {'down' if cut else 'up'}")


class Loopback(Network):
    """The same addresses, all on the loopback device of one namespace: for so many that the kernel's table of
    neighbours, one for all namespaces, would not hold each with each."""

    def name(self, index):
        return self.hub

    def __enter__(self):
        try:
            self.ip(f"netns add {self.hub}")
            self.in_namespace(self.hub, "link set lo up",
                              *[f"addr add {self.address(i)}/16 dev lo" for i in range(self.count)])
        except BaseException:
            self.__exit__()
            raise
        return self


class Inside:
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.go(self.path)

    def __exit__(self, *_):
        self.go(f"/proc/self/fd/{self.home}")
        os.close(self.home)

    @staticmethod
    def go(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if LIBC.setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(fd)
