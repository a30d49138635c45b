#!/bin/bash
# run.sh [STAGE…] [--] [PYTEST-ARGUMENT…]: builds and runs the tests. Run as: ./build.sh test …
#
#   check   shellcheck, layout of the C files, length of files and functions
#   unit    tests/unit/test_*.c: cmocka programs, with address and undefined-behaviour sanitizers
#   sim     tests/sim: the gossip of clusters in virtual time, SIM_SEEDS of them (10000), and some
#           with sanitizers
#   system  tests/system/test_*.py: real processes, with the sanitized program and with the product
#           ($SUPERVISOR_BIN names it) side by side
#   fuzz    tests/fuzz/fuzz_*.c: libFuzzer targets, FUZZ_SECONDS each (5), from the seeds in
#           tests/fuzz/corpus/NAME/
#   vm      tests/vm/test_*.py: virtual machines
#   soak    a million seeds of the simulation, tests/soak/test_*.py: long runs; only when asked for
#   all     check unit sim system fuzz vm (the default)
#
# A stage that fails does not stop the others; the end shows the summary lines of every runner,
# and the exit code is 0 only if nothing failed.

set -euo pipefail
cd "$TOP"
. "$TOP/image/packages.sh"

stages=()
pytest_arguments=()
summary=()
failed=0
LOG=$BUILD/test-log

export PYTHONDONTWRITEBYTECODE=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

# Address space randomization with many bits makes the sanitizers of gcc 12 and clang 14 fail now
# and then at start; a container may forbid to switch it off.
run_sanitized=()
if setarch "$(uname -m)" -R true 2>/dev/null; then
	run_sanitized=(setarch "$(uname -m)" -R)
fi

report() { # ok|FAILED|none STAGE TEXT
	local line
	line=$(printf '%-8s %-7s %s' "$2" "$1" "$3")
	summary+=("$line")
	[ "$1" != FAILED ] || failed=1
}

make_variant() { # VARIANT GOAL
	make -f src/Makefile -j "${JOBS:-$(nproc)}" VARIANT="$1" BUILD="$BUILD" "$2"
}

# --- check

check_shell() {
	git ls-files -z | xargs -0 grep -lZE '^#!/bin/(ba)?sh|^# shellcheck shell=' |
		xargs -0 shellcheck -x
}

check_layout() {
	local file bad=0
	while IFS= read -r -d '' file; do
		clang-format "$file" | cmp -s - "$file" && continue
		echo "$file is not laid out by .clang-format; ./build.sh format does it"
		bad=1
	done < <(git ls-files -z -- '*.c' '*.h')
	return "$bad"
}

check_length() {
	git ls-files -z -- 'supervisor.c' 'src/*.[ch]' 'services/*.[ch]' 'image/*.[ch]' '*.py' '*.sh' |
		xargs -0 awk '
		FNR == 1 { start = 0 }
		/^{/ && FILENAME ~ /\.c$/ { start = FNR }
		/^}/ && start {
			if (FNR - start - 1 > 80) {
				printf "%s:%d: a function of %d lines; the limit is 80\n",
					FILENAME, start, FNR - start - 1
				bad = 1
			}
			start = 0
		}
		FNR == 901 { printf "%s: more than 900 lines\n", FILENAME; bad = 1 }
		END { exit bad }'
}

stage_check() {
	local check bad=0 count=0
	for check in shell layout length; do
		count=$((count + 1))
		step "$check" "check_$check" || bad=$((bad + 1))
	done
	if [ "$bad" -eq 0 ]; then
		report ok check "$count checks passed"
	else
		report FAILED check "$bad of $count checks failed"
	fi
}

# --- unit

