"""What `up` tells: a line a machine on a terminal, kept up to date; elsewhere a line for each change."""

import sys
import time

PHASES = ("off", "starting", "kernel", "services", "ready")
BAR = 10


class Progress:
    """Call set() with each machine's phase as it is seen; nothing is printed when nothing changed."""

    def __init__(self, names, out=sys.stderr):
        self.out = out
        self.live = out.isatty()
        self.phases = {name: ("off", "", 0.0) for name in names}
        self.started = time.monotonic()
        self.drawn = 0

    def elapsed(self):
        return time.monotonic() - self.started

    def say(self, text):
        """A line of its own, above the machines' lines."""
        self._erase()
        self.out.write(text + "\n")
        self._draw()

    def set(self, name, phase, detail=""):
        if self.phases[name][:2] == (phase, detail):
            return
        self.phases[name] = (phase, detail, self.elapsed())
        if self.live:
            self._erase()
            self._draw()
        else:
            self.out.write(f"{self.elapsed():6.1f} s  {name:8} {phase} {detail}".rstrip() + "\n")
            self.out.flush()

    def close(self):
        """Leaves the lines as they are."""
        self.drawn = 0

    def _erase(self):
        if self.live and self.drawn:
            self.out.write(f"\x1b[{self.drawn}A\x1b[J")
        self.drawn = 0

    def _draw(self):
        if self.live:
            for name, (phase, detail, when) in self.phases.items():
                full = BAR * PHASES.index(phase) // (len(PHASES) - 1)
                line = f"  {name:8} [{'#' * full}{' ' * (BAR - full)}] {when:5.1f} s  {phase} {detail}"
                self.out.write(line[:79] + "\n")
            self.drawn = len(self.phases)
        self.out.flush()
