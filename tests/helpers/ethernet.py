"""A machine's end of a port of the demo's switch, as QEMU's stream netdev plays it, and the least of a host behind it."""

import select
import socket
import struct
import time

BROADCAST = b"\xff" * 6


def mac(number):
    return b"\x52\x54\x00\x77\x00" + bytes([number])


def frame(destination, source, text=b"hello"):
    return destination + source + b"\x88\xb5" + text


class Guest:
    """What QEMU's stream netdev does at a port."""

    def __init__(self, path, number):
        self.mac = mac(number)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.bytes = b""

    def send(self, data):
        self.sock.sendall(struct.pack(">I", len(data)) + data)

    def receive(self, timeout=2.0):
        """The next frame, or None; without a timeout it waits for ever."""
        deadline = time.monotonic() + (1e9 if timeout is None else timeout)
        while True:
            if len(self.bytes) >= 4:
                length = struct.unpack_from(">I", self.bytes)[0]
                if len(self.bytes) >= 4 + length:
                    data, self.bytes = self.bytes[4 : 4 + length], self.bytes[4 + length :]
                    return data
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], min(left, 3600))[0]:
                return None
            got = self.sock.recv(1 << 20)
            if not got:
                raise EOFError
            self.bytes += got

    def hears(self, data):
        return self.receive() == data

    def hears_nothing(self):
        return self.receive(0.15) is None


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", 0xFFFF - total)


class TinyHost:
    """Just enough of ARP, IP and TCP to answer one HTTP request at 10.77.0.100:80."""

    ADDRESS = socket.inet_aton("10.77.0.100")

    def __init__(self, guest):
        self.guest = guest

    def arp(self, data):
        sender_mac, sender, target = data[22:28], data[28:32], data[38:42]
        if data[20:22] == b"\0\1" and target == self.ADDRESS:
            answer = b"\0\1\x08\0\6\4\0\2" + self.guest.mac + self.ADDRESS + sender_mac + sender
            self.guest.send(sender_mac + self.guest.mac + b"\x08\x06" + answer)

    def tcp(self, data, flags, sequence, acknowledge, payload=b""):
        ip, tcp = data[14:34], data[34:54]
        segment = tcp[2:4] + tcp[0:2] + struct.pack(">IIBBHHH", sequence, acknowledge, 0x50, flags, 8192, 0, 0) + payload
        padded = segment + b"\0" * (len(segment) % 2)
        pseudo = self.ADDRESS + ip[12:16] + struct.pack(">HH", 6, len(segment))
        segment = segment[:16] + checksum(pseudo + padded) + segment[18:]
        head = struct.pack(">BBHIBB", 0x45, 0, 20 + len(segment), 0, 64, 6)
        addresses = self.ADDRESS + ip[12:16]
        head += checksum(head + b"\0\0" + addresses) + addresses
        self.guest.send(data[6:12] + self.guest.mac + b"\x08\0" + head + segment)

    def serve_one(self, timeout=5):
        while True:
            data = self.guest.receive(timeout)
            assert data is not None, "nothing came"
            if data[12:14] == b"\x08\x06":
                self.arp(data)
                continue
            if data[12:14] != b"\x08\0" or data[23] != 6:
                continue
            sequence = struct.unpack(">I", data[38:42])[0]
            payload = data[34 + (data[46] >> 4) * 4 : 14 + struct.unpack(">H", data[16:18])[0]]
            if data[47] & 2:
                self.tcp(data, 0x12, 1000, sequence + 1)
            elif payload:
                answer = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                self.tcp(data, 0x19, 1001, sequence + len(payload), answer)
                return payload
