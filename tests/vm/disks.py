"""What the machines' disks hold while the machines are off."""

import os
import shlex
import struct
import subprocess
import types

SECTOR = 512
# struct meta_data_on_disk of the kernel's drivers/block/drbd/drbd_main.c, and the flags of its drbd_int.h.
DRBD_METADATA = struct.Struct(">Q4QQQII")
DRBD_MAGICS = (0x8374026B, 0x8374026C)
DRBD_CONSISTENT, DRBD_PRIMARY, DRBD_FULL_SYNC, DRBD_WAS_UP_TO_DATE, DRBD_CRASHED_PRIMARY = 1, 1 << 1, 1 << 3, 1 << 4, 1 << 6
EXT4_CLEAN, EXT4_NEEDS_RECOVERY = 0x1, 0x4


def drbd_metadata(path):
    """Internal metadata of DRBD 8.4: the last whole 4 KiB of the disk."""
    sectors = os.path.getsize(path) // SECTOR
    with open(path, "rb") as file:
        file.seek((sectors // 8 * 8 - 8) * SECTOR)
        size, current, bitmap, _, _, _, _, flags, magic = DRBD_METADATA.unpack(file.read(DRBD_METADATA.size))
    assert magic in DRBD_MAGICS, f"{path}: no DRBD metadata, magic {magic:#x}"
    # The lowest bit of a generation tells the role it was written in.
    return types.SimpleNamespace(bytes=size * SECTOR, current=current & ~1, bitmap=bitmap & ~1, flags=flags)


def first_difference(one, other, size):
    """Where the first `size` bytes of two files differ, in 64 KiB; None: nowhere."""
    with open(one, "rb") as first, open(other, "rb") as second:
        for at in range(0, size, 65536):
            count = min(65536, size - at)
            if first.read(count) != second.read(count):
                return at
    return None


def ext4_is_clean(path):
    with open(path, "rb") as file:
        file.seek(1024)
        superblock = file.read(1024)
    magic, state = struct.unpack_from("<HH", superblock, 0x38)
    incompatible, = struct.unpack_from("<I", superblock, 0x60)
    assert magic == 0xEF53, f"{path}: no ext4"
    return bool(state & EXT4_CLEAN) and not incompatible & EXT4_NEEDS_RECOVERY


class Tools:
    """The programs for OCFS2 out of the data machines' own image: this host need not have them."""

    def __init__(self, initrd, directory):
        self.root = directory
        os.makedirs(directory, exist_ok=True)
        unpack = f"zstd -dcq {shlex.quote(initrd)} | cpio -id --quiet 'usr/sbin/*.ocfs2' 'usr/lib/x86_64-linux-gnu/*' 'usr/lib64/*'"
        subprocess.run(["bash", "-o", "pipefail", "-c", unpack], cwd=directory, check=True)

    def run(self, name, *words):
        return subprocess.run([f"{self.root}/usr/lib64/ld-linux-x86-64.so.2", "--library-path",
                               f"{self.root}/usr/lib/x86_64-linux-gnu", f"{self.root}/usr/sbin/{name}", *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)

    def journals(self, disk):
        """The flags of both nodes' journals: "" clean, "Dirty"."""
        flags = []
        for slot in range(2):
            out = self.run("debugfs.ocfs2", "-R", f"stat //journal:{slot:04}", disk).stdout
            flags += [line.partition(":")[2].strip() for line in out.splitlines() if "Journal Flags:" in line]
        return flags
