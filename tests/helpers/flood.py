"""flood.py KIND SECONDS TARGET PORT SOURCE…: UDP packets with forged sources, as many as go out; prints their number.

junk: anything. hello: what a sibling's first packet looks like, its seal random; the siblings' ids come after their addresses. A path to a file: its packets, one hex
line each, again and again, each with a bit flipped somewhere behind the header.
"""

import os
import random
import socket
import struct
import sys
import time


def udp(source, target, port, payload):
    """Header of IP (its checksum and id are the kernel's) and UDP (no checksum: 0)."""
    return struct.pack("!BBHHHBBH4s4sHHHH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, socket.inet_aton(source),
                       socket.inet_aton(target), port, port, 8 + len(payload), 0) + payload


def payloads(kind, ids):
    if kind == "junk":
        return [os.urandom(random.choice([8, 60, 300, 1200])) for _ in range(64)]
    if kind == "hello":
        return [struct.pack("!2sBBBBH8sQQQQ", b"SG", 2, 1, 1, 0, 96, bytes.fromhex(ids[n % len(ids)]),
                            random.getrandbits(63) + 1, 0, random.getrandbits(63), random.getrandbits(63)) + os.urandom(48)
                for n in range(64)]
    made = []
    with open(kind, encoding="ascii") as file:
        lines = file.read().split()
    for line in lines:
        packet = bytearray.fromhex(line)
        packet[random.randrange(48, len(packet))] ^= 1
        made.append(bytes(packet))
    return made


def main():
    kind, seconds, target, port = sys.argv[1], float(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    sources = [word for word in sys.argv[5:] if "." in word]
    ids = [word for word in sys.argv[5:] if "." not in word]
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    contents = payloads(kind, ids)
    packets = [udp(source, target, port, payload) for payload in contents for source in sources]
    if kind != "junk":  # each from where it would come
        packets = [udp(sources[n % len(sources)], target, port, payload) for n, payload in enumerate(contents)]
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for packet in packets:
            try:
                raw.sendto(packet, (target, 0))
                sent += 1
            except OSError:
                time.sleep(0.001)
    print(sent)


main()
