/*
 * System call filters, from the words of `seccomp =` to a BPF program.
 *
 *   NAME           allow this system call (names as libseccomp knows them)
 *   @GROUP         allow a group (services/seccomp/groups.in)
 *   NAME:ERRNO     do not kill for it, but let it fail with this error ("execve:EPERM"); also
 * @GROUP:ERRNO
 *
 * Everything else, and every other architecture, kills the process with SIGSYS. A name that is
 * allowed by one word and denied by another is denied: the careful reading wins.
 *
 * The program is compiled when the configuration is loaded; installing it needs no memory and is
 * done by the child itself.
 *
 * A filter that denies exec would deny the child's own exec of the program as well. So the first
 * instructions of every filter let exactly one call through: execveat(2) whose sixth argument,
 * which the kernel ignores, is a 64-bit number that the child has just drawn from getrandom(2) and
 * that dies with the child's memory in that very exec. (Pinning the descriptor and AT_EMPTY_PATH
 * would not do: an absolute path overrides the descriptor, and a filter cannot read the path.)
 */
#ifndef SUPERVISOR_PROCESS_SECCOMP_H
#define SUPERVISOR_PROCESS_SECCOMP_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/config/service.h"

struct seccomp_program {
	struct sock_filter *filter; /* NULL: none */
	size_t length;		    /* instructions */
};

/* 0; -1 with a one-line text in `error` ("unknown system call \"opne\""). No words: an empty
 * program, which spawn() ignores. */
int seccomp_compile(const struct words *words, struct seccomp_program *program, char *error,
		    size_t error_bytes);
/* As seccomp_compile, with the text of a groups file instead of the built-in one. */
int seccomp_compile_groups(const char *groups, const struct words *words,
			   struct seccomp_program *program, char *error, size_t error_bytes);
/* Whether these words make a filter; the text as above. */
bool seccomp_good(const struct words *words, char *error, size_t error_bytes);
void seccomp_program_free(struct seccomp_program *program);

/*
 * In the child, once, with no_new_privs set: draws the ticket, writes it into the program (the
 * child's own copy of it) and installs it. 0 or -1 with errno. Async-signal-safe.
 */
int seccomp_install(const struct seccomp_program *program, uint64_t *ticket);

#endif
