/*
 * When the supervising process itself breaks: SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT, of its
 * own or sent by somebody. A few lines on stderr say what is needed to find the place; then the
 * machine is rebooted (a machine whose init is gone is worth nothing to its siblings), or, where it
 * is not ours, the process exits with 128 + the signal's number. The handler runs on a stack of its
 * own and calls nothing but the kernel.
 */
#ifndef SUPERVISOR_NODE_CRASH_H
#define SUPERVISOR_NODE_CRASH_H

#include <stdbool.h>

#define CRASH_SECONDS 5 /* from the report to the reboot: time to write what is in memory */

/* A child between fork and exec has the handlers too, until it resets them: there they only end
 * it. */
void crash_install(bool machine);
/*
 * What we are at, for the report: `what` is a string that stays, the beginning of `about` (may be
 * NULL) is copied. Stands until the next call.
 */
void crash_doing(const char *what, const char *about);
/* What we are to become: "run", "power off"; a string that stays. */
void crash_goal(const char *goal);

#endif
