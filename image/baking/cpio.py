"""A writer of initramfs archives (cpio "newc", Documentation/driver-api/early-userspace/buffer-format.rst).

Everything that could differ from one run to the next is fixed: order, owner 0:0, one time stamp,
inode numbers in order. It needs no root, not even for device nodes.
"""

import posixpath
import stat

from . import BakeError


class Tree:
    """The files of an image, by absolute path. Symbolic links among the directories are followed
    when a file is put in, so that /lib/x lands in /usr/lib/x where /lib is a link."""

    def __init__(self):
        self.nodes = {"/": (stat.S_IFDIR | 0o755, b"", (0, 0))}

    def resolve(self, path):
        """`path` with every link among its leading directories followed."""
        done = "/"
        parts = [p for p in posixpath.normpath("/" + path.lstrip("/")).split("/") if p]
        for budget in range(64):
            if not parts:
                return done
            here = posixpath.join(done, parts.pop(0))
            mode, data, _ = self.nodes.get(here, (0, b"", None))
            if parts and stat.S_ISLNK(mode):
                target = posixpath.normpath(posixpath.join(done, data.decode()))
                parts = [p for p in target.split("/") if p] + parts
                done = "/"
            else:
                done = here
        raise BakeError(f"{path}: too many levels of symbolic links or directories in the image")

    def _put(self, path, mode, data=b"", device=(0, 0)):
        path = self.resolve(path)
        parent = posixpath.dirname(path)
        if parent not in self.nodes:
            self._put(parent, stat.S_IFDIR | 0o755)
        elif not stat.S_ISDIR(self.nodes[parent][0]):
            raise BakeError(f"{path}: {parent} is not a directory in the image")
        self.nodes[path] = (mode, data, device)

    def directory(self, path, mode=0o755):
        self._put(path, stat.S_IFDIR | mode)

    def file(self, path, data, mode=0o644):
        self._put(path, stat.S_IFREG | mode, data)

    def link(self, path, target):
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def character(self, path, mode, major, minor):
        self._put(path, stat.S_IFCHR | mode, b"", (major, minor))

    def __contains__(self, path):
        return self.resolve(path) in self.nodes

    def read(self, path):
        return self.nodes[self.resolve(path)][1]


def _entry(name, inode, mode, mtime, data, device, nlink):
    name = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, nlink, mtime, len(data), 0, 0, device[0], device[1], len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def archive(tree, mtime):
    """The whole tree as the bytes of a cpio archive; parents come before their children."""
    out = []
    for inode, path in enumerate(sorted(tree.nodes, key=lambda p: p.split("/")), start=1):
        mode, data, device = tree.nodes[path]
        name = path.lstrip("/") or "."
        out.append(_entry(name, inode, mode, mtime, data, device, 2 if stat.S_ISDIR(mode) else 1))
    out.append(_entry("TRAILER!!!", 0, 0, 0, b"", (0, 0), 1))
    blob = b"".join(out)
    return blob + b"\0" * (-len(blob) % 512)
