/*
 * Memory that is freed all at once. A loaded configuration lives in one arena: nothing in it is
 * freed alone, and a rejected one goes away whole.
 */
#ifndef SUPERVISOR_BASE_ARENA_H
#define SUPERVISOR_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *head;
};

/* Zeroed memory, aligned for any type; NULL with errno ENOMEM. A zeroed struct arena is an empty
 * arena. */
void *arena_alloc(struct arena *arena, size_t bytes);
/* A NUL-terminated copy of text[0..length); NULL on ENOMEM. */
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Frees everything; the arena is empty again. */
void arena_free(struct arena *arena);

#endif
