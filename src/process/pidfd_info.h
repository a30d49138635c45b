/* What a pidfd tells of its process, even when that has ended and been reaped (Linux 6.15;
 * include/uapi/linux/pidfd.h). */
#ifndef SUPERVISOR_PROCESS_PIDFD_INFO_H
#define SUPERVISOR_PROCESS_PIDFD_INFO_H

#include <stdbool.h>
#include <stdint.h>

/* The id of the cgroup (version 2) that it is in, or was in last: the inode of its directory.
 * false: this kernel does not say. */
bool pidfd_cgroup(int pidfd, uint64_t *id);

#endif
