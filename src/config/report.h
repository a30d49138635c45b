/*
 * What is wrong with a configuration: every finding, not just the first, each as
 * "FILE:LINE: WHAT, found X, expected Y". File names of built-in defaults read
 * "(built-in)/services/…".
 */
#ifndef SUPERVISOR_CONFIG_REPORT_H
#define SUPERVISOR_CONFIG_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_FINDINGS_MAX  64
#define CONFIG_FINDING_BYTES 384

struct config_report {
	size_t count; /* different findings, also those past the maximum */
	size_t seen;  /* all, repeated ones included: grows with every one */
	char finding[CONFIG_FINDINGS_MAX][CONFIG_FINDING_BYTES];
};

/* line 0: the finding is about the file as a whole. */
void config_report_add(struct config_report *report, const char *file, int line, const char *fmt,
		       ...) __attribute__((format(printf, 4, 5)));

#endif
