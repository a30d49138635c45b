/*
 * The log process: drains the output of all services into files. Own user, no capability, empty
 * root: the directory and the pipes come as descriptors over the channel (message.h).
 */
#include "src/log/log_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/config/config.h"
#include "src/log/message.h"
#include "src/log/store.h"

#define DRAIN_BYTES 16384
#define PIPE_BYTES  65536 /* pipe(7): what one holds */

static struct store_stream stream[SERVICES_MAX];
static size_t stream_count;
static int epoll_fd, directory_fd = -1;

/* One message and its descriptor; false: the supervising process is gone or mistaken. */
static bool receive(struct log_message *message, int *fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {.iov_base = message, .iov_len = sizeof(*message)};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};

	*fd = -1;
	ssize_t n = recvmsg(LOG_CHANNEL_FD, &header, MSG_CMSG_CLOEXEC);
	if (n == 0)
		return false;
	struct cmsghdr *rights = n < 0 ? NULL : CMSG_FIRSTHDR(&header);
	if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
	    rights->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(rights), sizeof(*fd));
	if (n != (ssize_t)sizeof(*message) || message->magic != LOG_MESSAGE_MAGIC ||
	    (*fd < 0) != (message->type == LOG_PING) ||
	    !memchr(message->name, '\0', sizeof(message->name))) {
		log_warnx("message of %zd bytes not understood", n);
		return false;
	}
	return true;
}

/* A place that was never used, or whose stream has ended; NULL: there is none. */
static struct store_stream *free_stream(void)
{
	for (size_t i = 0; i < stream_count; i++)
		if (stream[i].pipe_fd < 0)
			return &stream[i];
	return stream_count < SERVICES_MAX ? &stream[stream_count] : NULL;
}

static bool add_stream(const char *name, int fd)
{
	struct store_stream *s = free_stream();
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};

	if (!s || directory_fd < 0 || !store_name_valid(name)) {
		log_warnx("stream \"%s\" refused", name);
		return false;
	}
	/* Without a file the service's output is lost, but the service does not wait for its
	 * reader. */
	if (store_open(s, directory_fd, name) < 0)
		log_warn("keep the output of %s", name);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		log_warn("drain the output of %s", name);
		if (s->file_fd >= 0)
			close(s->file_fd);
		return false;
	}
	s->pipe_fd = fd;
	if (s == &stream[stream_count])
		stream_count++;
	return true;
}

static void end_stream(struct store_stream *s)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	store_end(s, directory_fd, &now);
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->pipe_fd, NULL);
	close(s->pipe_fd);
	if (s->file_fd >= 0)
		close(s->file_fd);
	s->pipe_fd = s->file_fd = -1;
}

static bool drain(struct store_stream *s)
{
	char data[DRAIN_BYTES];
	struct timespec now;
	ssize_t n = read(s->pipe_fd, data, sizeof(data));

	if (n > 0) {
		clock_gettime(CLOCK_REALTIME, &now);
		store_take(s, directory_fd, data, (size_t)n, &now);
	} else if (n == 0) {
		end_stream(s); /* the service is no more */
	}
	return n > 0;
}

static volatile sig_atomic_t stop_asked;

static void ask_to_stop(int signal_number)
{
	(void)signal_number;
	stop_asked = 1;
}

/* SIGTERM comes through only while epoll_pwait waits: never between looking at the flag and
 * waiting. */
static void catch_stop(sigset_t *while_waiting)
{
	struct sigaction action = {.sa_handler = ask_to_stop};
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	if (sigaction(SIGTERM, &action, NULL) < 0 ||
	    sigprocmask(SIG_BLOCK, &blocked, while_waiting) < 0)
		fatal("signals");
	sigdelset(while_waiting, SIGTERM);
}

/* The last words of those that stopped before us; one that goes on talking does not keep us here.
 */
static void drain_all(void)
{
	struct timespec now;

	for (size_t i = 0; i < stream_count; i++) {
		if (stream[i].pipe_fd < 0)
			continue;
		for (size_t n = 0; n < PIPE_BYTES / DRAIN_BYTES + 1 && drain(&stream[i]); n++)
			;
		if (stream[i].pipe_fd < 0)
			continue;
		clock_gettime(CLOCK_REALTIME, &now);
		store_end(&stream[i], directory_fd, &now);
	}
}

int log_worker(int argc, char **argv)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	sigset_t while_waiting;

	(void)argc;
	(void)argv;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, LOG_CHANNEL_FD, &event) < 0)
		fatal("channel");
	catch_stop(&while_waiting);
	for (;;) {
		int n = epoll_pwait(epoll_fd, &event, 1, -1, &while_waiting);
		if (n < 0 && errno != EINTR)
			fatal("epoll_pwait");
		if (stop_asked) {
			drain_all();
			return 0;
		}
		if (n != 1)
			continue;
		if (event.data.ptr) {
			drain(event.data.ptr);
			continue;
		}
		struct log_message message;
		int fd;
		if (!receive(&message, &fd))
			return 0;
		/* No room, or nobody there: then there is nobody to be told either. */
		if (message.type == LOG_PING &&
		    write(LOG_CHANNEL_FD, &message, sizeof(message)) < 0)
			log_warn("answer the supervising process");
		if (message.type == LOG_PING)
			continue;
		if (message.type == LOG_DIRECTORY && directory_fd < 0)
			directory_fd = fd;
		else if (message.type != LOG_STREAM || !add_stream(message.name, fd))
			close(fd);
	}
}
