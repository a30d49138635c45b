/* The front door. */

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "src/config/embedded.h"
#include "src/control/commands.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{"check", cmd_check},
	{"keygen", cmd_keygen},
};

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "version") == 0) {
		puts(supervisor_version);
		return 0;
	}
	for (size_t i = 0; argc >= 2 && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, argv[1]) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	}
	fputs("usage: supervisor --profile=NAME | supervisor VERB ...\n", stderr);
	return 2;
}
