/*
 * What is mounted, and in which order and how it is to be unmounted at the end. Pure: the text of
 * /proc/self/mountinfo (proc(5)) in, decisions out.
 *
 * Everything goes but the root and the kernel's own filesystems, which hold nothing that could be
 * lost. A mount is tried when nothing is mounted below it any more, the last one first, and ever
 * more rudely: unmount; for a network filesystem, MNT_FORCE, which makes calls to a dead server
 * fail; then MNT_DETACH, which takes it out of sight and leaves the rest to the kernel.
 */
#ifndef SUPERVISOR_NODE_MOUNTS_H
#define SUPERVISOR_NODE_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

#define MOUNTS_MAX 512

enum mount_way { MOUNT_PLAIN, MOUNT_FORCE, MOUNT_DETACH, MOUNT_LEFT };

enum mount_result {
	MOUNT_UNMOUNTED,
	MOUNT_BUSY,   /* somebody uses it, or something is mounted below it */
	MOUNT_FAILED, /* refused, or no answer in time */
};

struct mount_entry {
	int id, parent;
	const char *path, *type, *source;
	enum mount_way way; /* how it is tried next; MOUNT_LEFT: no more */
	bool keep;	    /* not to be unmounted */
	bool gone;
};

struct mounts {
	struct mount_entry entry[MOUNTS_MAX];
	size_t count;
	size_t overlooked; /* lines beyond MOUNTS_MAX, or not understood */
};

/* Reads `text` (NUL-terminated), which is changed and pointed into. */
void mounts_parse(struct mounts *mounts, char *text);
/* Those that can be tried now: indices, the last mounted first; returns how many, at most `max`. 0:
 * all are done. */
size_t mounts_next(const struct mounts *mounts, size_t *index, size_t max);
/*
 * How one round of those went. One that is busy is tried the same way again when the round
 * unmounted something, else, like one that failed, the next way.
 */
void mounts_told(struct mounts *mounts, const size_t *index, const enum mount_result *result,
		 size_t count);
/* "unmount", "unmount by force", "detach" */
const char *mount_way_name(enum mount_way way);
/* The root filesystem, NULL: not seen; and whether it is kept in memory, with nothing to write. */
const struct mount_entry *mounts_root(const struct mounts *mounts);
bool mount_is_memory(const struct mount_entry *entry);

#endif
