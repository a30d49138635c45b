"""Boots the images of the roles in each form, with a probe as the first program, and prints a row for each.

Two numbers. Instructions until the probe runs, from an instruction-counted run: the same within 1 % on any machine,
but a loop over data counts as much as code run once, which a translator finds far dearer. And the processor time of
QEMU (TCG) until then: what a boot costs here, the median of some runs.

    ./build.sh bench boot [ROLE…]
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "image", "demo"))

from machine import Accelerator, unpacked_kernel  # noqa: E402

RUNS = 7
DEADLINE_SECONDS = 120
FORMS = ("none", "zstd", "xz")
COUNTED = ["-icount", "shift=0,sleep=off", "-rtc", "clock=vm", "-seed", "1"]


def boot(kernel, initrd, cmdline, counted):
    """(instructions or ticks, processor seconds) until the probe has run."""
    accel = Accelerator("tcg")
    words = ["timeout", str(DEADLINE_SECONDS), "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
    # Multi-threaded translation and counting exclude each other.
    words += [word + ",thread=single" if counted and word.startswith("tcg") else word for word in accel.words()]
    words += ["-m", "256", "-smp", "1", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd]
    words += ["-append", (accel.cmdline(cmdline) if not counted else "nokaslr norandmaps " + accel.cmdline(cmdline))]
    words += COUNTED if counted else []
    before = os.times()
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    after = os.times()
    said = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(b"READY ")]
    if not said:
        sys.exit(f"error: the probe did not run: {done.stdout[-500:]!r} {done.stderr[-500:]!r}")
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    return int(said[0]), spent


def row(text, size, kernel, initrd, cmdline):
    instructions, _ = boot(kernel, initrd, cmdline, True)
    seconds = statistics.median(boot(kernel, initrd, cmdline, False)[1] for _ in range(RUNS))
    print(f"| {text} | {size / 1e6:.1f} MB | {instructions / 1e9:.2f} | {seconds:.2f} s |", flush=True)


def main(roles):
    where = tempfile.mkdtemp(prefix="bench-boot-")
    try:
        probe = os.path.join(where, "probe")
        subprocess.run(["musl-gcc", "-static", "-O2", "-o", probe, os.path.join(TOP, "bench/probe.c")], check=True)
        print("| image | initrd | instructions (10⁹) | processor time |\n|---|---|---|---|", flush=True)
        for role in roles or ("web", "data", "php"):
            for form in FORMS:
                out = os.path.join(where, f"{role}-{form}")
                subprocess.run([os.path.join(TOP, "image/bake.sh"), f"--profile={role}", "--out", out, "--compress", form, "--binary", probe],
                               check=True, stderr=subprocess.DEVNULL)  # fmt: skip
                with open(os.path.join(out, "cmdline"), encoding="utf-8") as file:
                    cmdline = file.read().strip()
                kernel, initrd = os.path.join(out, "vmlinuz"), os.path.join(out, "initrd")
                row(f"{role}, {form}", os.path.getsize(initrd), unpacked_kernel(kernel, where), initrd, cmdline)
        row(f"{role}, {form}, kernel unpacks itself", os.path.getsize(initrd), kernel, initrd, cmdline)
        row(f"{role}, {form}, kernel's self tests on", os.path.getsize(initrd), unpacked_kernel(kernel, where), initrd,
            cmdline.replace("cryptomgr.notests ", ""))  # fmt: skip
    finally:
        shutil.rmtree(where)


if __name__ == "__main__":
    main(sys.argv[1:])
