"""What an NFS server on OCFS2 has acknowledged survives a power cut: with the module that the images
carry, and not with the stock one, which shows that this test can see a loss.

The story: nfsd answered small synchronous writes, creates and renames while they were in the page
cache or in the running transaction only; a data node that lost power took them along (187 of 1,446
records, 23 of 244 names). image/kernel/ocfs2-durability.patch cures both.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "image"))

sys.path.insert(0, str(TOP / "image" / "demo"))

import bake  # noqa: E402
from baking import cpio, debs, kmod, ocfs2  # noqa: E402
from machine import unpacked_kernel  # noqa: E402

CACHE = os.environ.get("CACHE", str(TOP / ".cache"))
ENOUGH = 100
MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ocfs2", "nfsd", "nfsv4"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The kernel and mkfs.ocfs2 as the image builder gets them, and the VM's only program."""
    where = tmp_path_factory.mktemp("durability")
    out = where / "data"
    subprocess.run([TOP / "image/bake.sh", "--profile=data", "--out", out, "--compress=none"], check=True, capture_output=True)
    (where / "root").mkdir()
    subprocess.run(f"cpio -idm --quiet --nonmatching 'dev/*' < '{out}/initrd'", shell=True, cwd=where / "root", check=True)
    program = where / "init"
    subprocess.run(["musl-gcc", "-static", "-O1", "-isystem", headers(where), "-o", program, TOP / "tests/vm/durability.c"], check=True)
    return where, unpacked_kernel(str(out / "vmlinuz"), str(where)), program


def headers(where):
    """The kernel's headers for musl-gcc, which has its own idea of /usr/include."""
    there = where / "include"
    there.mkdir()
    for name, source in (("linux", "linux"), ("asm-generic", "asm-generic"), ("asm", "x86_64-linux-gnu/asm")):
        (there / name).symlink_to("/usr/include/" + source)
    return there


def initrd(parts, path, stock):
    where, _, program = parts
    plan = bake.kernel_packages(CACHE, debs.package_list(TOP / "image/packages"))
    record = next(r for r in plan.plan if r["Package"].startswith("linux-image-6"))
    modules = kmod.Modules(plan.root(record, bake.KERNEL_PARTS))
    if not stock:
        modules.replace("ocfs2", ocfs2.build(CACHE, plan, record["Version"], modules.version, print))
    tree = cpio.Tree()
    tree.file("/init", program.read_bytes(), 0o755)
    tree.character("/dev/console", 0o600, 5, 1)
    order = modules.closure(MODULES)
    for name in order:
        tree.file(f"/{name}.ko", modules.stripped(name))
    tree.file("/modules", "".join(f"/{name}.ko\n" for name in order).encode())
    path.write_bytes(cpio.archive(tree, 1))


def format_disk(parts, disk):
    root = parts[0] / "root"
    with open(disk, "wb") as file:
        file.truncate(128 << 20)
    loader = [root / "lib64/ld-linux-x86-64.so.2", "--library-path", root / "lib/x86_64-linux-gnu"]
    subprocess.run([*loader, root / "sbin/mkfs.ocfs2", "-F", "-b", "4K", "-C", "4K", "-N", "1", "-J", "size=8M", "-M", "local",
                    "-T", "mail", "--fs-features=nodiscontig-bg", disk], check=True, capture_output=True)  # fmt: skip


def boot(parts, archive, disk, mode):
    return subprocess.Popen(
        ["qemu-system-x86_64", "-machine", "q35,hpet=off", "-accel", "tcg", "-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+rdrand", "-m", "256",
         "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", parts[1], "-initrd", archive,
         "-append", f"console=ttyS0 quiet loglevel=3 panic=-1 no_timer_check cryptomgr.notests -- {mode}",
         "-drive", f"if=none,id=d,file={disk},format=raw,cache=unsafe", "-device", "virtio-blk-pci,drive=d"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)  # fmt: skip


def lines_until(machine, wanted, seconds):
    """Reads the console until a line matches; all that was read. The machine is killed in the end: a power cut."""
    text, deadline = "", time.monotonic() + seconds
    os.set_blocking(machine.stdout.fileno(), False)
    try:
        while time.monotonic() < deadline:
            chunk = machine.stdout.read()
            if chunk:
                text += chunk.decode(errors="replace").replace("\r", "")
                if re.search(wanted, text) or "FAILED" in text:
                    break
            elif machine.poll() is not None:
                break
            else:
                time.sleep(0.02)
    finally:
        machine.kill()
        machine.wait()
    rest = machine.stdout.read()
    return text + (rest or b"").decode(errors="replace").replace("\r", "")


def power_cut(parts, tmp_path, stock):
    """How much was acknowledged, and how many records and names were found afterwards."""
    archive, disk = tmp_path / "initrd", tmp_path / "disk"
    initrd(parts, archive, stock)
    format_disk(parts, disk)
    text = lines_until(boot(parts, archive, disk, "write"), f"ACKNOWLEDGED {ENOUGH}\n", 180)
    acknowledged = [int(number) for number in re.findall(r"ACKNOWLEDGED (\d+)\n", text)]
    assert acknowledged and acknowledged[-1] >= ENOUGH, text[-2000:]
    text = lines_until(boot(parts, archive, disk, "check"), r"FOUND .*\n", 120)
    found = re.search(r"FOUND (\d+) records (\d+) names\n", text)
    assert found, text[-2000:]
    return acknowledged[-1], int(found[1]), int(found[2])


def test_what_was_acknowledged_survives(parts, tmp_path):
    acknowledged, records, names = power_cut(parts, tmp_path, stock=False)
    print(f"acknowledged {acknowledged}, found {records} records and {names} names")
    assert records >= acknowledged
    assert names >= acknowledged


def test_the_stock_module_is_seen_to_lose(parts, tmp_path):
    acknowledged, records, names = power_cut(parts, tmp_path, stock=True)
    print(f"acknowledged {acknowledged}, found {records} records and {names} names")
    assert records < acknowledged or names < acknowledged
