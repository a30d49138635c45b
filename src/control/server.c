#include "src/control/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/control/protocol.h"
#include "src/supervise/instance.h"

#define CLIENTS_MAX 32

struct client {
	struct watch watch;
	/* A start, stop or restart that is answered when the service has got there. */
	bool waiting;
	struct control_request request;
	uint16_t index;
	uint32_t starts_before; /* restart: done only after a start later than this */
};

static struct {
	struct supervisor *supervisor;
	struct watch listener;
	struct client client[CLIENTS_MAX];
	uint64_t first_ready_ms;
} server;

static void drop(struct client *client)
{
	loop_close(&server.supervisor->loop, &client->watch);
	client->waiting = false;
}

/* A client that does not read what it asked for is dropped: nobody makes the supervising process wait. */
static bool reply(struct client *client, enum control_type type, struct control_record *record)
{
	record->magic = CONTROL_MAGIC;
	record->type = (uint16_t)type;
	if (send(client->watch.fd, record, sizeof(*record), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(*record))
		return true;
	drop(client);
	return false;
}

static void end(struct client *client, int code, const char *text)
{
	struct control_record record = { .end.code = code };

	snprintf(record.end.text, sizeof(record.end.text), "%s", text);
	if (reply(client, CONTROL_END, &record))
		drop(client);
}

/* A word for people: "down" and "waiting" are the same life, but not the same wish. */
static const char *state_word(const struct graph_service *s)
{
	if (s->life.state == LIFE_IDLE && s->wanted)
		return "waiting";
	return life_state_name(s->life.state);
}

static bool send_service(struct client *client, uint16_t index)
{
	struct supervisor *sv = server.supervisor;
	const struct graph_service *s = &sv->service[index];
	const struct instance *instance = &sv->instance[index];
	struct control_record record = { .reserved = 0 };
	struct control_service *out = &record.service;

	memset(&record, 0, sizeof(record));
	snprintf(out->name, sizeof(out->name), "%s", instance->def->name);
	snprintf(out->state, sizeof(out->state), "%s", state_word(s));
	out->wanted = s->wanted;
	out->running = instance->pid > 0;
	out->pid = instance->pid;
	out->starts = s->life.starts;
	out->failures = s->life.failures;
	out->since_ms = loop_now_ms() - s->life.since_ms;
	supervise_why(sv, index, out->why, sizeof(out->why));
	return reply(client, CONTROL_SERVICE_RECORD, &record);
}

static bool send_node(struct client *client)
{
	struct supervisor *sv = server.supervisor;
	struct control_record record;
	unsigned ready, failed;

	memset(&record, 0, sizeof(record));
	bool all = supervise_all_ready(sv, &ready, &failed);
	snprintf(record.node.name, sizeof(record.node.name), "%s", sv->config->self ? sv->config->self->name : "");
	snprintf(record.node.profile, sizeof(record.node.profile), "%s", sv->config->profile);
	record.node.ready = all && sv->goal == GOAL_RUN;
	record.node.stopping = sv->goal != GOAL_RUN;
	record.node.services = (uint16_t)sv->count;
	record.node.services_ready = (uint16_t)ready;
	record.node.services_failed = (uint16_t)failed;
	record.node.up_ms = loop_now_ms() - sv->started_ms;
	record.node.boot_ms = server.first_ready_ms;
	return reply(client, CONTROL_NODE_RECORD, &record);
}

static void status(struct client *client, const struct control_request *request, int index)
{
	if (!send_node(client))
		return;
	if (request->name[0]) {
		if (send_service(client, (uint16_t)index))
			end(client, 0, "");
		return;
	}
	for (size_t i = 0; i < server.supervisor->count; i++)
		if (!send_service(client, (uint16_t)i))
			return;
	end(client, 0, "");
}

static void fill_member(struct control_member *out, size_t index)
{
	const struct supervisor *sv = server.supervisor;
	const struct cluster_node *node = &sv->config->cluster->node[index];
	const struct member *member = &sv->member[index];
	const struct gossip_member *said = &member->said;

	snprintf(out->name, sizeof(out->name), "%s", node->name);
	snprintf(out->role, sizeof(out->role), "%s", node->role);
	inet_ntop(AF_INET, &node->address.address, out->address, sizeof(out->address));
	snprintf(out->state, sizeof(out->state), "%s",
		 member->known ? gossip_state_name(said->state) : "unknown");
	out->self = node == sv->config->self;
	if (!member->known)
		return;
	out->ready = said->ready;
	out->services = said->services;
	out->services_ready = said->services_ready;
	out->services_failed = said->services_failed;
	out->rtt_us = said->rtt_us;
	out->generation = said->generation;
	out->incarnation = said->incarnation;
	uint64_t now_ms = loop_now_ms();
	out->since_ms = now_ms > said->since_ms ? now_ms - said->since_ms : 0;
}

static void members(struct client *client)
{
	const struct cluster *cluster = server.supervisor->config->cluster;

	if (!cluster) {
		end(client, 1, "this node is of no cluster: there is no cluster.conf");
		return;
	}
	for (size_t i = 0; i < cluster->node_count; i++) {
		struct control_record record;
		memset(&record, 0, sizeof(record));
		fill_member(&record.member, i);
		if (!reply(client, CONTROL_MEMBER_RECORD, &record))
			return;
	}
	end(client, 0, "");
}

/* 0: still on its way. 1: there. 2: will not get there by itself. */
static int progress(const struct client *client)
{
	const struct supervisor *sv = server.supervisor;
	const struct graph_service *s = &sv->service[client->index];

	if (client->request.verb == CONTROL_STOP) {
		for (size_t i = 0; i < sv->count; i++)
			if (sv->node[i].pool == (int)client->index && life_is_active(&sv->service[i].life))
				return 0;
		return life_is_active(&s->life) ? 0 : 1;
	}
	if (client->request.verb == CONTROL_RESTART && s->life.starts == client->starts_before &&
	    !sv->instance[client->index].policy.runs_nothing)
		return s->life.state == LIFE_FAILED ? 2 : 0;
	switch (s->life.state) {
	case LIFE_READY:
		return 1;
	case LIFE_ENDED:
	case LIFE_FAILED:
	case LIFE_BACKOFF:
		return 2;
	case LIFE_IDLE:
		return s->block == GRAPH_CONDITION || !s->wanted ? 2 : 0;
	default:
		return 0;
	}
}

static void answer_if_done(struct client *client)
{
	struct supervisor *sv = server.supervisor;
	const struct graph_service *s = &sv->service[client->index];
	char text[CONTROL_TEXT_BYTES], why[CONTROL_TEXT_BYTES - SERVICE_NAME_BYTES - 32];

	int got = progress(client);
	if (got == 0)
		return;
	supervise_why(sv, client->index, why, sizeof(why));
	snprintf(text, sizeof(text), "%s: %s%s%s", sv->instance[client->index].def->name, state_word(s),
		 why[0] ? ": " : "", why);
	end(client, got == 1 ? 0 : 1, text);
}

static void changed(struct supervisor *sv, uint16_t index)
{
	unsigned ready, failed;

	(void)index;
	if (server.first_ready_ms == 0 && supervise_all_ready(sv, &ready, &failed)) {
		server.first_ready_ms = loop_now_ms() - sv->started_ms;
		log_info("all services ready after %llu ms", (unsigned long long)server.first_ready_ms);
	}
}

static void answer_waiting(struct supervisor *sv)
{
	(void)sv;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (server.client[i].waiting)
			answer_if_done(&server.client[i]);
}

static void operate(struct client *client, const struct control_request *request, uint16_t index)
{
	struct supervisor *sv = server.supervisor;
	bool force = request->flags & CONTROL_FORCE;
	char why[CONTROL_TEXT_BYTES];
	int rc;

	client->starts_before = sv->service[index].life.starts;
	if (request->verb == CONTROL_START)
		rc = supervise_start(sv, index, why, sizeof(why));
	else if (request->verb == CONTROL_STOP)
		rc = supervise_stop(sv, index, force, why, sizeof(why));
	else
		rc = supervise_restart(sv, index, force, why, sizeof(why));
	if (rc < 0) {
		end(client, 1, why);
		return;
	}
	if (request->flags & CONTROL_NO_WAIT) {
		end(client, 0, "");
		return;
	}
	client->request = *request;
	client->index = index;
	client->waiting = true;
	answer_if_done(client);
}

static void send_signal(struct client *client, const struct control_request *request, uint16_t index)
{
	const struct instance *instance = &server.supervisor->instance[index];
	int rc;

	if (request->number < 1 || request->number >= NSIG) {
		end(client, 2, "no such signal");
		return;
	}
	if (instance->cgroup_fd >= 0)
		rc = cgroup_signal(instance->cgroup_fd, request->number);
	else
		rc = instance_signal(instance, request->number) < 0 ? -1 : 1;
	if (rc < 0)
		end(client, 1, strerror(errno));
	else if (rc == 0)
		end(client, 1, "it has no process");
	else
		end(client, 0, "");
}

static void shut_down(struct client *client, const struct control_request *request)
{
	struct supervisor *sv = server.supervisor;
	enum goal goal = request->number == CONTROL_REBOOT ? GOAL_REBOOT
			 : request->number == CONTROL_HALT ? GOAL_HALT
							   : GOAL_POWEROFF;

	end(client, 0, "");
	supervise_shutdown(sv, sv->machine ? goal : GOAL_EXIT);
}

static void serve(struct client *client, const struct control_request *request)
{
	struct supervisor *sv = server.supervisor;
	int index = request->name[0] ? config_find(sv->config, request->name) : -1;
	bool needs_service = request->verb != CONTROL_MEMBERS && request->verb != CONTROL_SHUTDOWN &&
			     !(request->verb == CONTROL_STATUS && !request->name[0]);

	if (needs_service && index < 0) {
		char text[CONTROL_TEXT_BYTES];
		snprintf(text, sizeof(text), "no service called \"%s\" in profile %s", request->name,
			 sv->config->profile);
		end(client, 1, text);
		return;
	}
	switch (request->verb) {
	case CONTROL_STATUS:
		status(client, request, index);
		break;
	case CONTROL_MEMBERS:
		members(client);
		break;
	case CONTROL_KILL:
		send_signal(client, request, (uint16_t)index);
		break;
	case CONTROL_SHUTDOWN:
		shut_down(client, request);
		break;
	default:
		operate(client, request, (uint16_t)index);
		break;
	}
}

static void client_ready(struct watch *watch, uint32_t events)
{
	struct client *client = watch->owner;
	struct control_request request;

	(void)events;
	ssize_t n = recv(watch->fd, &request, sizeof(request), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || client->waiting)
		drop(client);
	else if (!control_request_valid(&request, (size_t)n))
		end(client, 2, "request not understood: is the command of the same version as the supervisor?");
	else
		serve(client, &request);
}

static void accept_ready(struct watch *watch, uint32_t events)
{
	/* Room for a reply about every service: a client need not read while we write. */
	int room = (int)(sizeof(struct control_record) * (SERVICES_MAX + 2) * 2);

	(void)events;
	int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &server.client[i];
		if (client->watch.fd >= 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
		client->watch.fd = fd;
		if (loop_add(&server.supervisor->loop, &client->watch, EPOLLIN) < 0)
			drop(client);
		return;
	}
	close(fd); /* everyone else waits for their own reply */
}

int control_open(struct supervisor *sv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	server.supervisor = sv;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		server.client[i].watch = (struct watch){ .fd = -1, .ready = client_ready, .owner = &server.client[i] };
	char path[sizeof(address.sun_path)];
	if ((size_t)snprintf(path, sizeof(path), "%s/control", sv->run_dir) >= sizeof(path) - sizeof(".new")) {
		log_warnx("control socket: %s is too long a directory", sv->run_dir);
		return -1;
	}
	/* It gets its name when it listens: whoever finds it there gets through. */
	snprintf(address.sun_path, sizeof(address.sun_path), "%.*s.new", (int)(sizeof(path) - sizeof(".new")), path);
	unlink(address.sun_path);
	server.listener = (struct watch){ .ready = accept_ready };
	server.listener.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server.listener.fd < 0 || bind(server.listener.fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(address.sun_path, 0600) < 0 || listen(server.listener.fd, 128) < 0 ||
	    rename(address.sun_path, path) < 0 || loop_add(&sv->loop, &server.listener, EPOLLIN) < 0) {
		log_warn("control socket %s", path);
		return -1;
	}
	sv->changed = changed;
	sv->settled = answer_waiting;
	return 0;
}