stage_unit() {
	local source name programs=0 bad=0 passed=0 count log=$LOG/unit
	if ! compgen -G 'tests/unit/test_*.c' >/dev/null; then
		report none unit "tests/unit holds no test_*.c"
		return
	fi
	if ! step "building the unit tests" make_variant asan unit; then
		report FAILED unit "does not build"
		return
	fi
	for source in tests/unit/test_*.c; do
		name=$(basename "$source" .c)
		programs=$((programs + 1))
		if ! "${run_sanitized[@]}" timeout 120 "$BUILD/asan/$name" >"$log" 2>&1 </dev/null; then
			bad=$((bad + 1))
			cat "$log"
			printf '%s\n' "    ${c_red}failed${c_off}: $name"
		fi
		count=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s)\.$/\1/p' "$log" | tail -n 1)
		passed=$((passed + ${count:-0}))
		printf '    %-28s %s\n' "$name" "[  PASSED  ] ${count:-0} test(s)."
	done
	if [ "$bad" -eq 0 ]; then
		report ok unit "$programs programs: [  PASSED  ] $passed test(s)."
	else
		report FAILED unit "$bad of $programs programs failed; $passed test(s) passed"
	fi
}

# --- sim

run_sweep() { # STAGE VARIANT FROM TO
	local log=$LOG/$1-$2
	if ! step "building the simulator ($2)" make_variant "$2" sim; then
		report FAILED "$1" "does not build"
	elif "${run_sanitized[@]}" "$BUILD/$2/sim" --sweep "$3..$4" >"$log" 2>&1 </dev/null; then
		report ok "$1" "$2: $(tail -n 1 "$log")"
	else
		cat "$log"
		report FAILED "$1" "$2: $(tail -n 1 "$log")"
	fi
}

stage_sim() {
	run_sweep sim sim 1 "${SIM_SEEDS:-10000}"
	run_sweep sim asan 1 300
}

# --- pytest

run_pytest() { # STAGE NAME-IN-SUMMARY
	local log=$LOG/$2
	if ! compgen -G "tests/$1/test_*.py" >/dev/null; then
		report none "$2" "tests/$1 holds no test_*.py"
		return
	fi
	say "pytest tests/$1 with $SUPERVISOR_BIN"
	pytest_into_log "$1" "$2" /dev/stdout
	report_pytest "$2"
}

# The log, and how it ended beside it. OUTPUT gets what is shown meanwhile.
pytest_into_log() { # STAGE NAME OUTPUT
	local status=0
	/usr/bin/python3 -m pytest -p no:cacheprovider -ra "tests/$1" "${pytest_arguments[@]}" \
		</dev/null 2>&1 | tee "$LOG/$2" >"$3" || status=$?
	echo "$status" >"$LOG/$2.status"
}

