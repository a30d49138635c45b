"""What `./build.sh image` is made of: packages, ELF files, kernel modules, the archive."""


class BakeError(Exception):
    """Something the user can act on: the message says what was tried, on what, and what came back."""


class FetchError(BakeError):
    """apt could not resolve or fetch: perhaps its index of packages is missing or old."""
