"""Debian packages as a source of files: resolved and fetched by apt, unpacked beside each other
in the cache, never installed.

What was resolved is written down (NAME.plan in the cache): while it and the packages it names are
there, a further run needs no network and gives the same bytes, even after `apt-get update`.
"""

import hashlib
import os
import posixpath
import shutil
import subprocess
import tempfile
import urllib.parse

from . import BakeError, FetchError

# apt on its own sees the host's installed packages; here nothing counts as installed.
NOTHING_INSTALLED = ["-o", "Dir::State::status=/dev/null"]


def run(arguments, **options):
    """Run a command; its output, or a BakeError with what it said."""
    try:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **options)
    except OSError as error:
        raise BakeError(f"cannot run {arguments[0]}: {error.strerror}") from None
    if done.returncode:
        said = (done.stderr or done.stdout or b"").decode(errors="replace").strip()
        said = "\n".join(said.splitlines()[-15:])
        raise BakeError(f"`{' '.join(arguments)}` failed with {done.returncode}:\n{said}")
    return done.stdout


def package_list(path):
    """The file image/packages: lines "SECTION PACKAGE…" as {section: [package…]}."""
    sections = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.partition("#")[0].split()
            if words:
                sections.setdefault(words[0], []).extend(words[1:])
    return sections


def _records(text):
    """The paragraphs of `apt-cache show` as dictionaries (first lines only)."""
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if "Package" in fields:
            yield fields


class Debs:
    """One set of packages with all their libraries."""

    def __init__(self, cache, name, packages, keep=(), libraries=True, update=False, say=lambda text: None):
        """Of what the packages depend on, those of section libs are held (unless not `libraries`),
        and those whose names begin with one of `keep`. `say` is told what takes long."""
        self.say, self.with_libraries = say, libraries
        self.where = os.path.join(cache, "debs")
        self.unpacked = os.path.join(cache, "unpacked")
        self.packages, self.keep = sorted(packages), keep
        os.makedirs(self.where, exist_ok=True)
        os.makedirs(self.unpacked, exist_ok=True)
        self.plan_path = os.path.join(self.where, name + ".plan")
        self.plan = None if update else self._read_plan()
        if self.plan is None:
            self.plan = self._resolve()
            self._fetch()
            self._write_plan()
        self.roots = {}

    # --- the plan

    def _key(self):
        return "# " + " ".join(self.packages)

    def _read_plan(self):
        try:
            with open(self.plan_path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return None
        if not lines or lines[0] != self._key():
            return None
        plan = [dict(zip(("Package", "Version", "Filename", "SHA256", "Size"), line.split())) for line in lines[1:]]
        return plan if all(os.path.exists(self._deb(record)) for record in plan) else None

    def _write_plan(self):
        with open(self.plan_path + ".new", "w", encoding="utf-8") as file:
            print(self._key(), file=file)
            for record in self.plan:
                print(*(record[f] for f in ("Package", "Version", "Filename", "SHA256", "Size")), file=file)
        os.replace(self.plan_path + ".new", self.plan_path)

    def _resolve(self):
        base = ["apt-get", "install", "-s", "-qq", "--no-install-recommends", *NOTHING_INSTALLED]
        try:
            lines = run(base + self.packages).decode().splitlines()
        except BakeError as error:
            raise FetchError(f"apt cannot resolve {' '.join(self.packages)}: {error}") from None
        chosen = []
        for line in lines:
            if line.startswith("Inst "):
                name, version = line.split()[1:3]
                chosen.append(f"{name}={version.lstrip('(')}")
        if not chosen:
            raise FetchError(f"apt found nothing to fetch for {' '.join(self.packages)}")
        plan = []
        for record in _records(run(["apt-cache", "show", *chosen]).decode()):
            name = record["Package"]
            if name in self.packages or (self.with_libraries and record.get("Section") == "libs") or name.startswith(tuple(self.keep)):
                plan.append(record)
        return sorted(plan, key=lambda record: record["Package"])

    # --- fetching and unpacking

    def _deb(self, record):
        # apt-get download names the file by name, version (its colon escaped) and architecture.
        arch = record["Filename"].rsplit("_", 1)[1]
        return os.path.join(self.where, f"{record['Package']}_{urllib.parse.quote(record['Version'], safe='+~')}_{arch}".replace("%3A", "%3a"))

    def _fetch(self):
        missing = [r for r in self.plan if not os.path.exists(self._deb(r))]
        if not missing:
            return
        options = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        size = sum(int(record["Size"]) for record in missing)
        self.say(f"fetching {len(missing)} package{'s' if len(missing) > 1 else ''}, {size / 1e6:.0f} MB")
        with tempfile.TemporaryDirectory(dir=self.where) as there:
            try:
                run(["apt-get", "download", "-qq", *options, *(f"{r['Package']}={r['Version']}" for r in missing)], cwd=there)
            except BakeError as error:
                raise FetchError(str(error)) from None
            for record in missing:
                fetched = os.path.join(there, os.path.basename(self._deb(record)))
                if not os.path.exists(fetched):
                    raise FetchError(f"apt-get download left no {os.path.basename(fetched)}")
                os.replace(fetched, self._deb(record))

    def root(self, record, only=()):
        """The directory where a package lies unpacked; `only`: tar patterns to limit it to."""
        tag = "-" + hashlib.sha256(" ".join(only).encode()).hexdigest()[:8] if only else ""
        there = os.path.join(self.unpacked, f"{record['Package']}_{record['Version']}{tag}".replace(":", "%3a"))
        if os.path.isdir(there):
            return there
        deb = self._deb(record)
        with open(deb, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != record["SHA256"]:
            os.unlink(deb)
            raise BakeError(f"{deb}: checksum {found}, expected {record['SHA256']}; removed it, try again")
        half = tempfile.mkdtemp(dir=self.unpacked)
        try:
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as source:
                run(["tar", "-x", "--no-same-owner", "-C", half, "--wildcards", *only], stdin=source.stdout)
                # tar may stop reading early; what matters is that it found all it was asked for
                source.stdout.close()
            os.chmod(half, 0o755)
            os.rename(half, there)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
        return there

    # --- looking files up

    def _lookup(self, record, path):
        """A path inside one unpacked package with its links followed within the set, or None."""
        return self._follow(self.root(record), path)

    def _follow(self, root, path):
        full = root + path
        if os.path.islink(full):
            return self.find(posixpath.normpath(posixpath.join(posixpath.dirname(path), os.readlink(full))))
        return full if os.path.exists(full) else None

    def find(self, path):
        """(file on disk, package record) of an absolute path of the set; None if no package has it.
        /lib and /usr/lib, /bin and /usr/bin … are the same place, as on any Debian 12."""
        path = path.removeprefix("/usr")
        for record in self.plan:
            for spelled in (path, "/usr" + path):
                found = self._lookup(record, spelled)
                if isinstance(found, tuple):
                    return found
                if found:
                    return found, record
        return None
