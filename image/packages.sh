# shellcheck shell=bash
# Sourced by build.sh and the scripts behind it: what to install, and how steps are shown.
#
#   list_packages SECTION…   prints the packages that image/packages names in these sections
#   need_packages SECTION…   installs those of them that are missing; without any, asks no network
#   as_root COMMAND…         runs a command as root, by sudo where needed
#   step TEXT COMMAND…       runs a command with one line of progress; its output is shown only
#                            when it fails, and then all of it
#   say TEXT…, die TEXT…     a line of progress; an error message and exit 1
#
# Needs TOP (the checkout) to be set. Messages go to stderr.

if [ -t 2 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${NO_COLOR:-}" ]; then
	c_bold=$'\e[1m' c_red=$'\e[31m' c_dim=$'\e[2m' c_off=$'\e[0m'
else
	c_bold='' c_red='' c_dim='' c_off=''
fi

say() {
	printf '%s\n' "${c_bold}==>${c_off} $*" >&2
}

die() {
	printf '%s\n' "${c_red}error:${c_off} $*" >&2
	exit 1
}

seconds_since() { # START in microseconds
	local tenths=$(((${EPOCHREALTIME//[.,]/} - $1) / 100000))
	printf '%d.%d s' $((tenths / 10)) $((tenths % 10))
}

step() {
	local text=$1 start=${EPOCHREALTIME//[.,]/} output status=0
	shift
	output=$(mktemp) || die "cannot make a temporary file in ${TMPDIR:-/tmp}"
	[ -z "$c_off" ] || printf '%s' "    $text …" >&2
	"$@" >"$output" 2>&1 </dev/null || status=$?
	[ -z "$c_off" ] || printf '\r\e[K' >&2
	if [ "$status" -eq 0 ]; then
		printf '%s\n' "    $text ${c_dim}($(seconds_since "$start"))${c_off}" >&2
	else
		printf '%s\n' "    $text: ${c_red}failed${c_off} (exit $status): $*" >&2
		cat "$output" >&2
	fi
	rm -f "$output"
	return "$status"
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "must be root (there is no sudo here) to run: $*"
	fi
}

list_packages() {
	local section
	for section in "$@"; do
		grep -q "^${section}[[:blank:]]" "$TOP/image/packages" ||
			die "image/packages has no section '$section'"
	done
	for section in "$@"; do
		awk -v s="$section" '$1 == s { print $2 }' "$TOP/image/packages"
	done | sort -u
}

# The package index may be missing (a fresh machine) or old (a package version that is gone):
# then, and only then, it is fetched.
apt_install() {
	local -a get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y
		--no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
	as_root "${get[@]}" install "$@" && return
	echo "--- trying again with a fresh package index"
	as_root "${get[@]}" update && as_root "${get[@]}" install "$@"
}

need_packages() {
	local package listed installed
	local -a missing=()
	command -v dpkg-query >/dev/null || die "this needs a Debian system (there is no dpkg-query)"
	listed=$(list_packages "$@") || exit 1
	# shellcheck disable=SC2086 # one word a package
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $listed 2>/dev/null |
		sed -n 's/^installed //p') || true
	for package in $listed; do
		grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
	done
	[ ${#missing[@]} -eq 0 ] && return
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || die "packages are missing; as root, run:
  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
		sudo -v || die "cannot become root to install: ${missing[*]}"
	fi
	step "installing ${missing[*]}" apt_install "${missing[@]}" ||
		die "cannot install packages (listed in image/packages)"
}
