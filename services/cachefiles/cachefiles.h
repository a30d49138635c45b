/* Parts of the cache worker that tests drive, and its culling (cull.c). */
#ifndef SUPERVISOR_SERVICES_CACHEFILES_H
#define SUPERVISOR_SERVICES_CACHEFILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cache_disk {
	CACHE_DISK_BLANK,   /* nothing at either end */
	CACHE_DISK_OURS,    /* ext4 with our label */
	CACHE_DISK_FOREIGN, /* anything else: not to be touched */
};

/* What is on a disk with these first and last bytes? */
enum cache_disk cache_disk_judge(const uint8_t *head, size_t head_bytes, const uint8_t *tail,
				 size_t tail_bytes);
/* Does the state line of /dev/cachefiles ("cull=1 frun=… …") ask for culling? */
bool cachefiles_wants_room(const char *state);
/* Culls the files under `directory` that were not used for longest, until the kernel is content or
 * nothing is left to cull. */
void cachefiles_cull(int device, const char *directory);

#endif
