/* Parts of the cache worker that tests drive, and its culling (cull.c). */
#ifndef SUPERVISOR_SERVICES_CACHEFILES_H
#define SUPERVISOR_SERVICES_CACHEFILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Do the first bytes of a disk show the ext4 file system, by its label, that this worker makes? */
bool cache_disk_is_ours(const uint8_t *head, size_t bytes);
/* Does the state line of /dev/cachefiles ("cull=1 frun=… …") ask for culling? */
bool cachefiles_wants_room(const char *state);
/* Culls the files under `directory` that were not used for longest, until the kernel is content or
 * nothing is left to cull. */
void cachefiles_cull(int device, const char *directory);

#endif
