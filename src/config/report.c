#include "src/config/report.h"

#include <stdarg.h>
#include <stdio.h>

void config_report_add(struct config_report *report, const char *file, int line, const char *fmt,
		       ...)
{
	size_t at = report->count++;
	if (at >= CONFIG_FINDINGS_MAX)
		return;

	char *text = report->finding[at];
	int used = line > 0 ? snprintf(text, CONFIG_FINDING_BYTES, "%s:%d: ", file, line)
			    : snprintf(text, CONFIG_FINDING_BYTES, "%s: ", file);
	if (used < 0 || used >= CONFIG_FINDING_BYTES)
		return;

	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text + used, (size_t)(CONFIG_FINDING_BYTES - used), fmt, ap);
	va_end(ap);
}
