#include "src/supervise/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/process/pidfd_info.h"
#include "src/service/notify_message.h"
#include "src/supervise/main_process.h"
#include "src/supervise/notify_files.h"

#define ERRNO_MAX	   4095 /* of the kernel */
#define DRAIN_MAX	   1024 /* more than the kernel queues (net.unix.max_dgram_qlen) */
#define TIME_MAX_US	   (24ull * 3600 * 1000 * 1000)
#define COMPLAINT_EVERY_MS 1000

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76 /* include/uapi/asm-generic/socket.h, Linux 6.5 */
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

struct sender {
	pid_t pid; /* 0: nobody whom we can see */
	int pidfd; /* -1: this kernel does not say it */
};

static bool no_pidfds; /* this kernel does not hand them over */

/* The last part of its cgroup's path; false: it is in none, or gone. Touches no memory of the
 * process. */
static bool cgroup_name(pid_t pid, char name[SERVICE_NAME_BYTES])
{
	char path[32], text[4096];

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	char *ours = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
	if (!ours)
		return false;
	ours[strcspn(ours + 1, "\n") + 1] = '\0';
	const char *last = strrchr(ours, '/') + 1;
	return (size_t)snprintf(name, SERVICE_NAME_BYTES, "%s", last) < SERVICE_NAME_BYTES;
}

static struct instance *in_cgroup(struct supervisor *sv, uint64_t id)
{
	for (size_t i = 0; i < sv->count; i++)
		if (sv->instance[i]->cgroup_fd >= 0 && sv->instance[i]->cgroup_id == id)
			return sv->instance[i];
	return NULL;
}

/*
 * Its cgroup tells whose it is, and the pidfd that comes with the message tells the cgroup even of
 * a process that has ended since. Older kernels give a number only, which has to be some living
 * process's.
 */
static struct instance *service_of(struct supervisor *sv, const struct sender *sender)
{
	char name[SERVICE_NAME_BYTES];
	uint64_t id;

	if (pidfd_cgroup(sender->pidfd, &id)) {
		struct instance *instance = in_cgroup(sv, id);
		if (instance)
			return instance;
	}
	if (sender->pid <= 0)
		return NULL;
	for (size_t i = 0; i < sv->count; i++)
		if (sv->instance[i]->pid == sender->pid)
			return sv->instance[i];
	int index = cgroup_name(sender->pid, name) ? supervise_find(sv, name) : -1;
	if (index >= 0 && sv->instance[index]->cgroup_fd >= 0 &&
	    cgroup_contains(sv->instance[index]->cgroup_fd, sender->pid))
		return sv->instance[index];
	return main_process_owner(sv, sender->pid);
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

/* It may say what it likes as often as it likes; what is wrong is said once a second. */
static void refuse_value(struct instance *instance, const char *name,
			 const struct notify_text *value, const char *why)
{
	char shown[32];
	uint64_t now_ms = loop_now_ms();

	if (now_ms < instance->complain_at_ms)
		return;
	instance->complain_at_ms = now_ms + COMPLAINT_EVERY_MS;
	log_warnx("%s: %s=%s refused: %s", instance->def->name, name,
		  notify_text_plain(value, shown, sizeof(shown)), why);
}

static void take_main_pid(struct instance *instance, const struct notify_number *number)
{
	char text[100];

	if (!number->good || number->value > INT32_MAX) {
		refuse_value(instance, "MAINPID", &number->text, "no process can have that number");
		return;
	}
	const char *why = main_process_adopt(instance, (pid_t)number->value);
	if (!why || why == main_process_pending)
		return;
	snprintf(text, sizeof(text), "that process %s", why);
	refuse_value(instance, "MAINPID", &number->text, text);
}

static void take_error(struct instance *instance, const struct notify_message *said)
{
	const size_t room = sizeof(instance->said_error);

	if (said->bus_error.at)
		notify_text_plain(&said->bus_error, instance->said_error, room);
	if (!said->error.text.at)
		return;
	if (!said->error.good || said->error.value > ERRNO_MAX)
		refuse_value(instance, "ERRNO", &said->error.text, "no error has that number");
	else if (said->error.value > 0)
		snprintf(instance->said_error, room, "%s", strerror((int)said->error.value));
}

/* A number of microseconds, as milliseconds. */
static bool take_time(struct instance *instance, const char *name,
		      const struct notify_number *number, uint32_t *ms)
{
	if (!number->good || number->value > TIME_MAX_US) {
		refuse_value(instance, name, &number->text,
			     "no number of microseconds, up to those of a day");
		return false;
	}
	*ms = (uint32_t)((number->value + 999) / 1000);
	return true;
}

static void take_extension(struct instance *instance, const struct notify_number *number)
{
	struct life *life = &instance->supervisor->service[instance->index].life;
	uint32_t ms;

	if (take_time(instance, "EXTEND_TIMEOUT_USEC", number, &ms))
		life_extend(life, loop_now_ms(), ms);
}

static void take_watchdog(struct instance *instance, const struct notify_number *number)
{
	uint32_t ms;

	if (take_time(instance, "WATCHDOG_USEC", number, &ms))
		probe_set_watchdog(instance, ms);
}

/* RELOADING before READY, STOPPING last: what is said at once, in whatever order, ends with where
 * the service has got to. */
static void take_turns(struct instance *instance, const struct notify_message *said)
{
	struct supervisor *sv = instance->supervisor;
	const struct life *life = &sv->service[instance->index].life;

	if (said->reloading && !reload_command_reloading(instance))
		supervise_event(sv, instance->index, LIFE_RELOADS);
	if (said->ready && !reload_command_ready(instance) &&
	    (instance->def->ready == READY_NOTIFY || life->state == LIFE_RELOADING))
		supervise_event(sv, instance->index, LIFE_BECAME_READY);
	if (said->stopping)
		supervise_event(sv, instance->index, LIFE_LEAVES);
}

static void take_message(struct instance *instance, const struct notify_message *said)
{
	if (said->main_pid.text.at)
		take_main_pid(instance, &said->main_pid);
	if (said->status.at)
		notify_text_plain(&said->status, instance->status, sizeof(instance->status));
	take_error(instance, said);
	if (instance->purpose != RUN_START)
		return;
	if (said->extend_us.text.at)
		take_extension(instance, &said->extend_us);
	if (said->watchdog_us.text.at)
		take_watchdog(instance, &said->watchdog_us);
	if (said->trigger)
		probe_trigger(instance);
	else if (said->ping)
		probe_ping(instance);
	if (instance->def->kind == SERVICE_DAEMON)
		take_turns(instance, said);
}

static bool is_header(const struct cmsghdr *c, int type, size_t bytes)
{
	return c->cmsg_level == SOL_SOCKET && c->cmsg_type == type &&
	       c->cmsg_len == CMSG_LEN(bytes);
}

/* Reads who sent it; the kernel puts that there, in this order, and nothing else is asked for. */
static void read_sender(const struct msghdr *header, struct sender *sender)
{
	const size_t second = CMSG_SPACE(sizeof(struct ucred));
	const struct cmsghdr *c = CMSG_FIRSTHDR(header);
	struct ucred who;

	*sender = (struct sender){.pidfd = -1};
	if (!c || !is_header(c, SCM_CREDENTIALS, sizeof(who)))
		return;
	memcpy(&who, CMSG_DATA(c), sizeof(who));
	sender->pid = who.pid;
	if (header->msg_controllen < second + CMSG_LEN(sizeof(int)))
		return;
	c = (const struct cmsghdr *)(const void *)((const char *)header->msg_control + second);
	if (is_header(c, SCM_PIDFD, sizeof(int)))
		memcpy(&sender->pidfd, CMSG_DATA(c), sizeof(int));
}

static void want_pidfds(const struct supervisor *sv, int on)
{
	if (!no_pidfds && setsockopt(sv->notify.fd, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on)) < 0)
		no_pidfds = true;
}

