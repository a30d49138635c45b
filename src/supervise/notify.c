#include "src/supervise/notify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/base/utf8.h"

#define DATAGRAM_BYTES	   4096
#define DRAIN_MAX	   1024 /* more than the kernel queues (net.unix.max_dgram_qlen) */
#define COMPLAINT_EVERY_MS 1000

static struct instance *sender_of(struct supervisor *sv, pid_t pid)
{
	if (pid <= 0)
		return NULL;
	for (size_t i = 0; i < sv->count; i++)
		if (sv->instance[i]->pid == pid)
			return sv->instance[i];
	for (size_t i = 0; i < sv->count; i++)
		if (sv->instance[i]->cgroup_fd >= 0 && sv->instance[i]->pid > 0 &&
		    cgroup_contains(sv->instance[i]->cgroup_fd, pid))
			return sv->instance[i];
	return NULL;
}

/* Only what a terminal can be shown; a character that does not fit is left out whole. */
static void set_status(struct instance *instance, const char *text)
{
	size_t used = 0;

	while (*text) {
		size_t length = utf8_length(text);
		bool plain = length > 0 && !utf8_is_control(text);
		if (used + (plain ? length : 1) >= sizeof(instance->status))
			break;
		if (plain)
			memcpy(instance->status + used, text, length);
		else
			instance->status[used] = '?';
		used += plain ? length : 1;
		text += length ? length : 1;
	}
	instance->status[used] = '\0';
}

/* A number of microseconds, as milliseconds. */
static bool read_usec(const char *text, uint64_t *ms)
{
	uint64_t usec = 0;

	if (*text == '\0' || strspn(text, "0123456789") != strlen(text))
		return false;
	for (; *text; text++) {
		if (usec > (UINT64_MAX - 9) / 10)
			return false;
		usec = usec * 10 + (uint64_t)(*text - '0');
	}
	*ms = usec / 1000 + (usec % 1000 != 0);
	return true;
}

/* What sd_notify(3) says of time: the watchdog, and deadlines that are not to be kept. */
static void take_time(struct instance *instance, const char *line)
{
	struct supervisor *sv = instance->supervisor;
	uint64_t ms;

	if (strcmp(line, "WATCHDOG=1") == 0) {
		probe_ping(instance);
	} else if (strcmp(line, "WATCHDOG=trigger") == 0) {
		probe_trigger(instance);
	} else if (strncmp(line, "WATCHDOG_USEC=", 14) == 0) {
		if (read_usec(line + 14, &ms) && ms <= UINT32_MAX)
			probe_set_watchdog(instance, (uint32_t)ms);
	} else if (strncmp(line, "EXTEND_TIMEOUT_USEC=", 20) == 0) {
		if (read_usec(line + 20, &ms) && ms <= UINT32_MAX)
			life_extend(&sv->service[instance->index].life, loop_now_ms(), ms);
	}
}

static void take_line(struct instance *instance, const char *line)
{
	if (strcmp(line, "READY=1") == 0) {
		if (instance->def->ready == READY_NOTIFY && instance->purpose == RUN_START)
			supervise_event(instance->supervisor, instance->index, LIFE_BECAME_READY);
	} else if (strncmp(line, "STATUS=", 7) == 0) {
		set_status(instance, line + 7);
	} else if (instance->purpose == RUN_START) {
		take_time(instance, line);
	}
}

/* Anybody on this machine can send here: one complaint a second is enough to find out who. */
static void refuse(const char *what, pid_t pid)
{
	static uint64_t next_ms;
	static unsigned long long unsaid;
	uint64_t now_ms = loop_now_ms();

	if (now_ms < next_ms) {
		unsaid++;
		return;
	}
	next_ms = now_ms + COMPLAINT_EVERY_MS;
	if (unsaid)
		log_warnx("readiness message refused: process %d %s (and %llu more since)",
			  (int)pid, what, unsaid);
	else
		log_warnx("readiness message refused: process %d %s", (int)pid, what);
	unsaid = 0;
}

/* Takes one message; false: there is none. */
static bool take_message(struct supervisor *sv)
{
	char text[DATAGRAM_BYTES + 1];
	union {
		struct cmsghdr align;
		/* Room for stray descriptors too: what does not fit is closed by the kernel. */
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec part = {.iov_base = text, .iov_len = DATAGRAM_BYTES};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct ucred who = {0};

	ssize_t n = recvmsg(sv->notify.fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			log_warn("receive a readiness message");
		return false;
	}
	/* The kernel adds the credentials first; nothing else is asked for. */
	struct cmsghdr *c = CMSG_FIRSTHDR(&header);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
		memcpy(&who, CMSG_DATA(c), sizeof(who));
	struct instance *instance = sender_of(sv, who.pid);
	if (!instance) {
		refuse("is of no service", who.pid);
		return true;
	}
	if (header.msg_flags & MSG_TRUNC) {
		refuse("sent more than fits", who.pid);
		return true;
	}
	text[n] = '\0';
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		take_line(instance, line);
	return true;
}

static void notify_ready(struct watch *watch, uint32_t events)
{
	(void)events;
	take_message(watch->owner);
}

void notify_drain(struct supervisor *sv)
{
	for (int i = 0; i < DRAIN_MAX && take_message(sv); i++)
		;
}

int notify_open(struct supervisor *sv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int yes = 1;

	if ((size_t)snprintf(sv->notify_path, sizeof(sv->notify_path), "%s/notify", sv->run_dir) >=
	    sizeof(sv->notify_path)) {
		log_warnx("readiness socket: %s is too long a directory", sv->run_dir);
		return -1;
	}
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", sv->notify_path);
	unlink(sv->notify_path);
	sv->notify = (struct watch){.ready = notify_ready, .owner = sv};
	sv->notify.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sv->notify.fd < 0 ||
	    bind(sv->notify.fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(sv->notify.fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) < 0 ||
	    chmod(sv->notify_path, 0666) < 0 || loop_add(&sv->loop, &sv->notify, EPOLLIN) < 0) {
		log_warn("readiness socket %s", sv->notify_path);
		return -1;
	}
	return 0;
}
