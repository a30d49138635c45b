"""Just enough ELF to follow a program's shared libraries without running anything.

ldd would run the program with the host's loader and the host's libraries; an image must see
neither. Layout: the System V ABI, chapters 4 and 5 (64-bit, little endian only).
"""

import struct

from . import BakeError

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


def is_elf(data):
    return data[:4] == b"\x7fELF"


def _string(data, offset):
    return data[offset : data.index(b"\0", offset)].decode()


def wanted(data, name):
    """The interpreter (a path, or None) and the DT_NEEDED names of an ELF file's bytes."""
    if data[4:6] != b"\x02\x01":
        raise BakeError(f"{name}: expected a 64-bit little-endian ELF file")
    try:
        return _wanted(data)
    except (struct.error, ValueError) as error:
        raise BakeError(f"{name}: damaged ELF file: {error}") from None


def _wanted(data):
    phoff = struct.unpack_from("<Q", data, 32)[0]
    phentsize, phnum = struct.unpack_from("<HH", data, 54)
    loads, interpreter, dynamic = [], None, None
    for i in range(phnum):
        kind, _, offset, vaddr, _, filesz = struct.unpack_from("<IIQQQQ", data, phoff + i * phentsize)
        if kind == PT_LOAD:
            loads.append((vaddr, filesz, offset))
        elif kind == PT_INTERP:
            interpreter = _string(data, offset)
        elif kind == PT_DYNAMIC:
            dynamic = (offset, filesz)
    if not dynamic:
        return interpreter, []
    entries = [struct.unpack_from("<qQ", data, at) for at in range(dynamic[0], sum(dynamic), 16)]
    # DT_STRTAB is an address, as the loader sees it: translate it to a place in the file.
    strtab = next(value for tag, value in entries if tag == DT_STRTAB)
    base = next(strtab - v + o for v, size, o in loads if v <= strtab < v + size)
    return interpreter, [_string(data, base + value) for tag, value in entries if tag == DT_NEEDED]
