#include "src/supervise/links.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/log/message.h"
#include "src/service/pulse.h"
#include "src/supervise/gossip_link.h"
#include "src/supervise/instance.h"

/* ---- are they there? ---- */

static struct pulse log_pulse;

/* `helper`: NULL: it does not run. */
static bool is_alive(struct supervisor *sv, struct pulse *pulse, const struct instance *helper,
		     void (*ping)(struct supervisor *sv))
{
	enum pulse_verdict verdict = pulse_look(pulse, helper);

	if (verdict == PULSE_ASK)
		ping(sv);
	if (verdict == PULSE_KILL) {
		log_warnx("%s: does not answer: killed", helper->def->name);
		instance_signal(helper, SIGKILL);
	}
	return !pulse_is_lost(pulse);
}

/* ---- log ---- */

static void log_link_send(const struct instance *log, enum log_message_type type, const char *name,
			  int fd)
{
	struct log_message message = {.magic = LOG_MESSAGE_MAGIC, .type = type};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec part = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};

	snprintf(message.name, sizeof(message.name), "%s", name);
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	if (sendmsg(log->channel.fd, &header, MSG_NOSIGNAL) >= 0 ||
	    errno == EPIPE) /* EPIPE: its exit follows */
		return;
	/* A stream that it does not have, nobody drains. The next one gets them all anew. */
	log_warn("hand the output of %s to the log process", *name ? name : "all services");
	instance_signal(log, SIGKILL);
}

void log_link_add(struct supervisor *sv, const struct instance *instance)
{
	struct instance *log = sv->log < 0 ? NULL : sv->instance[sv->log];

	if (log && log->channel.fd >= 0 && instance != log)
		log_link_send(log, LOG_STREAM, instance->def->name, instance->log_read);
}

static void log_ping(struct supervisor *sv)
{
	const struct log_message message = {.magic = LOG_MESSAGE_MAGIC, .type = LOG_PING};

	/* Full, or closed: it does not answer, then, and that will be noticed. */
	if (send(sv->instance[sv->log]->channel.fd, &message, sizeof(message), MSG_NOSIGNAL) < 0 &&
	    errno != EAGAIN && errno != EPIPE)
		log_warn("ask the log process");
}

/* All it says is that it is there; that its end is closed shows in its exit. */
static void log_ready(struct watch *watch, uint32_t events)
{
	struct instance *log = watch->owner;
	struct log_message message;

	(void)events;
	ssize_t n = recv(watch->fd, &message, sizeof(message), MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == sizeof(message) && message.magic == LOG_MESSAGE_MAGIC &&
	    message.type == LOG_PING && pulse_answered(&log_pulse))
		return;
	if (n > 0) {
		log_warnx("%s: sent an invalid message of %zd bytes: ended", log->def->name, n);
		instance_signal(log, SIGKILL);
	}
	loop_close(&log->supervisor->loop, watch);
}

static void log_link_open(struct supervisor *sv, struct instance *log)
{
	char path[256];

	/* A start hands over every stream there is, at once: room for all of them. */
	int room = 1 << 20;
	if (setsockopt(log->channel.fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(log->channel.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	log->channel.ready = log_ready;
	if (loop_add(&sv->loop, &log->channel, EPOLLIN) < 0)
		log_warn("watch the log process");
	snprintf(path, sizeof(path), "%s/log", sv->run_dir);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		log_warn("make %s", path);
	if (log->def->has_user && chown(path, log->def->uid, log->def->gid) < 0)
		log_warn("give %s to the log process", path);
	int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0) {
		log_warn("open %s", path);
		return;
	}
	log_link_send(log, LOG_DIRECTORY, "", directory);
	close(directory);
	for (size_t i = 0; i < sv->count; i++)
		if (sv->instance[i]->log_read >= 0)
			log_link_add(sv, sv->instance[i]);
}

/* ---- both ---- */

void links_opened(struct supervisor *sv, struct instance *instance)
{
	if (instance->index == sv->gossip) {
		gossip_link_opened(sv, instance);
	} else if (instance->index == sv->log) {
		pulse_new(&log_pulse);
		log_link_open(sv, instance);
	}
}

bool links_alive(struct supervisor *sv)
{
	const struct instance *log = sv->log < 0 ? NULL : sv->instance[sv->log];
	/* Both are asked, whatever the first one is like. */
	bool gossip_alive =
		is_alive(sv, gossip_link_pulse(), gossip_link_process(sv), gossip_link_ping);
	bool log_alive =
		is_alive(sv, &log_pulse, log && log->channel.fd >= 0 ? log : NULL, log_ping);

	return gossip_alive && log_alive;
}

void links_closed(struct supervisor *sv, const struct instance *instance)
{
	if (instance->index == sv->gossip)
		gossip_link_closed(sv);
}
