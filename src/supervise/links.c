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
#include "src/supervise/instance.h"

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

/* The log process says nothing; that its end is closed shows in its exit. */
static void log_ready(struct watch *watch, uint32_t events)
{
	struct instance *log = watch->owner;
	char byte;

	(void)events;
	if (recv(watch->fd, &byte, 1, 0) > 0)
		log_warnx("%s: unexpected message from it", log->def->name);
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

/* ---- gossip ---- */

static bool gossip_send(struct supervisor *sv, const struct gossip_message *message)
{
	struct instance *gossip = sv->instance[sv->gossip];

	if (send(gossip->channel.fd, message, sizeof(*message), MSG_NOSIGNAL) ==
	    (ssize_t)sizeof(*message))
		return true;
	/* EPIPE: it has just ended, and its exit follows. EAGAIN: it does not read; what it has to
	 * know is told again. */
	if (errno != EPIPE && errno != EAGAIN)
		log_warn("tell the gossip process");
	return false;
}

static void gossip_received(struct supervisor *sv, const struct gossip_message *message)
{
	const struct cluster *cluster = sv->config->cluster;
	const struct gossip_member *said = &message->member;

	/* Progress is for the watchdog to come; a leave ends with the process. */
	if (message->type != GOSSIP_MEMBER || said->index >= cluster->node_count)
		return;
	struct member *member = &sv->member[said->index];
	if (member->known && member->said.state != said->state)
		log_info("%s: %s is %s", sv->config->self->name, cluster->node[said->index].name,
			 gossip_state_name(said->state));
	member->known = true;
	member->said = *said;
}

static void gossip_ready(struct watch *watch, uint32_t events)
{
	struct instance *gossip = watch->owner;
	struct supervisor *sv = gossip->supervisor;
	struct gossip_message message;

	(void)events;
	ssize_t n = recv(watch->fd, &message, sizeof(message), MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_close(&sv->loop, watch); /* its exit follows */
		return;
	}
	if (!sv->config->cluster ||
	    !gossip_message_valid(&message, (size_t)n, GOSSIP_FROM_PROCESS)) {
		log_warnx("%s: sent an invalid message of %zd bytes: ended", gossip->def->name, n);
		instance_signal(gossip, SIGKILL);
		return;
	}
	gossip_received(sv, &message);
}

static void gossip_link_open(struct supervisor *sv, struct instance *gossip)
{
	const struct cluster *cluster = sv->config->cluster;
	struct gossip_message message;

	gossip->channel.ready = gossip_ready;
	if (loop_add(&sv->loop, &gossip->channel, EPOLLIN) < 0)
		log_warn("watch the gossip process");
	if (!cluster || !sv->config->has_identity)
		return;

	gossip_message_init(&message, GOSSIP_SELF);
	message.self.index = (uint16_t)(sv->config->self - cluster->node);
	message.self.node_count = (uint16_t)cluster->node_count;
	message.self.boot_id = sv->boot_id;
	memcpy(message.self.cluster, cluster->name, sizeof(message.self.cluster));
	memcpy(message.self.secret_key, sv->config->identity.secret_key,
	       sizeof(message.self.secret_key));
	bool sent = gossip_send(sv, &message);
	explicit_bzero(&message, sizeof(message));
	for (size_t i = 0; sent && i < cluster->node_count; i++) {
		const struct cluster_node *node = &cluster->node[i];
		gossip_message_init(&message, GOSSIP_NODE);
		message.node.index = (uint16_t)i;
		message.node.port = cluster->gossip_port;
		message.node.address = node->address.address.s_addr;
		memcpy(message.node.name, node->name, sizeof(message.node.name));
		memcpy(message.node.role, node->role, sizeof(message.node.role));
		memcpy(message.node.key, node->key, sizeof(message.node.key));
		message.node.key_count = (uint8_t)node->key_count;
		sent = gossip_send(sv, &message);
	}
	if (!sent) {
		log_warnx("%s: could not be told who is in the cluster: ended", gossip->def->name);
		instance_signal(gossip, SIGKILL);
	}
	sv->told_ready = false;
	gossip_link_update(sv);
}

void gossip_link_update(struct supervisor *sv)
{
	struct gossip_message message;
	unsigned ready, failed;

	if (sv->gossip < 0 || sv->instance[sv->gossip]->channel.fd < 0 || !sv->config->cluster)
		return;
	bool all = supervise_all_ready(sv, &ready, &failed) && sv->goal == GOAL_RUN;
	gossip_message_init(&message, GOSSIP_READY);
	message.ready.ready = all;
	message.ready.services = (uint16_t)sv->count;
	message.ready.services_ready = (uint16_t)ready;
	message.ready.services_failed = (uint16_t)failed;
	if (sv->told_ready && memcmp(&message.ready, &sv->told, sizeof(message.ready)) == 0)
		return;
	if (gossip_send(sv, &message)) {
		sv->told = message.ready;
		sv->told_ready = true;
	}
}

void gossip_link_leave(struct supervisor *sv)
{
	struct gossip_message message;

	if (sv->gossip < 0 || sv->instance[sv->gossip]->channel.fd < 0 || !sv->config->cluster)
		return;
	gossip_message_init(&message, GOSSIP_LEAVE);
	gossip_send(sv, &message);
}

/* ---- both ---- */

void links_opened(struct supervisor *sv, struct instance *instance)
{
	if (instance->index == sv->gossip)
		gossip_link_open(sv, instance);
	else if (instance->index == sv->log)
		log_link_open(sv, instance);
}

void links_closed(struct supervisor *sv, const struct instance *instance)
{
	if (instance->index == sv->gossip)
		sv->told_ready = false;
}