report_pytest() { # NAME
	local status last
	status=$(cat "$LOG/$1.status" 2>/dev/null || echo 1)
	last=$(tail -n 1 "$LOG/$1")
	# 5: no test was selected. That is all right only if the user has narrowed the selection.
	if [ "$status" -eq 0 ] || { [ "$status" -eq 5 ] && [ ${#pytest_arguments[@]} -gt 0 ]; }; then
		report ok "$1" "$last"
	else
		report FAILED "$1" "$last"
	fi
}

# The sanitized and the real program at the same time: most of these tests wait for something. A
# sanitizer's report by a process whose messages nobody reads must not get lost: into files.
stage_system() {
	local reports=$BUILD/asan/report sanitized
	rm -f "$reports".* "$LOG/asan" "$LOG/asan.status"
	if ! step "building the sanitized program" make_variant asan supervisor; then
		report FAILED asan "does not build"
		SUPERVISOR_BIN=$BUILD/supervisor run_pytest system system
		return
	fi
	SUPERVISOR_BIN=$BUILD/asan/supervisor \
		ASAN_OPTIONS=detect_leaks=0:log_path=$reports \
		UBSAN_OPTIONS=$UBSAN_OPTIONS:log_path=$reports \
		pytest_into_log system asan /dev/null &
	sanitized=$!
	SUPERVISOR_BIN=$BUILD/supervisor run_pytest system system
	say "pytest tests/system with $BUILD/asan/supervisor, which ran meanwhile"
	wait "$sanitized" || true
	cat "$LOG/asan"
	report_pytest asan
	if compgen -G "$reports.*" >/dev/null; then
		tail -n +1 "$reports".*
		report FAILED asan "sanitizer reports: $(compgen -G "$reports.*" | tr '\n' ' ')"
	fi
}

stage_vm() {
	need_packages bake demo
	# The tools of ocfs2, run on the disks of the VMs, ask it what is mounted; a bare debootstrap lacks it.
	[ -e /etc/mtab ] || as_root ln -s ../proc/self/mounts /etc/mtab
	SUPERVISOR_BIN=$BUILD/supervisor run_pytest vm vm
}

stage_soak() {
	run_sweep soak sim 1 "${SIM_SEEDS:-1000000}"
	need_packages bake demo
	SUPERVISOR_BIN=$BUILD/supervisor run_pytest soak soak
}

# --- fuzz

stage_fuzz() {
	local source name targets=0 bad=0 seconds=${FUZZ_SECONDS:-5} log=$LOG/fuzz
	local -a arguments
	if ! compgen -G 'tests/fuzz/fuzz_*.c' >/dev/null; then
		report none fuzz "tests/fuzz holds no fuzz_*.c"
		return
	fi
	if ! step "building the fuzz targets" make_variant fuzz fuzz; then
		report FAILED fuzz "does not build"
		return
	fi
	for source in tests/fuzz/fuzz_*.c; do
		name=$(basename "$source" .c)
		targets=$((targets + 1))
		# What is found goes into the first folder; the seeds are only read.
		mkdir -p "$BUILD/fuzz/corpus/$name"
		arguments=("$BUILD/fuzz/corpus/$name")
		[ ! -d "tests/fuzz/corpus/$name" ] || arguments+=("tests/fuzz/corpus/$name")
		[ ! -f "tests/fuzz/$name.dict" ] || arguments+=("-dict=tests/fuzz/$name.dict")
		if "${run_sanitized[@]}" timeout $((seconds + 120)) "$BUILD/fuzz/$name" \
			"-max_total_time=$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
			"-artifact_prefix=$BUILD/fuzz/$name-" "${arguments[@]}" \
			>"$log" 2>&1 </dev/null; then
			printf '    %-28s %s\n' "$name" "$(tail -n 1 "$log")"
		else
			bad=$((bad + 1))
			tail -n 60 "$log"
			printf '%s\n' "    ${c_red}failed${c_off}: $name; replay: $BUILD/fuzz/$name FILE"
		fi
	done
	if [ "$bad" -eq 0 ]; then
		report ok fuzz "$targets targets, $seconds s each"
	else
		report FAILED fuzz "$bad of $targets targets failed"
	fi
}

# ---

parse_arguments() {
	local argument
	while [ $# -gt 0 ]; do
		argument=$1
		case $argument in
		all) stages+=(check unit sim system fuzz vm) ;;
		check | unit | sim | system | fuzz | vm | soak) stages+=("$argument") ;;
		--)
			shift
			break
			;;
		-* | */*) break ;;
		*) die "unknown stage '$argument'; expected check, unit, sim, system, fuzz, vm, soak, all" ;;
		esac
		shift
	done
	pytest_arguments=("$@")
	[ ${#stages[@]} -gt 0 ] || stages=(check unit sim system fuzz vm)
}

main() {
	local stage start=$SECONDS
	parse_arguments "$@"
	rm -rf "$LOG"
	mkdir -p "$LOG"
	for stage in "${stages[@]}"; do
		say "test: $stage"
		"stage_$stage"
	done
	say "summary ($((SECONDS - start)) s)"
	printf '%s\n' "${summary[@]}"
	if [ "$failed" -ne 0 ]; then
		printf '%s\n' "${c_red}some tests failed${c_off}"
		exit 1
	fi
}

main "$@"
