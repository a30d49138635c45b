#include "src/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024

static const char *log_who = "supervisor";

void log_init(const char *who)
{
	log_who = who;
}

/* One line, one write: a console or pipe that cannot take it loses the line, never the caller. */
static void emit(int saved_errno, const char *fmt, va_list ap)
{
	char line[LINE_BYTES];
	size_t used = (size_t)snprintf(line, sizeof(line), "%s: ", log_who);
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;

	int n = vsnprintf(line + used, sizeof(line) - used, fmt, ap);
	if (n > 0)
		used += (size_t)n;
	if (saved_errno != 0 && used < sizeof(line)) {
		n = snprintf(line + used, sizeof(line) - used, ": %s", strerror(saved_errno));
		if (n > 0)
			used += (size_t)n;
	}
	if (used > sizeof(line) - 1)
		used = sizeof(line) - 1;
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}

#define EMIT(error)                                 \
	do {                                        \
		int saved = errno;                  \
		va_list ap;                         \
		va_start(ap, fmt);                  \
		emit((error) ? saved : 0, fmt, ap); \
		va_end(ap);                         \
		errno = saved;                      \
	} while (0)

void log_info(const char *fmt, ...)
{
	EMIT(0);
}

void log_warn(const char *fmt, ...)
{
	EMIT(1);
}

void log_warnx(const char *fmt, ...)
{
	EMIT(0);
}

void fatal(const char *fmt, ...)
{
	EMIT(1);
	exit(1);
}

void fatalx(const char *fmt, ...)
{
	EMIT(0);
	exit(1);
}
