#include "src/supervise/notify_files.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/base/log.h"

#define FILES_MAX 253 /* SCM_MAX_FD of the kernel */

static struct {
	struct supervisor *supervisor;
	struct watch watch; /* the child says that it holds them, or is gone */
	bool going_on;
	void (*held)(struct supervisor *supervisor);
} hold;

bool notify_files_held(void)
{
	return hold.going_on;
}

/* The message itself stays where it is. */
static _Noreturn void run_child(int notify_fd, int link_fd)
{
	static union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(FILES_MAX * sizeof(int))];
	} control;
	char byte;
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};

	/* None of ours may stay open for as long as a file server is silent. */
	if (dup2(notify_fd, 0) < 0 || dup2(link_fd, 1) < 0)
		_exit(1);
	if (syscall(SYS_close_range, 2u, ~0u, 0) < 0)
		for (int fd = 2; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
			close(fd);
	if (recvmsg(0, &header, MSG_PEEK | MSG_DONTWAIT) < 0 || write(1, "", 1) != 1)
		_exit(1);
	/* Until the message is taken. The files are closed with this process. */
	_exit(read(1, &byte, 1) == 0 ? 0 : 1);
}

static void holder_ready(struct watch *watch, uint32_t events)
{
	struct supervisor *sv = hold.supervisor;

	(void)events;
	hold.going_on = false;
	hold.held(sv);
	loop_close(&sv->loop, watch); /* lets the child go; it is reaped like any orphan */
	if (loop_modify(&sv->loop, &sv->notify, EPOLLIN) < 0)
		log_warn("watch the readiness socket");
}

static int start_child(struct supervisor *sv)
{
	int end[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end) < 0)
		return -1;
	pid_t child = fork();
	if (child == 0)
		run_child(sv->notify.fd, end[1]);
	close(end[1]);
	if (child < 0) {
		close(end[0]);
		return -1;
	}
	hold.watch = (struct watch){.fd = end[0], .ready = holder_ready, .owner = sv};
	if (loop_add(&sv->loop, &hold.watch, EPOLLIN) == 0)
		return 0;
	close(end[0]);
	return -1;
}

void notify_files_hold(struct supervisor *sv, void (*held)(struct supervisor *supervisor))
{
	hold.supervisor = sv;
	hold.held = held;
	/* No process to be had: then the kernel closes them in our name, as ever. */
	if (start_child(sv) < 0)
		held(sv);
	else
		hold.going_on = true;
	if (hold.going_on && loop_modify(&sv->loop, &sv->notify, 0) < 0)
		log_warn("pause the readiness socket");
}
