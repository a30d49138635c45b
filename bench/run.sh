#!/bin/bash
# run.sh [NAME…]: measures, and prints what bench/README.md records. Run as: ./build.sh bench …
#
#   size    the program: file, sections, and what each library adds
#   build   how long a build takes: from nothing but the static libraries, and with nothing to do
#   boot    the images in each form until their first program runs, under QEMU's translator
#           (minutes; only when asked for)
#   restart how soon a killed service runs again, beside a bare loop; idle and with 500 services
#           (a minute; only when asked for)
#   demo    the demo: time to the first page, boot of each role, memory (minutes; only when asked for)
#   gossip  the gossip beside serf: 6 and 100 processes in network namespaces (some 12 minutes; root;
#           only when asked for; `gossip.py 6` for six alone)
#   all     size and build (the default)

set -euo pipefail
cd "$TOP"
. "$TOP/image/packages.sh"

bench_size() {
	printf '%-44s %8d bytes\n' "build/supervisor" "$(stat -c %s "$BUILD/supervisor")"
	size -A "$BUILD/supervisor" | awk '$1 ~ /^[.]/ && $2 >= 4096 { printf "    %-40s %8d bytes\n", $1, $2 }'
	printf '%-44s %8d lines\n' "C sources and headers" \
		"$(git ls-files -z -- 'supervisor.c' 'src/*.[ch]' 'services/*.[ch]' | xargs -0 cat | wc -l)"
}

timed() { # TEXT COMMAND…
	local text=$1 start=${EPOCHREALTIME//[.,]/}
	shift
	"$@" >/dev/null 2>&1 || die "$text: failed: $*"
	printf '%-44s %s\n' "$text" "$(seconds_since "$start")"
}

bench_build() {
	local scratch
	scratch=$(mktemp -d)
	# shellcheck disable=SC2064 # the value of now
	trap "rm -rf '$scratch'" EXIT
	timed "the program, from its sources" env BUILD="$scratch" "$TOP/build.sh"
	timed "nothing to do" env BUILD="$scratch" "$TOP/build.sh"
}

bench_boot() {
	need_packages build bake demo
	/usr/bin/python3 -B "$TOP/bench/boot.py"
}

bench_restart() {
	/usr/bin/python3 -B "$TOP/bench/restart.py"
}

bench_demo() {
	need_packages build bake demo
	/usr/bin/python3 -B "$TOP/bench/demo.py"
}

bench_gossip() {
	need_packages build test bench
	/usr/bin/python3 -B "$TOP/bench/gossip.py"
}

main() {
	local name
	[ $# -gt 0 ] || set -- all
	for name in "$@"; do
		case $name in
		size | build | boot | restart | demo | gossip) "bench_$name" ;;
		all)
			bench_size
			bench_build
			;;
		help | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
		*) die "unknown measurement '$name'; expected size, build, boot, restart, demo, gossip, all" ;;
		esac
	done
}

main "$@"
