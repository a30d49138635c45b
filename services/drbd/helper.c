/*
 * The program that the kernel starts when DRBD asks for a decision. It runs outside of every
 * service, with no open descriptor. Everything but fence-peer is a notice, answered with 0: any
 * other answer to before-resync-target would drop the connection.
 */
#include "services/drbd/drbd.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "src/base/log.h"

#define EXIT_UNDECIDED 1 /* none of the codes with a meaning: I/O stays as it is */

static void open_standard_descriptors(void)
{
	int fd = open("/dev/null", O_RDWR);

	while (fd >= 0 && fd < STDERR_FILENO)
		fd = dup(fd);
	int log_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (log_fd >= 0)
		dup2(log_fd, STDERR_FILENO);
}

/*
 * Nobody has a vote yet, so nobody may say that the peer is dead: I/O stays frozen until it is
 * back. When it is, DRBD resumes by itself and ignores what a helper of the lost connection
 * answers; this one then only has to go away.
 */
static int fence_peer(void)
{
	struct drbd_watch watch;

	log_warnx("lost the peer: writes wait until it is connected again");
	if (drbd_watch_open(&watch) < 0) {
		log_warn("run " DRBD_SETUP " events2");
		for (;;)
			pause();
	}
	while (drbd_watch_next(&watch, -1) >= 0) {
		if (drbd_is_connected(&watch.state))
			break;
		if (watch.state.complete && !watch.state.exists)
			break;
	}
	drbd_watch_close(&watch);
	return EXIT_UNDECIDED;
}

int drbd_helper(int argc, char **argv)
{
	open_standard_descriptors();
	log_init("drbd-helper");
	if (argc < 3)
		return EXIT_UNDECIDED;
	if (strcmp(argv[2], DRBD_RESOURCE) == 0 && strcmp(argv[1], "fence-peer") == 0)
		return fence_peer();
	log_info("notice from the kernel: %s %s", argv[1], argv[2]);
	return 0;
}
