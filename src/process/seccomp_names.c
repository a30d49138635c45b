#include "src/process/seccomp_names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

static const struct {
	const char *call;
	int argument;
} selector[] = {
	{"socket", 0}, {"socketpair", 0}, {"ioctl", 1},	     {"prctl", 0},
	{"fcntl", 1},  {"madvise", 2},	  {"setsockopt", 2}, {"getsockopt", 2},
};

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* linux/prctl.h, since 5.17 */
#endif

#define CONSTANT(call, name)                  \
	{                                     \
		call, #name, (uint64_t)(name) \
	}

static const struct {
	const char *call, *name;
	uint64_t value;
} constant[] = {
	CONSTANT("socket", AF_UNIX),	    CONSTANT("socket", AF_INET),
	CONSTANT("socket", AF_INET6),	    CONSTANT("socket", AF_NETLINK),
	CONSTANT("socket", AF_PACKET),	    CONSTANT("socket", AF_VSOCK),
	CONSTANT("socketpair", AF_UNIX),    CONSTANT("ioctl", FIONREAD),
	CONSTANT("ioctl", FIONBIO),	    CONSTANT("ioctl", FIOCLEX),
	CONSTANT("ioctl", TCGETS),	    CONSTANT("ioctl", TIOCGWINSZ),
	CONSTANT("prctl", PR_SET_VMA),	    CONSTANT("prctl", PR_SET_NAME),
	CONSTANT("prctl", PR_GET_NAME),	    CONSTANT("prctl", PR_SET_DUMPABLE),
	CONSTANT("prctl", PR_GET_DUMPABLE), CONSTANT("prctl", PR_SET_PDEATHSIG),
	CONSTANT("prctl", PR_CAPBSET_READ), CONSTANT("setsockopt", SO_ATTACH_FILTER),
	CONSTANT("getsockopt", SO_DOMAIN),  CONSTANT("getsockopt", SO_TYPE),
	CONSTANT("getsockopt", SO_MEMINFO),
};

static const struct {
	const char *name;
	int value;
} error_name[] = {
	{"EPERM", EPERM},   {"ENOSYS", ENOSYS},
	{"EACCES", EACCES}, {"EINVAL", EINVAL},
	{"ENOENT", ENOENT}, {"EOPNOTSUPP", EOPNOTSUPP},
	{"ENOTTY", ENOTTY}, {"EAFNOSUPPORT", EAFNOSUPPORT},
};

int seccomp_selector(const char *call)
{
	for (size_t i = 0; i < sizeof(selector) / sizeof(selector[0]); i++) {
		if (strcmp(selector[i].call, call) == 0)
			return selector[i].argument;
	}
	return -1;
}

bool seccomp_constant(const char *call, const char *name, uint64_t *value)
{
	for (size_t i = 0; i < sizeof(constant) / sizeof(constant[0]); i++) {
		if (strcmp(constant[i].call, call) == 0 && strcmp(constant[i].name, name) == 0) {
			*value = constant[i].value;
			return true;
		}
	}
	if (name[0] < '0' || name[0] > '9')
		return false;
	char *end;
	errno = 0;
	unsigned long number = strtoul(name, &end, 0);
	if (errno != 0 || *end != '\0' || number > UINT32_MAX)
		return false; /* the kernel looks at 32 bits of these arguments */
	*value = number;
	return true;
}

int seccomp_errno(const char *name)
{
	for (size_t i = 0; i < sizeof(error_name) / sizeof(error_name[0]); i++) {
		if (strcmp(error_name[i].name, name) == 0)
			return error_name[i].value;
	}
	return 0;
}
