/*
 * Messages of this program, one word for each way to fail.
 *
 * Every message is one line on stderr, "WHO: TEXT\n", written by a single write(2), so that lines
 * of several processes never mix. The log process stamps what it drains; nothing here reads a
 * clock.
 *
 * log_warn and fatal append ": strerror(errno)"; the x forms do not. fatal and fatalx are for
 * command line and worker processes only: the supervising process never exits (see src/supervise/).
 */
#ifndef SUPERVISOR_BASE_LOG_H
#define SUPERVISOR_BASE_LOG_H

#include <stdarg.h>

/* Sets the name before the colon; `who` is not copied and must live on. */
void log_init(const char *who);

void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Exit codes 1: the system said no. Usage errors are the caller's exit(2). */
_Noreturn void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fatalx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
