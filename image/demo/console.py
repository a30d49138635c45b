"""A machine's serial console on this terminal."""

import os
import select
import sys
import termios
import tty

LEAVE = b"\x1d"  # Ctrl-]


def attach(sock):
    """Copies both ways until LEAVE is typed, or either side ends. The terminal is left as it was."""
    terminal = sys.stdin.isatty()
    before = termios.tcgetattr(0) if terminal else None
    if terminal:
        tty.setraw(0)
    try:
        with sock:
            while True:
                ready, _, _ = select.select([0, sock], [], [])
                if sock in ready:
                    data = sock.recv(65536)
                    if not data:
                        return
                    os.write(1, data)
                if 0 in ready:
                    typed = os.read(0, 1024)
                    if not typed or LEAVE in typed:
                        return
                    sock.sendall(typed)
    finally:
        if terminal:
            termios.tcsetattr(0, termios.TCSADRAIN, before)
            print()
