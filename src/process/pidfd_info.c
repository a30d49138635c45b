#include "src/process/pidfd_info.h"

#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The first version of struct pidfd_info; the kernel fills what it is given room for. */
struct info {
	uint64_t mask, cgroup;
	uint32_t ids[12];
};

#define INFO_CGROUP (1u << 2)			 /* PIDFD_INFO_CGROUPID */
#define INFO_EXIT   (1u << 3)			 /* PIDFD_INFO_EXIT */
#define GET_INFO    _IOWR(0xFF, 11, struct info) /* PIDFD_GET_INFO */

bool pidfd_cgroup(int pidfd, uint64_t *id)
{
	struct info info = {.mask = INFO_CGROUP | INFO_EXIT};

	if (pidfd < 0 || syscall(SYS_ioctl, pidfd, GET_INFO, &info) < 0 ||
	    !(info.mask & INFO_CGROUP))
		return false;
	*id = info.cgroup;
	return true;
}
