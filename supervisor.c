/* The front door. */

#include <stdio.h>
#include <string.h>

#include "src/config/embedded.h"

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "version") == 0) {
		puts(supervisor_version);
		return 0;
	}
	fputs("usage: supervisor --profile=NAME | supervisor VERB ...\n", stderr);
	return 2;
}
