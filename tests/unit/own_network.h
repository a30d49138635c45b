/*
 * For tests that open sockets: a network of the test's own where it may have one, with nothing in
 * it but the loopback interface. What the machine listens on, filters, or has switched off there is
 * not met then. Otherwise it is the machine's.
 */
#ifndef SUPERVISOR_TESTS_OWN_NETWORK_H
#define SUPERVISOR_TESTS_OWN_NETWORK_H

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static inline void own_network(void)
{
	struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int machine = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (machine >= 0 && unshare(CLONE_NEWNET) == 0) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (ioctl(fd, SIOCSIFFLAGS, &loopback) < 0)
			setns(machine, CLONE_NEWNET);
		close(fd);
	}
	close(machine);
}

#endif
