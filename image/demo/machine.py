"""One virtual machine: its QEMU command line, its start and its end."""

import contextlib
import hashlib
import json
import lzma
import os
import signal
import socket
import struct
import subprocess

from state import DemoError, interrupts

MEMORY_MIB = 256
CTL_PORTS = 3
GUEST_LOGS = ("console", "qemu")


class Machine:
    """A node of the cluster as the host sees it. `disks` maps a serial ("data") to (file name, read-only)."""

    def __init__(self, state, name, role, number, image, disks):
        self.state, self.name, self.role, self.number = state, name, role, number
        self.image = image
        self.disks = disks
        self.process = state.process(name)
        self.child = None

    @property
    def mac(self):
        return f"52:54:00:77:00:{self.number:02d}"

    @property
    def ctl_ports(self):
        return [f"{self.name}.ctl{index}" for index in range(1, CTL_PORTS + 1)]

    def running(self):
        return self.process.pid() is not None

    def log(self, kind="console"):
        return self.state.in_run(f"{self.name}.{kind}")

    def has_spoken(self):
        """Whether its kernel has written to the console."""
        with contextlib.suppress(OSError):
            return os.path.getsize(self.log()) > 0
        return False

    def command(self, accel):
        with open(os.path.join(self.image, "cmdline"), encoding="utf-8") as file:
            cmdline = accel.cmdline(file.read().strip())
        words = ["qemu-system-x86_64", "-name", self.name, "-nodefaults", "-no-user-config", "-display", "none"]
        words += accel.words()
        words += ["-m", str(MEMORY_MIB), "-smp", "1", "-action", "watchdog=reset"]
        words += ["-kernel", self.kernel(), "-initrd", os.path.join(self.image, "initrd")]
        words += ["-append", cmdline]
        words += ["-chardev", f"socket,id=serial,path={self.name}.serial,server=on,wait=off,"
                  f"logfile={self.name}.console", "-serial", "chardev:serial"]
        words += ["-qmp", f"unix:{self.name}.qmp,server=on,wait=off"]
        words += ["-netdev", f"stream,id=net,server=off,addr.type=unix,addr.path={self.name}.port",
                  "-device", f"virtio-net-pci,netdev=net,mac={self.mac},romfile="]
        for serial, (path, read_only) in self.disks.items():
            # The host's page cache is the disk: a demo need not survive the host's own power cut.
            words += ["-drive", f"if=none,id={serial},file={escape(path)},format=raw,cache=unsafe,"
                      f"readonly={'on' if read_only else 'off'}",
                      "-device", f"virtio-blk-pci,drive={serial},serial={serial}"]
        words += ["-device", "virtio-serial-pci"]
        for index, port in enumerate(self.ctl_ports, 1):
            name = "supervisor.ctl" if index == 1 else f"supervisor.ctl.{index}"
            words += ["-chardev", f"socket,id=ctl{index},path={port},server=on,wait=off",
                      "-device", f"virtserialport,chardev=ctl{index},name={name}"]
        words += ["-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"]
        words += ["-device", "i6300esb"]
        return words

    def kernel(self):
        return unpacked_kernel(os.path.join(self.image, "vmlinuz"), self.state.path)

    def start(self, accel):
        for kind in GUEST_LOGS:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.log(kind), self.log(kind) + ".old")
        self._remove_sockets()
        with open(self.log("qemu"), "wb") as errors, interrupts.shield():
            try:
                self.child = subprocess.Popen(self.command(accel), cwd=self.state.run, stdin=subprocess.DEVNULL,
                                              stdout=errors, stderr=errors, start_new_session=True)
            except OSError as error:
                raise DemoError(f"cannot run qemu-system-x86_64: {error.strerror}") from error
            self.process.record(self.child.pid)

    def _remove_sockets(self):
        for name in self.ctl_ports + [self.name + ".serial", self.name + ".qmp"]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.state.in_run(name))

    def reap(self):
        """Takes the exit status of a QEMU that this very command started. Its code, or None."""
        return self.child.poll() if self.child else None

    def kill(self):
        """A power cut."""
        self.process.send(signal.SIGKILL)
        if not self.process.wait(10):
            raise DemoError(f"{self.name}: QEMU (process {self.process.pid()}) does not end")
        self.gone()

    def gone(self):
        self.reap()
        self.process.forget()
        self._remove_sockets()

    def qmp(self, command, timeout=5, **arguments):
        """Sends one command to QEMU itself. False if it does not answer, or refuses."""
        try:
            with self.state.connect(self.name + ".qmp", timeout) as sock, sock.makefile("rw") as lines:
                lines.readline()
                for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    lines.write(json.dumps(request) + "\n")
                    lines.flush()
                    while "return" not in (answer := json.loads(lines.readline() or '{"error": "end"}')):
                        if "error" in answer:
                            return False
                return True
        except (OSError, ValueError, socket.timeout):
            return False

    def last_lines(self, count=12):
        """What it said last on its console, or QEMU if that said anything."""
        for kind in ("qemu", "console"):
            with contextlib.suppress(FileNotFoundError):
                with open(self.log(kind), "rb") as file:
                    file.seek(max(0, os.path.getsize(self.log(kind)) - 16384))
                    lines = file.read().decode("utf-8", "replace").replace("\r", "").splitlines()
                if lines:
                    return lines[-count:]
        return []

    def memory_kib(self):
        """Its share of the host's memory, in KiB."""
        pid = self.process.pid()
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                for line in file:
                    if line.startswith("Pss:"):
                        return int(line.split()[1])
        return 0


