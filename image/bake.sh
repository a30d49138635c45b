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

bake() {
	# In the background, so that a signal to this script reaches it at once.
	/usr/bin/python3 -B "$TOP/image/bake.py" "$@" &
	child=$!
	trap 'kill -TERM "$child" 2>/dev/null' TERM INT HUP
	local status=0
	wait "$child" || status=$?
	# Interrupted by a signal, wait returns before the child has cleaned up.
	[ "$status" -le 128 ] || wait "$child" 2>/dev/null || true
	return "$status"
}

status=0
bake "$@" || status=$?
if [ "$status" -eq 75 ]; then
	# The packages named in an old index may be gone from the mirror.
	step "fetching apt's index of packages" as_root apt-get -qq update || exit 1
	status=0
	bake "$@" || status=$?
	[ "$status" -ne 75 ] || status=1
fi
exit "$status"
