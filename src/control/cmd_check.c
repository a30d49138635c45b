/* supervisor check [--profile=NAME] [--node=NAME] [--accounts=DIR] [DIR]: is a configuration right?
 */
#include "src/control/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/log.h"
#include "src/config/check.h"
#include "src/process/seccomp.h"
#include "src/worker/worker.h"

static int usage(FILE *to, int code)
{
	fprintf(to,
		"usage: supervisor check [--profile=NAME] [--node=NAME] [--accounts=DIR] [DIR]\n");
	return code;
}

static bool option(const char *argument, const char *name, const char **value)
{
	size_t length = strlen(name);
	if (strncmp(argument, name, length) != 0 || argument[length] != '=' ||
	    !argument[length + 1])
		return false;
	*value = argument + length + 1;
	return true;
}

int cmd_check(int argc, char **argv)
{
	struct config_source source = {.worker_known = worker_known, .filter_good = seccomp_good};
	for (int i = 1; i < argc; i++) {
		if (option(argv[i], "--profile", &source.profile) ||
		    option(argv[i], "--node", &source.node) ||
		    option(argv[i], "--accounts", &source.accounts))
			continue;
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return usage(stdout, 0);
		if (argv[i][0] == '-' || source.directory)
			return usage(stderr, 2);
		source.directory = argv[i];
	}

	struct stat status;
	if (source.directory && stat(source.directory, &status) < 0)
		fatal("check: %s", source.directory);
	if (source.directory && !S_ISDIR(status.st_mode))
		fatalx("check: %s: not a directory", source.directory);

	struct config_report *report = calloc(1, sizeof(*report));
	if (!report)
		fatal("check");
	struct check_summary summary;
	config_check(&source, report, &summary);
	for (size_t i = 0; i < report->count && i < CONFIG_FINDINGS_MAX; i++)
		fprintf(stderr, "%s\n", report->finding[i]);
	if (report->count > CONFIG_FINDINGS_MAX)
		fprintf(stderr, "and %zu more\n", report->count - CONFIG_FINDINGS_MAX);
	if (report->count > 0)
		fprintf(stderr, "wrong: %zu findings\n", report->count);
	else
		printf("ok: %zu services in %zu profiles, %zu nodes, %zu shares%s\n",
		       summary.services, summary.profiles, summary.nodes, summary.shares,
		       summary.skipped ? " (profiles of a cluster not checked: no cluster.conf)"
				       : "");
	int code = report->count > 0;
	free(report);
	return code;
}