def escape(text):
    """QEMU's option lists double a comma that is meant."""
    return text.replace(",", ",,")


def unpacked_kernel(path, directory):
    """The ELF file inside a bzImage, unpacked once into `directory`; the bzImage itself where that is not possible.

    Under TCG a machine spends 2.5 of its 4.2 s of boot on its kernel unpacking itself. QEMU starts the ELF file
    directly, by its PVH entry. (Boot protocol: Documentation/x86/boot.rst, fields setup_sects, payload_offset and
    payload_length.)
    """
    with open(path, "rb") as file:
        image = file.read()
    target = os.path.join(directory, f"vmlinux-{hashlib.sha256(image).hexdigest()[:16]}")
    if os.path.exists(target):
        return target
    try:
        offset, length = struct.unpack_from("<II", image, 0x248)
        start = ((image[0x1F1] or 4) + 1) * 512 + offset
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        kernel = unpacker.decompress(image[start:start + length])
    except (struct.error, lzma.LZMAError):
        return path
    if not unpacker.eof or not kernel.startswith(b"\x7fELF"):
        return path
    with open(target + ".new", "wb") as file:
        file.write(kernel)
    os.replace(target + ".new", target)
    return target


class Accelerator:
    """How the machines run: KVM where it was seen to work, else QEMU's translator."""

    def __init__(self, kind):
        self.kind = kind

    def words(self):
        machine = "q35,hpet=off,smm=off,vmport=off,sata=off,usb=off"
        if self.kind == "kvm":
            return ["-machine", machine + ",accel=kvm", "-cpu", "host"]
        # Of what qemu64 lacks, what the kernel's checksums and random numbers use. `max` brings five-level page tables.
        return ["-machine", machine, "-accel", "tcg,tb-size=128",
                "-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,+rdrand"]

    def cmdline(self, text):
        # The translator does not speculate: nothing to mitigate, and mitigations cost it dearly.
        return text if self.kind == "kvm" else "mitigations=off " + text


# A boot sector: out 0xf4, 0x2a; hlt; jmp $. The isa-debug-exit device turns it into QEMU's exit code 2 * 0x2a + 1.
PROBE_SECTOR = bytes([0xB0, 0x2A, 0xE6, 0xF4, 0xF4, 0xEB, 0xFD]).ljust(510, b"\0") + b"\x55\xaa"
PROBE_SECONDS = 5


def _probe_kvm(directory):
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    path = os.path.join(directory, "kvm-probe.img")
    with open(path, "wb") as file:
        file.write(PROBE_SECTOR)
    try:
        done = subprocess.run(["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-m", "16",
                               "-machine", "pc,accel=kvm", "-cpu", "host",
                               "-drive", f"file={escape(path)},format=raw,if=ide",
                               "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
                              timeout=PROBE_SECONDS, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        os.unlink(path)
    return done.returncode == 2 * 0x2A + 1


def accelerator(state, boot):
    """The answer is kept for this boot of the host: /dev/kvm may exist and hang each guest for the whole deadline."""
    path = os.path.join(state.path, "accelerator")
    with contextlib.suppress(OSError, ValueError):
        with open(path, encoding="ascii") as file:
            kept_boot, kind = file.read().split()
        if kept_boot == boot and kind in ("kvm", "tcg"):
            return Accelerator(kind)
    kind = "kvm" if _probe_kvm(state.path) else "tcg"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{boot} {kind}\n")
    return Accelerator(kind)
