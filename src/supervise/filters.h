/*
 * The services' system call filters, each list of words compiled once: the members of a pool, and
 * services that say the same, share one program. They are kept until a reload finds that nobody
 * uses them any more.
 */
#ifndef SUPERVISOR_SUPERVISE_FILTERS_H
#define SUPERVISOR_SUPERVISE_FILTERS_H

#include <stdbool.h>

#include "src/process/seccomp.h"

/* The program of these words, one at least. NULL with a one-line text in `error`. The program stays
 * ours. */
const struct seccomp_program *filter_get(const struct words *words, char *error,
					 size_t error_bytes);
/* After a reload: begin, keep or filter_get for every service, end: those that nobody asked for are
 * freed. */
void filters_begin(void);
void filters_keep(const struct seccomp_program *program); /* NULL is fine */
void filters_end(void);
/* As config_source.filter_good wants it. */
bool filter_good(const struct words *words, char *error, size_t error_bytes);

#endif
