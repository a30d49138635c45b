/* Names that a `seccomp =` word may use besides those of system calls: constants of an argument,
 * errors. */
#ifndef SUPERVISOR_PROCESS_SECCOMP_NAMES_H
#define SUPERVISOR_PROCESS_SECCOMP_NAMES_H

#include <stdbool.h>
#include <stdint.h>

/* Which argument NAME.CONSTANT of this system call is about, from 0; -1: none can be chosen. */
int seccomp_selector(const char *call);
/* The value of a constant ("AF_UNIX") of that argument, or of a number ("0x5401"). */
bool seccomp_constant(const char *call, const char *name, uint64_t *value);
/* "EPERM" → EPERM; 0: unknown. */
int seccomp_errno(const char *name);

#endif
