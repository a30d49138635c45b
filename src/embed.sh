#!/bin/sh
# embed.sh FILE…: prints a C file that defines embedded_files (src/config/embedded.h), holding
# each FILE, sorted by name. Comment lines of service and profile files become empty lines, which keeps
# the numbers of the others; all else, and templates whole, are kept byte for byte.

set -eu
LC_ALL=C
export LC_ALL

echo '#include "src/config/embedded.h"'
echo '#include <stddef.h>'
echo
n=0
table=
for file in $(printf '%s\n' "$@" | sort); do
	case $file in
	*[!A-Za-z0-9@._/-]*)
		echo "embed.sh: bad name of a file to compile in: $file" >&2
		exit 1
		;;
	esac
	[ -r "$file" ] || {
		echo "embed.sh: cannot read $file" >&2
		exit 1
	}
	# The zero at the end is not part of the file: it lets the text be used as a string.
	echo "static const unsigned char file_${n}[] = {"
	case $file in
	*.service | *.profile) sed 's/^#.*$//' -- "$file" ;;
	*) cat -- "$file" ;;
	esac | od -An -v -tu1 | sed 's/  *\([0-9][0-9]*\)/\1,/g'
	echo '0};'
	table="$table	{\"$file\", (const char *)file_$n, sizeof(file_$n) - 1},
"
	n=$((n + 1))
done
echo
echo 'const struct embedded_file embedded_files[] = {'
# C has no array of no elements; the count tells.
[ $n -gt 0 ] || table='	{NULL, NULL, 0},
'
printf '%s' "$table"
echo '};'
echo "const size_t embedded_file_count = $n;"