/* The next message, and whose process sent it. Descriptors find no room: the kernel keeps them. */
static void take_next(struct supervisor *sv, bool pidfds)
{
	char text[NOTIFY_MESSAGE_BYTES];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = pidfds ? sizeof(control.bytes) : CMSG_SPACE(sizeof(struct ucred)),
	};
	struct notify_message said;
	struct sender sender;

	if (pidfds)
		want_pidfds(sv, 1);
	ssize_t n = recvmsg(sv->notify.fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int error = errno;
	if (pidfds)
		want_pidfds(sv, 0);
	if (n < 0) {
		errno = error;
		if (error != EAGAIN && error != EINTR)
			log_warn("receive a readiness message");
		return;
	}
	read_sender(&header, &sender);
	struct instance *instance = service_of(sv, &sender);
	if (sender.pidfd >= 0)
		close(sender.pidfd);
	if (!instance) {
		refuse("is of no service, or has ended", sender.pid);
		return;
	}
	if (header.msg_flags & MSG_TRUNC) {
		refuse("sent more than fits", sender.pid);
		return;
	}
	notify_message_read(text, (size_t)n, &said);
	take_message(instance, &said);
}

static void take_without_files(struct supervisor *sv)
{
	take_next(sv, false);
}

/* Takes one message; false: there is none, or it has to wait. A look first, which shows whether
 * descriptors come with it. */
static bool take_one(struct supervisor *sv)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	char byte;
	struct iovec part = {.iov_base = &byte, .iov_len = sizeof(byte)};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};

	if (notify_files_held() || recvmsg(sv->notify.fd, &header, MSG_PEEK | MSG_DONTWAIT) < 0)
		return false;
	if (header.msg_flags & MSG_CTRUNC)
		notify_files_hold(sv, take_without_files);
	else
		take_next(sv, true);
	return true;
}

static void notify_ready(struct watch *watch, uint32_t events)
{
	(void)events;
	take_one(watch->owner);
}

void notify_drain(struct supervisor *sv)
{
	for (int i = 0; i < DRAIN_MAX && take_one(sv); i++)
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
