"""Kernel modules: which a role needs, with what they depend on, made as small as they go.

The dependencies come from the modules themselves (the section .modinfo that modpost writes), so
that no depmod is needed and a module of our own fits in.
"""

import os
import subprocess
import tempfile

from . import BakeError

# BTF only serves BPF tools. The signature goes with it: checking one costs more than loading the
# module does, and nothing here enforces it (the kernel then says once that it is tainted).
STRIP = ["objcopy", "--strip-debug", "--remove-section=.BTF", "--remove-section=.comment"]


def _canonical(name):
    return name.replace("-", "_")


def modinfo(data, name):
    """The lists of values of .modinfo by key, found by section name."""
    import struct

    try:
        shoff = struct.unpack_from("<Q", data, 40)[0]
        shentsize, shnum, shstrndx = struct.unpack_from("<HHH", data, 58)
        sections = [struct.unpack_from("<IIQQQQ", data, shoff + i * shentsize) for i in range(shnum)]
        names = sections[shstrndx][4]
        for section in sections:
            start = names + section[0]
            if data[start : start + 9] == b".modinfo\0":
                info = {}
                for line in data[section[4] : section[4] + section[5]].split(b"\0"):
                    key, _, value = line.decode(errors="replace").partition("=")
                    info.setdefault(key, []).append(value)
                return info
    except (struct.error, IndexError):
        pass
    raise BakeError(f"{name}: not a kernel module (no .modinfo)")


class Modules:
    """The modules under ROOT/lib/modules/VERSION, some of them replaced by files of our own."""

    def __init__(self, root):
        base = os.path.join(root, "lib/modules")
        versions = os.listdir(base) if os.path.isdir(base) else []
        if len(versions) != 1:
            raise BakeError(f"{base}: expected one kernel version, found {versions or 'none'}")
        self.version = versions[0]
        self.base = os.path.join(base, self.version)
        self.paths, self.replaced = {}, {}
        for where, _, files in os.walk(self.base):
            for file in files:
                if file.endswith(".ko"):
                    full = os.path.join(where, file)
                    self.paths[_canonical(file[:-3])] = os.path.relpath(full, self.base)
        with open(os.path.join(self.base, "modules.builtin"), encoding="utf-8") as file:
            self.builtin_text = file.read()
        self.builtin = {_canonical(os.path.basename(line)[:-3]) for line in self.builtin_text.split()}
        self.info = {}

    def replace(self, name, path):
        self.replaced[_canonical(name)] = path

    def source(self, name):
        return self.replaced.get(name) or os.path.join(self.base, self.paths[name])

    def _info(self, name):
        if name not in self.info:
            with open(self.source(name), "rb") as file:
                self.info[name] = modinfo(file.read(), self.source(name))
        return self.info[name]

    def depends(self, name):
        """Direct dependencies of a module, hard ones and those it merely asks for first."""
        info = self._info(name)
        hard = [_canonical(d) for d in info.get("depends", [""])[0].split(",") if d]
        return [d for d in hard if d not in self.builtin]

    def closure(self, names):
        """Those and all they depend on, each after what it needs (so: a loading order)."""
        order = []

        def visit(name, wanted_by):
            name = _canonical(name)
            if name in order or name in self.builtin:
                return
            if name not in self.paths:
                raise BakeError(f"kernel {self.version} has no module {name} (wanted by {wanted_by})")
            for other in self.depends(name):
                visit(other, name)
            order.append(name)

        for name in names:
            visit(name, "the role")
        return order

    def dep_file(self, order):
        """The text of modules.dep for these modules, as depmod would write it: what to load first
        stands last in a line."""
        lines = []
        for name in sorted(order, key=lambda n: self.paths[n]):
            needs = [n for n in self.closure([name]) if n != name]
            lines.append(f"{self.paths[name]}:" + "".join(f" {self.paths[n]}" for n in reversed(needs)))
        return "".join(line + "\n" for line in lines)

    def stripped(self, name):
        """The bytes of a module without what is of no use at run time."""
        with tempfile.NamedTemporaryFile(suffix=".ko") as out:
            done = subprocess.run([*STRIP, self.source(name), out.name], capture_output=True, check=False)
            if done.returncode:
                raise BakeError(f"objcopy failed on {self.source(name)}: {done.stderr.decode().strip()}")
            return out.read()
