"""ICU's data library made smaller: 31 MB, of which a role may need a part.

The library is one constant, icudtNN_dat, in ICU's "CmnD" format (icu4c, common/ucmndata.h): a
header, a table of (name, data) offsets relative to that table, the names, the items. The items of
the wanted kinds are copied into a new constant and that is linked as a library again.
"""

import os
import struct
import subprocess
import tempfile

from . import BakeError

MAGIC = b"\xda\x27"
FORMAT = b"CmnD"
ALIGN = 16


def select(blob, kinds, name):
    """The same data with only the items "icudtNN/ITEM.KIND" of these kinds at its top level."""
    if blob[2:4] != MAGIC or blob[12:16] != FORMAT:
        raise BakeError(f"{name}: expected ICU common data (CmnD), found {blob[:16]!r}")
    header = struct.unpack_from("<H", blob)[0]
    count = struct.unpack_from("<I", blob, header)[0]
    table = [struct.unpack_from("<II", blob, header + 4 + 8 * i) for i in range(count)]
    ends = [data for _, data in table[1:]] + [len(blob) - header]
    chosen = []
    for (at, data), end in zip(table, ends):
        item = blob[header + at : blob.index(b"\0", header + at)]
        if item.count(b"/") == 1 and item.rpartition(b".")[2].decode() in kinds:
            chosen.append((item, blob[header + data : header + end]))
    if not chosen:
        raise BakeError(f"{name}: no ICU data of the kinds {' '.join(kinds)}")
    names, items, entries = bytearray(), bytearray(), []
    start_names = 4 + 8 * len(chosen)
    start_items = -(-(start_names + sum(len(n) + 1 for n, _ in chosen)) // ALIGN) * ALIGN
    for item, data in chosen:
        entries.append((start_names + len(names), start_items + len(items)))
        names += item + b"\0"
        items += data + b"\0" * (-len(data) % ALIGN)
    out = struct.pack("<I", len(chosen)) + b"".join(struct.pack("<II", *entry) for entry in entries) + names
    return blob[:header] + out + b"\0" * (start_items - len(out)) + items


def constant(library, path):
    """The bytes of the constant icudtNN_dat of a library, and its name."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(library)
        file.flush()
        said = subprocess.run(["readelf", "--dyn-syms", "-W", file.name], capture_output=True, check=False)
    for line in said.stdout.decode().splitlines():
        words = line.split()
        if len(words) == 8 and words[7].startswith("icudt") and words[3] == "OBJECT":
            # In these libraries the constant's address is also its place in the file: .rodata is
            # in the second page-aligned segment, which nothing precedes but the headers and code.
            at, size = int(words[1], 16), int(words[2], 0)
            if library[at + 2 : at + 4] == MAGIC:
                return library[at : at + size], words[7]
    raise BakeError(f"{path}: no ICU data found in this library")


def slim(library, kinds, path):
    """A library with the same name and constant, but only the kinds wanted; as bytes."""
    blob, symbol = constant(library, path)
    with tempfile.TemporaryDirectory() as where:
        data, source, out = (os.path.join(where, n) for n in ("data", "icu.S", "icu.so"))
        with open(data, "wb") as file:
            file.write(select(blob, kinds, path))
        with open(source, "w", encoding="utf-8") as file:
            file.write(f'.section .rodata\n.balign {ALIGN}\n.globl {symbol}\n.type {symbol}, @object\n{symbol}:\n'
                       f'.incbin "data"\n.size {symbol}, . - {symbol}\n.section .note.GNU-stack, "", @progbits\n')  # fmt: skip
        command = ["gcc", "-shared", "-nostdlib", "-Wl,-soname," + os.path.basename(path), "-Wl,--build-id=none",
                   "-Wl,-z,noseparate-code", "-o", "icu.so", "icu.S"]  # fmt: skip
        done = subprocess.run(command, cwd=where, capture_output=True, check=False)
        if done.returncode:
            raise BakeError(f"cannot link a smaller {path}: {done.stderr.decode().strip()}")
        with open(out, "rb") as file:
            return file.read()
