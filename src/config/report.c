#include "src/config/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void config_report_add(struct config_report *report, const char *file, int line, const char *fmt,
		       ...)
{
	char text[CONFIG_FINDING_BYTES];
	int used = line > 0 ? snprintf(text, sizeof(text), "%s:%d: ", file, line)
			    : snprintf(text, sizeof(text), "%s: ", file);
	if (used < 0 || (size_t)used >= sizeof(text))
		used = 0;

	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text + used, sizeof(text) - (size_t)used, fmt, ap);
	va_end(ap);

	report->seen++;
	/* A file read for several instances or nodes shows the same mistake each time. */
	size_t kept = report->count < CONFIG_FINDINGS_MAX ? report->count : CONFIG_FINDINGS_MAX;
	for (size_t i = 0; i < kept; i++) {
		if (strcmp(report->finding[i], text) == 0)
			return;
	}
	report->count++;
	if (kept < CONFIG_FINDINGS_MAX)
		memcpy(report->finding[kept], text, sizeof(text));
}
