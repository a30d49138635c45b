#!/bin/bash
# Bakes the VM image of a role: ./build.sh image --profile=web --out DIR (--help tells the rest).
# Nothing is installed but the tools of the host; no root is needed once they are there.
set -euo pipefail
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export TOP
. "$TOP/image/packages.sh"

case " $* " in
*" --help "* | *" -h "*) ;;
*) need_packages bake ;;
esac
exec /usr/bin/python3 -B "$TOP/image/bake.py" "$@"
