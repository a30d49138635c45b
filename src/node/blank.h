/*
 * Is a disk empty enough to be given a filesystem or metadata? The one rule of this program for
 * every disk that it would format: only where nothing at all was found.
 *
 * What is read: the first and the last 2 MiB whole, and 16 KiB at each of 128 places spread evenly
 * between. Every partition table and every superblock lies in the two ends, so a disk that is in
 * use is found there; the samples find the data of one whose ends were wiped. A single byte other
 * than zero makes it "not blank".
 */
#ifndef SUPERVISOR_NODE_BLANK_H
#define SUPERVISOR_NODE_BLANK_H

#include <stdbool.h>
#include <stdint.h>

#define BLANK_KIND_DRBD	 "DRBD metadata"
#define BLANK_KIND_OCFS2 "OCFS2"

#define BLANK_END_BYTES	   (2u << 20)
#define BLANK_SAMPLE_BYTES (16u << 10)
#define BLANK_SAMPLES	   128u

struct blank_finding {
	uint64_t offset;  /* of the first byte found that is not zero */
	const char *kind; /* what it looks like ("ext2/3/4", "OCFS2", "DRBD metadata", …), NULL if
			     unknown; static */
};

/* 1: blank. 0: holds something, *finding says what. -1 with errno: it could not be read. `fd` may
 * be a file or a block device. */
int blank_check(int fd, uint64_t size_bytes, struct blank_finding *finding);
/* Only looks for what is known by its magic number; NULL: nothing known. */
const char *blank_magic(int fd, uint64_t size_bytes);
/* Is there the magic number of this kind, whatever else is found? */
bool blank_holds(int fd, uint64_t size_bytes, const char *kind);
/* Size of a block device or file in bytes; -1 with errno. */
int64_t blank_size(int fd);

/*
 * Opens `path` for exclusive use (O_EXCL: refused while mounted or held by another driver) and
 * checks it. As blank_check, but says with a message why a disk is not blank or could not be read.
 */
int blank_check_path(const char *path);

#endif
