#!/bin/bash
# build.sh: one command for everything that is done with this checkout. See ./build.sh help.
#
# Thin on purpose: each verb makes sure that its packages are there (image/packages) and that
# the program is built, then hands over to the script that knows.

set -euo pipefail
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
START_DIR=$PWD
cd "$TOP"
. "$TOP/image/packages.sh"

# Where results go, and where what is fetched or built once is kept. A relative path is meant
# relative to where the user stands.
absolute() { case $1 in /*) echo "$1" ;; *) echo "$START_DIR/$1" ;; esac; }
BUILD=$(absolute "${BUILD:-$TOP/build}")
CACHE=$(absolute "${CACHE:-$TOP/.cache}")
export TOP BUILD CACHE

usage() {
	cat <<'EOF'
usage: ./build.sh [VERB [ARGUMENT...]]

  (none)            build build/supervisor: one static, stripped binary
  test [STAGE...]   build and run the tests: all of them, or the stages
                    check, unit, sim, system, fuzz, vm, soak; arguments after -- go to
                    pytest
  demo [VERB...]    six virtual machines serving PHP on http://127.0.0.1:8080/
                    (up, down, status, ctl, kill, cut, ...: ./build.sh demo help)
  image ARGUMENT... bake the image of a role: --profile=web --out DIR
                    (./build.sh image --help)
  bench [NAME...]   measure (./build.sh bench help)
  sim ARGUMENT...   simulate the gossip of a cluster, with faults; a seed replays a run
                    (./build.sh sim --help)
  format            lay out all C files by .clang-format
  clean [--all]     remove build/; with --all also what was fetched (.cache/)
  help              this text

Installs the Debian packages that a verb needs (listed in image/packages), as root or by
sudo, only when one is missing. Environment:

  BUILD=DIR         where results go (build)
  CACHE=DIR         where libraries and packages are kept between builds (.cache)
  JOBS=N            how many compilers at once (one for each processor)
  FUZZ_SECONDS=N    how long each fuzz target runs in a test (5)
EOF
}

# A folder of the user's choice is removed by clean only if it was made here, for nothing else:
# the tag says so (and lets backup programs skip it; https://bford.info/cachedir/).
make_folder() {
	[ -d "$1" ] && [ -n "$(ls -A "$1")" ] && return
	mkdir -p "$1"
	printf '%s\n' 'Signature: 8a477f597d28d172789f06886806bc55' \
		'# Made by build.sh of supervisor; ./build.sh clean removes it.' >"$1/CACHEDIR.TAG"
}

remove_folder() { # DIR DEFAULT
	[ -e "$1" ] || return 0
	[ "$1" = "$2" ] || grep -qs 'build.sh of supervisor' "$1/CACHEDIR.TAG" ||
		die "$1 was not made by build.sh (no CACHEDIR.TAG of its own in it): not removed"
	rm -rf "$1"
}

# Another build with the same CACHE may be at it: the second waits, and finds all done.
static_libs() {
	flock "$CACHE/static/lock" "$TOP/src/static-libs.sh" "$STATIC"
}

build() {
	local jobs=${JOBS:-$(nproc)}
	need_packages build
	make_folder "$BUILD"
	make_folder "$CACHE"
	mkdir -p "$CACHE/static"
	STATIC=$CACHE/static/$("$TOP/src/static-libs.sh" --key)
	export STATIC
	[ -e "$STATIC/complete" ] ||
		step "libcap, libseccomp, libsodium (once, about 40 s)" static_libs ||
		die "cannot build the static libraries"
	step "build/supervisor" make -f src/Makefile -j "$jobs" VARIANT=static BUILD="$BUILD" \
		STATIC="$STATIC" || die "cannot build supervisor"
}

need_file() {
	[ -e "$TOP/$1" ] || die "this checkout has no $1"
}

main() {
	local verb=${1:-build}
	[ $# -eq 0 ] || shift
	case $verb in
	build)
		[ $# -eq 0 ] || die "build takes no arguments, found: $*"
		say "building"
		build
		;;
	test)
		need_packages build test
		build
		exec "$TOP/tests/run.sh" "$@"
		;;
	demo)
		need_file image/demo/demo.py
		need_packages build bake demo
		build
		cd "$START_DIR"
		exec /usr/bin/python3 "$TOP/image/demo/demo.py" "$@"
		;;
	image)
		need_file image/bake.sh
		need_packages build bake
		build
		cd "$START_DIR"
		exec "$TOP/image/bake.sh" "$@"
		;;
	sim)
		need_packages build test
		make_folder "$BUILD"
		make -s -f src/Makefile -j "${JOBS:-$(nproc)}" VARIANT=sim BUILD="$BUILD" sim
		exec "$BUILD/sim/sim" "$@"
		;;
	bench)
		build
		exec "$TOP/bench/run.sh" "$@"
		;;
	format)
		need_packages test
		git ls-files '*.c' '*.h' | xargs clang-format -i
		;;
	clean)
		case ${1:-} in
		'') remove_folder "$BUILD" "$TOP/build" ;;
		--all)
			remove_folder "$BUILD" "$TOP/build"
			remove_folder "$CACHE" "$TOP/.cache"
			;;
		*) die "clean takes nothing or --all, found: $1" ;;
		esac
		;;
	help | --help | -h) usage ;;
	*)
		usage >&2
		die "unknown verb: $verb"
		;;
	esac
}

main "$@"
