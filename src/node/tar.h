/* Reads a tar archive in memory: POSIX ustar, regular files and directories only (IEEE Std 1003.1,
 * pax, "ustar Interchange Format"). */
#ifndef SUPERVISOR_NODE_TAR_H
#define SUPERVISOR_NODE_TAR_H

#include <stddef.h>

#define TAR_NAME_BYTES 100

/*
 * Calls each(owner, name, data, bytes) for every regular file; `name` is relative, without "." and
 * ".." parts and at most TAR_NAME_BYTES - 1 long. A non-zero return ends the walk. Returns NULL, or
 * what is wrong with the archive: files before that place were reported.
 */
const char *tar_each(const char *archive, size_t bytes,
		     int (*each)(void *owner, const char *name, const char *data, size_t bytes),
		     void *owner);

#endif
