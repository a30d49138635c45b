#!/bin/bash
# static-libs.sh DIR: builds the three static libraries of the binary into DIR (lib/, include/,
# kernel-headers/), with musl-gcc, from Debian's source packages.
#
# static-libs.sh --key: prints a word that changes whenever the result would.
#
# The sources are fetched once into $CACHE/sources from whichever Debian mirror this machine's
# own apt is set up for; pinned here by version and by the checksum in Debian's signed index.

set -euo pipefail
TOP=$(cd "$(dirname "$0")/.." && pwd)
. "$TOP/image/packages.sh"

libcap=pool/main/libc/libcap2/libcap2_2.66.orig.tar.xz
libcap_sha256=15c40ededb3003d70a283fe587a36b7d19c8b3b554e33f86129c059a4bb466b2
libseccomp=pool/main/libs/libseccomp/libseccomp_2.5.4.orig.tar.gz
libseccomp_sha256=d82902400405cf0068574ef3dc1fe5f5926207543ba1ae6f8e7a1576351dcbdb
libsodium=pool/main/libs/libsodium/libsodium_1.0.18.orig.tar.gz
libsodium_sha256=d59323c6b712a1519a5daf710b68f5e7fde57040845ffec53850911f10a5d4f4

# Every function and object in a section of its own, so that the linker can drop what the
# binary does not use; position-independent, because the binary is.
flags="-Os -g -fPIE -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables"
flags+=" -fstack-protector-strong -fstack-clash-protection"
machine=$(uname -m)

key() {
	{
		cat "$TOP/src/static-libs.sh"
		musl-gcc -dumpfullversion
		dpkg-query -W -f '${Package} ${Version}\n' musl-dev linux-libc-dev
	} | sha256sum | cut -c1-16
}

# The first Debian mirror that apt is set up for, as "BASE-URI". Its pool holds the packages of
# all releases that are alive, so the release of this machine does not matter.
mirror() {
	# shellcheck disable=SC2016 # apt expands these
	apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' 'Label: Debian' 'Component: main' | sed -n 1p
}

fetch() { # PATH-IN-POOL SHA256
	local file=$CACHE/sources/${1##*/} base
	if [ -f "$file" ] && sha256sum --status -c <<<"$2  $file"; then
		return
	fi
	base=$(mirror)
	if [ -z "$base" ]; then
		as_root apt-get -qq update
		base=$(mirror)
	fi
	[ -n "$base" ] || die "apt is set up with no Debian mirror (see apt-get indextargets)"
	mkdir -p "$CACHE/sources"
	rm -f "$file"
	/usr/lib/apt/apt-helper download-file "${base%/}/$1" "$file" "SHA256:$2" ||
		die "cannot fetch ${base%/}/$1 with SHA256 $2"
}

unpack() { # PATH-IN-POOL DIR
	mkdir "$2"
	tar -xf "$CACHE/sources/${1##*/}" -C "$2" --strip-components=1 --no-same-owner
}

# musl-gcc searches none of the system's include folders: show it the kernel's, and only those.
link_kernel_headers() {
	mkdir -p "$out/kernel-headers"
	ln -s /usr/include/linux /usr/include/asm-generic "/usr/include/$machine-linux-gnu/asm" \
		"$out/kernel-headers"
}

build_libcap() {
	unpack "$libcap" cap
	make -C cap/libcap libcap.a CC="$cc" BUILD_CC=gcc AR=ar RANLIB=ranlib \
		COPTS="$cflags" BUILD_COPTS=-O1
	cp cap/libcap/libcap.a "$out/lib/"
	cp cap/libcap/include/sys/capability.h "$out/include/sys/"
}

build_libseccomp() {
	unpack "$libseccomp" seccomp
	(cd seccomp && ./configure --host="$machine-linux-musl" --prefix="$out" --enable-static \
		--disable-shared --disable-python --disable-dependency-tracking CC="$cc" CFLAGS="$cflags")
	make -C seccomp/src libseccomp.la
	cp seccomp/src/.libs/libseccomp.a "$out/lib/"
	cp seccomp/include/seccomp.h seccomp/include/seccomp-syscalls.h "$out/include/"
}

# The tarball holds no configure script. Without the variants for vector units, which the library would
# choose from as it runs: they take 60 KB, and some hundred short packets a second do not need them.
build_libsodium() {
	unpack "$libsodium" sodium
	(cd sodium && autoreconf -fi && ./configure --host="$machine-linux-musl" --prefix="$out" \
		--enable-static --disable-shared --disable-pie --disable-ssp --disable-asm \
		--disable-dependency-tracking CC="$cc" CFLAGS="$cflags")
	sed -i 's/-DHAVE_[A-Z0-9]*INTRIN_H=1//g' sodium/src/libsodium/Makefile
	make -C sodium/src/libsodium install
}

main() {
	if [ "${1:-}" = --key ]; then
		key
		return
	fi
	local final=${1:?usage: static-libs.sh DIR | --key} work
	[ ! -e "$final/complete" ] || return 0
	fetch "$libcap" "$libcap_sha256"
	fetch "$libseccomp" "$libseccomp_sha256"
	fetch "$libsodium" "$libsodium_sha256"

	rm -rf "$final"
	mkdir -p "$final/lib" "$final/include/sys"
	out=$(cd "$final" && pwd)
	work=$(mktemp -d "$out/work.XXXXXX")
	# shellcheck disable=SC2064 # the value of now
	trap "rm -rf '$work'" EXIT
	cd "$work"
	cc="musl-gcc"
	cflags="$flags -isystem $out/kernel-headers -ffile-prefix-map=$work=/libs"

	link_kernel_headers
	# Each in a shell of its own that stops at the first error: called within a condition,
	# a function does not.
	local library
	for library in libcap libseccomp libsodium; do
		(set -e && "build_$library")
	done
	touch "$out/complete"
}

main "$@"
