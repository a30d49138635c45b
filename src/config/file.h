/* Whole files, read the way a supervising process may: regular ones only, bounded, never waiting.
 */
#ifndef SUPERVISOR_CONFIG_FILE_H
#define SUPERVISOR_CONFIG_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "src/base/arena.h"

#define FILE_READ_BYTES_MAX (1024u * 1024u)

struct file_text {
	const char *text; /* in the arena, NUL-terminated, though it may hold NUL bytes as well */
	size_t size;
	mode_t mode;
};

/* 0, or an errno: ENOENT, EACCES, EFBIG (too big), EINVAL (no regular file), … */
int file_read(struct arena *arena, const char *path, struct file_text *file);

#endif
