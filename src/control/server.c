#include "src/control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/control/progress.h"
#include "src/control/protocol.h"
#include "src/control/serve_members.h"
#include "src/control/serve_reload.h"
#include "src/node/finish.h"
#include "src/supervise/gossip_link.h"
#include "src/supervise/instance.h"
#include "src/supervise/reload.h"

#define CLIENTS_MAX 64
/* The rest is for those that are answered at once. */
#define WAITING_MAX 48
/* Those that follow the members' events. */
#define WATCHERS_MAX 8
/* The gossip process answers at once, or the answer goes without it. */
#define GOSSIP_MS 500
/* No descriptor for a new client: the listener rests for so long. */
#define PAUSE_MS 100

struct client {
	struct watch watch;
	uint64_t serial; /* the order they came in */
	/* A start, stop, restart or reload that is answered when the service, which may be gone or
	 * have another index by then, has got there. */
	bool waiting;
	struct control_request request;
	uint32_t starts_before; /* restart: done only after a start later than this */
	uint32_t reload;	/* reload, scale: which, sv->reloads; 0: it was refused */
	/* status, members, …: records [next, last) are still to be sent, then the END, unless that
	 * is waited for. */
	void (*fill)(struct control_record *record, size_t number);
	size_t next, last;
	struct control_end end;
	/* members: the question to the gossip process that is not answered yet, 0: none. */
	uint64_t asked, asked_until_ms;
	/* members --watch */
	bool watching, congested;
	struct members_cursor cursor;
};

static struct {
	struct supervisor *supervisor;
	struct watch listener;
	struct client client[CLIENTS_MAX];
	uint64_t serial;
	uint64_t paused_until_ms; /* the listener rests; 0: it does not */
	int reserve_fd; /* given up for a client when no other descriptor is left; -1 meanwhile */
	uint64_t first_ready_ms;
} server;

static void open_reserve(void)
{
	if (server.reserve_fd < 0)
		server.reserve_fd = open("/", O_PATH | O_CLOEXEC);
}

static void drop(struct client *client)
{
	loop_close(&server.supervisor->loop, &client->watch);
	client->waiting = client->watching = client->congested = false;
	client->fill = NULL;
	client->asked = 0;
	client->end = (struct control_end){0};
	open_reserve();
}

static bool reply(struct client *client, enum control_type type, struct control_record *record)
{
	record->magic = CONTROL_MAGIC;
	record->type = (uint16_t)type;
	return send(client->watch.fd, record, sizeof(*record), MSG_NOSIGNAL | MSG_DONTWAIT) ==
	       (ssize_t)sizeof(*record);
}

/* The one record of most answers: it fits into the empty buffer of a socket that nothing was sent
 * on. */
static void end(struct client *client, int code, const char *text)
{
	struct control_record record = {.end.code = code};

	snprintf(record.end.text, sizeof(record.end.text), "%s", text);
	reply(client, CONTROL_END, &record);
	drop(client);
}

/*
 * Sends as much of a long answer as the client's socket takes; the rest follows as the client
 * reads. One that never does costs its place in the table, no more.
 */
static void send_more(struct client *client)
{
	while (client->next <= client->last) {
		struct control_record record;
		enum control_type type = CONTROL_END;
		memset(&record, 0, sizeof(record));
		if (client->next < client->last) {
			client->fill(&record, client->next);
			type = (enum control_type)record.type;
		} else if (client->waiting) {
			client->fill = NULL;
			if (loop_modify(&server.supervisor->loop, &client->watch, EPOLLIN) < 0)
				drop(client);
			return;
		} else {
			record.end = client->end;
		}
		if (!reply(client, type, &record)) {
			if (errno != EAGAIN ||
			    loop_modify(&server.supervisor->loop, &client->watch, EPOLLOUT) < 0)
				drop(client);
			return;
		}
		client->next++;
	}
	drop(client);
}

static void send_records(struct client *client,
			 void (*fill)(struct control_record *record, size_t number), size_t first,
			 size_t last)
{
	client->fill = fill;
	client->next = first;
	client->last = last;
	send_more(client);
}

/* A word for people: "down" and "waiting" are the same life, but not the same wish. */
static const char *state_word(const struct graph_service *s)
{
	if (s->life.state == LIFE_IDLE && s->wanted)
		return "waiting";
	return life_state_name(s->life.state);
}

static void fill_health(struct control_service *out, const struct probe *probe)
{
	const struct health *health = &probe->health;

	if (!probe->policy.has_check && !health->watchdog_ms)
		out->health = CONTROL_UNWATCHED;
	else if (probe->result == PROBE_BAD)
		out->health = CONTROL_ILL;
	else if (probe->result == PROBE_GOOD || (!probe->policy.has_check && health->ping_ms))
		out->health = CONTROL_WELL;
	else
		out->health = CONTROL_UNKNOWN;
	out->check_failures = health->failures;
	snprintf(out->check, sizeof(out->check), "%s", probe->text);
}

static void fill_service(struct control_record *record, size_t index)
{
	struct supervisor *sv = server.supervisor;
	const struct graph_service *s = &sv->service[index];
	const struct instance *instance = sv->instance[index];
	struct control_service *out = &record->service;

	record->type = CONTROL_SERVICE_RECORD;
	snprintf(out->name, sizeof(out->name), "%s", instance->def->name);
	snprintf(out->state, sizeof(out->state), "%s", state_word(s));
	out->wanted = s->wanted;
	out->running = instance->pid > 0;
	out->pid = instance->pid;
	out->starts = s->life.starts;
	out->failures = s->life.failures;
	out->since_ms = loop_now_ms() - s->life.since_ms;
	supervise_why(sv, (uint16_t)index, out->why, sizeof(out->why));
	fill_health(out, &instance->probe);
}

static void fill_node(struct control_record *record)
{
	struct supervisor *sv = server.supervisor;
	struct control_node *out = &record->node;
	unsigned ready, failed;

	record->type = CONTROL_NODE_RECORD;
	bool all = supervise_all_ready(sv, &ready, &failed);
	snprintf(out->name, sizeof(out->name), "%s",
		 sv->config->self ? sv->config->self->name : "");
	snprintf(out->profile, sizeof(out->profile), "%s", sv->config->profile);
	out->ready = all && sv->goal == GOAL_RUN;
	out->stopping = sv->goal != GOAL_RUN;
	out->services = (uint16_t)sv->count;
	out->services_ready = (uint16_t)ready;
	out->services_failed = (uint16_t)failed;
	out->up_ms = loop_now_ms() - sv->started_ms;
	out->boot_ms = server.first_ready_ms;
	members_alarm(out->alarm, sizeof(out->alarm));
}

/* The node, then its services. */
static void fill_status(struct control_record *record, size_t number)
{
	if (number == 0)
		fill_node(record);
	else
		fill_service(record, number - 1);
}

static void status(struct client *client, const struct control_request *request, int index)
{
	struct control_record record;

	if (!request->name[0]) {
		send_records(client, fill_status, 0, server.supervisor->count + 1);
		return;
	}
	memset(&record, 0, sizeof(record));
	fill_node(&record);
	if (reply(client, CONTROL_NODE_RECORD, &record))
		send_records(client, fill_service, (size_t)index, (size_t)index + 1);
	else
		drop(client);
}

/* ---- members ---- */

static void set_due(void)
{
	uint64_t due_ms = server.paused_until_ms;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		const struct client *client = &server.client[i];
		if (client->asked && (!due_ms || client->asked_until_ms < due_ms))
			due_ms = client->asked_until_ms;
	}
	server.supervisor->control_due_ms = due_ms;
}

static void tell_members(struct client *client)
{
	client->asked = 0;
	send_records(client, members_fill, 0, members_count());
}

static void members(struct client *client)
{
	struct supervisor *sv = server.supervisor;

	if (!sv->config->cluster) {
		end(client, 1, "this node is of no cluster: there is no cluster.conf");
		return;
	}
	if (!gossip_view()->cluster) {
		end(client, 1, "no gossip process has run here yet");
		return;
	}
	client->asked = gossip_link_ask(sv);
	if (client->asked == 0) {
		tell_members(client);
		return;
	}
	client->asked_until_ms = loop_now_ms() + GOSSIP_MS;
	set_due();
}

/* Sends what happened since; the rest when the client has read that. */
static void tell_events(struct client *client)
{
	struct loop *loop = &server.supervisor->loop;
	struct control_record record;
	bool congested = false;

	for (;;) {
		memset(&record, 0, sizeof(record));
		if (!members_next(&client->cursor, &record))
			break;
		if (!reply(client, (enum control_type)record.type, &record)) {
			congested = errno == EAGAIN;
			if (!congested) {
				drop(client);
				return;
			}
			break;
		}
		members_advance(&client->cursor);
	}
	if (congested != client->congested &&
	    loop_modify(loop, &client->watch, EPOLLIN | (congested ? EPOLLOUT : 0)) < 0)
		drop(client);
	else
		client->congested = congested;
}

static void watch_members(struct client *client)
{
	size_t count = 0;

	for (size_t i = 0; i < CLIENTS_MAX; i++)
		count += server.client[i].watching;
	if (!server.supervisor->config->cluster) {
		end(client, 1, "this node is of no cluster: there is no cluster.conf");
	} else if (count == WATCHERS_MAX) {
		end(client, 1, "too many others follow the members already");
	} else {
		client->watching = true;
		members_begin(&client->cursor);
		tell_events(client);
	}
}

static void gossip_news(void)
{
	const struct gossip_view *view = gossip_view();

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &server.client[i];
		if (client->asked && (!view->running || view->answered >= client->asked))
			tell_members(client);
		if (client->watching && !client->congested)
			tell_events(client);
	}
	set_due();
}

/* A word from one that follows: it is gone, or can take more. */
static void watcher_ready(struct client *client)
{
	char byte;
	ssize_t n = recv(client->watch.fd, &byte, 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		tell_events(client);
	else
		drop(client);
}

static void answer_service(struct client *client)
{
	struct supervisor *sv = server.supervisor;
	const struct control_request *request = &client->request;
	char text[CONTROL_TEXT_BYTES], why[CONTROL_TEXT_BYTES - SERVICE_NAME_BYTES - 32];
	int index = supervise_find(sv, request->name);

	if (index < 0) {
		snprintf(text, sizeof(text), "%s: in the configuration no more", request->name);
		end(client, request->verb == CONTROL_STOP ? 0 : 1, text);
		return;
	}
	enum progress got = progress_of(sv, (enum control_verb)request->verb, (uint16_t)index,
					client->starts_before);
	if (got == PROGRESS_UNDER_WAY)
		return;
	supervise_why(sv, (uint16_t)index, why, sizeof(why));
	snprintf(text, sizeof(text), "%s: %s%s%s", request->name, state_word(&sv->service[index]),
		 why[0] ? ": " : "", why);
	end(client, got == PROGRESS_THERE ? 0 : 1, text);
}

static void answer_reload(struct client *client)
{
	enum progress got = progress_of_reload(server.supervisor, client->reload, client->end.text,
					       sizeof(client->end.text));

	if (got == PROGRESS_UNDER_WAY)
		return;
	client->end.code = got == PROGRESS_THERE ? 0 : 1;
	client->waiting = false;
	send_records(client, reload_record, 0, 0);
}

static void answer_if_done(struct client *client)
{
	if (client->fill)
		return; /* still reads what comes before */
	if (client->reload)
		answer_reload(client);
	else
		answer_service(client);
}

/* What is still to be sent ends where the new set does. */
static void renumbered(struct supervisor *sv)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &server.client[i];
		size_t most = client->fill == fill_status    ? sv->count + 1
			      : client->fill == fill_service ? sv->count
			      : client->fill == members_fill ? members_count()
							     : client->last;
		if (client->last > most)
			client->last = most;
		if (client->next > client->last)
			client->next = client->last;
	}
}

static void changed(struct supervisor *sv, uint16_t index)
{
	unsigned ready, failed;

	(void)index;
	if (server.first_ready_ms == 0 && sv->goal == GOAL_RUN &&
	    supervise_all_ready(sv, &ready, &failed)) {
		server.first_ready_ms = loop_now_ms() - sv->started_ms;
		log_info("all services ready after %llu ms",
			 (unsigned long long)server.first_ready_ms);
	}
}

static void settled(struct supervisor *sv)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (server.client[i].waiting)
			answer_if_done(&server.client[i]);
	if (!sv->control_due_ms || loop_now_ms() < sv->control_due_ms)
		return;
	uint64_t now_ms = loop_now_ms();
	if (server.paused_until_ms && now_ms >= server.paused_until_ms) {
		server.paused_until_ms = 0;
		open_reserve();
		if (loop_modify(&sv->loop, &server.listener, EPOLLIN) < 0)
			log_warn("control socket");
	}
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (server.client[i].asked && now_ms >= server.client[i].asked_until_ms)
			tell_members(&server.client[i]);
	set_due();
}

static size_t waiting_clients(void)
{
	size_t count = 0;

	for (size_t i = 0; i < CLIENTS_MAX; i++)
		count += server.client[i].waiting;
	return count;
}

/* False: answered that it may not. */
static bool may_wait(struct client *client, const struct control_request *request)
{
	if ((request->flags & CONTROL_NO_WAIT) || waiting_clients() < WAITING_MAX)
		return true;
	end(client, 1, "too many others wait for a service already; try --no-wait");
	return false;
}

static void wait_for(struct client *client, const struct control_request *request)
{
	client->request = *request;
	client->reload = 0;
	client->waiting = true;
	answer_if_done(client);
}

static void operate(struct client *client, const struct control_request *request, uint16_t index)
{
	struct supervisor *sv = server.supervisor;
	bool force = request->flags & CONTROL_FORCE;
	char why[CONTROL_TEXT_BYTES];
	int rc;

	if (!may_wait(client, request))
		return;
	client->starts_before = sv->service[index].life.starts;
	if (request->verb == CONTROL_START)
		rc = supervise_start(sv, index, force, why, sizeof(why));
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
	wait_for(client, request);
}

/* One service reads its configuration again; a pool stands for its members. */
static void reload_service(struct client *client, const struct control_request *request,
			   uint16_t index)
{
	struct supervisor *sv = server.supervisor;
	const char *why = "it has neither reload nor reload-signal in its file";
	char text[CONTROL_TEXT_BYTES];
	bool asked = false;

	for (size_t i = 0; i < sv->count; i++) {
		if ((i != index && sv->node[i].pool != (int)index) ||
		    sv->instance[i]->policy.reload == LIFE_RELOAD_NONE)
			continue;
		enum life_state state = sv->service[i].life.state;
		why = "it is not ready";
		asked |= state == LIFE_READY || state == LIFE_RELOADING;
		supervise_event(sv, (uint16_t)i, LIFE_RELOAD);
	}
	if (!asked) {
		snprintf(text, sizeof(text), "%s: %s", request->name, why);
		end(client, 1, text);
		return;
	}
	supervise_settle(sv);
	if (request->flags & CONTROL_NO_WAIT)
		end(client, 0, "");
	else
		wait_for(client, request);
}

static void reload_all(struct client *client, const struct control_request *request)
{
	struct supervisor *sv = server.supervisor;
	int rc = request->verb == CONTROL_SCALE
			 ? reload_scale(sv, request->name, (size_t)request->number)
			 : reload(sv);

	client->end = (struct control_end){.code = rc < 0};
	if (rc < 0)
		snprintf(client->end.text, sizeof(client->end.text),
			 "refused, nothing was changed: %zu findings",
			 reload_outcome()->findings.count);
	client->request = *request;
	client->reload = sv->reloads;
	client->waiting = rc == 0 && !(request->flags & CONTROL_NO_WAIT);
	send_records(client, reload_record, 0, reload_records());
	if (client->waiting)
		answer_if_done(client);
}

static void reload_request(struct client *client, const struct control_request *request, int index)
{
	if (!may_wait(client, request))
		return;
	/* Who still reads what an earlier one did: that is about to be forgotten. */
	bool whole = request->verb == CONTROL_SCALE || !request->name[0];
	for (size_t i = 0; whole && i < CLIENTS_MAX; i++)
		if (server.client[i].fill == reload_record && server.client[i].watch.fd >= 0)
			drop(&server.client[i]);
	if (whole)
		reload_all(client, request);
	else
		reload_service(client, request, (uint16_t)index);
}

/* All its processes; how many, -1 with errno. */
static int signal_service(const struct instance *instance, int number)
{
	if (instance->cgroup_fd >= 0)
		return cgroup_signal(instance->cgroup_fd, number);
	if (instance->pid == 0)
		return 0;
	/* Without a cgroup: its process group, or it alone if it leads none. */
	if (kill(-instance->pid, number) == 0)
		return 1;
	return instance_signal(instance, number) < 0 ? -1 : 1;
}

/* A pool stands for its members. */
static void send_signal(struct client *client, const struct control_request *request,
			uint16_t index)
{
	const struct supervisor *sv = server.supervisor;
	const char *name = sv->instance[index]->def->name;
	char text[CONTROL_TEXT_BYTES] = "";
	int signalled = 0;

	if (request->number < 1 || request->number >= NSIG) {
		snprintf(text, sizeof(text), "no signal has the number %d", (int)request->number);
		end(client, 2, text);
		return;
	}
	for (size_t i = 0; i < sv->count; i++) {
		if (i != index && sv->node[i].pool != (int)index)
			continue;
		int rc = signal_service(sv->instance[i], request->number);
		if (rc < 0)
			snprintf(text, sizeof(text), "signal %d to %s: %s", (int)request->number,
				 sv->instance[i]->def->name, strerror(errno));
		else
			signalled += rc;
	}
	if (signalled == 0 && text[0] == '\0')
		snprintf(text, sizeof(text), "%s has no process", name);
	end(client, text[0] ? 1 : 0, text);
}

static void shut_down(struct client *client, const struct control_request *request)
{
	struct supervisor *sv = server.supervisor;
	static const enum goal goals[] = {
		[CONTROL_POWEROFF] = GOAL_POWEROFF,
		[CONTROL_REBOOT] = GOAL_REBOOT,
		[CONTROL_HALT] = GOAL_HALT,
		[CONTROL_KEXEC] = GOAL_KEXEC,
	};
	enum goal goal = goals[request->number];

	if (goal == GOAL_KEXEC && !(sv->machine && finish_can_kexec())) {
		end(client, 1,
		    sv->machine ? "no kernel is loaded (/sys/kernel/kexec_loaded): kexec -l, which "
				  "loads one, comes first"
				: "--kexec: this supervisor is not the init of a machine");
		return;
	}
	log_info("asked to %s", supervise_goal_name(goal));
	end(client, 0, "");
	supervise_shutdown(sv, goal);
}

static void serve(struct client *client, const struct control_request *request)
{
	struct supervisor *sv = server.supervisor;
	int index = request->name[0] ? supervise_find(sv, request->name) : -1;
	bool may_lack = request->verb == CONTROL_STATUS || request->verb == CONTROL_RELOAD;
	bool needs_service = request->verb != CONTROL_MEMBERS && request->verb != CONTROL_WATCH &&
			     request->verb != CONTROL_SHUTDOWN && !(may_lack && !request->name[0]);

	if (needs_service && index < 0) {
		char text[CONTROL_TEXT_BYTES];
		snprintf(text, sizeof(text), "no service called \"%s\" in profile %s",
			 request->name, sv->config->profile);
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
	case CONTROL_WATCH:
		watch_members(client);
		break;
	case CONTROL_KILL:
		send_signal(client, request, (uint16_t)index);
		break;
	case CONTROL_RELOAD:
	case CONTROL_SCALE:
		reload_request(client, request, index);
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
	if (client->fill) {
		send_more(client);
		return;
	}
	if (client->watching) {
		watcher_ready(client);
		return;
	}
	ssize_t n = recv(watch->fd, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || client->waiting || client->asked)
		drop(client);
	else if (!control_request_valid(&request, (size_t)n))
		end(client, 2,
		    "request not understood: is the command of the same version as the "
		    "supervisor?");
	else
		serve(client, &request);
}

/* Who has kept his place longest without waiting for something; NULL: all wait. */
static struct client *oldest_idle(void)
{
	struct client *oldest = NULL;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &server.client[i];
		if (client->watch.fd >= 0 && !client->waiting && !client->watching &&
		    (!oldest || client->serial < oldest->serial))
			oldest = client;
	}
	return oldest;
}

static struct client *find_place(void)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (server.client[i].watch.fd < 0)
			return &server.client[i];
	struct client *oldest =
		oldest_idle(); /* there is one: fewer may wait than there are places */
	drop(oldest);
	return oldest;
}

static int accept_client(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 || (errno != EMFILE && errno != ENFILE))
		return fd;
	if (server.reserve_fd < 0) {
		struct client *oldest = oldest_idle();
		if (oldest)
			drop(oldest); /* whose descriptor is the reserve now */
	}
	if (server.reserve_fd < 0) {
		errno = EMFILE;
		return -1;
	}
	close(server.reserve_fd);
	server.reserve_fd = -1;
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void accept_ready(struct watch *watch, uint32_t events)
{
	struct supervisor *sv = server.supervisor;

	(void)events;
	int fd = accept_client(watch->fd);
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* It would be readable, and fail, again and again. */
		log_warn("accept a command");
		if (loop_modify(&sv->loop, watch, 0) == 0)
			server.paused_until_ms = loop_now_ms() + PAUSE_MS;
		set_due();
		return;
	}
	struct client *client = find_place();
	client->serial = ++server.serial;
	client->watch.fd = fd;
	if (loop_add(&sv->loop, &client->watch, EPOLLIN) < 0)
		drop(client);
	else
		client_ready(&client->watch, EPOLLIN); /* most have said by now what they want */
}

int control_open(struct supervisor *sv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	server.supervisor = sv;
	server.reserve_fd = -1;
	open_reserve();
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		server.client[i].watch =
			(struct watch){.fd = -1, .ready = client_ready, .owner = &server.client[i]};
	char path[sizeof(address.sun_path)];
	if ((size_t)snprintf(path, sizeof(path), "%s/control", sv->run_dir) >=
	    sizeof(path) - sizeof(".new")) {
		log_warnx("control socket: %s is too long a directory", sv->run_dir);
		return -1;
	}
	/* It gets its name when it listens: whoever finds it there gets through. */
	snprintf(address.sun_path, sizeof(address.sun_path), "%.*s.new",
		 (int)(sizeof(path) - sizeof(".new")), path);
	unlink(address.sun_path);
	server.listener = (struct watch){.ready = accept_ready};
	server.listener.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server.listener.fd < 0 ||
	    bind(server.listener.fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(address.sun_path, 0600) < 0 || listen(server.listener.fd, 128) < 0 ||
	    rename(address.sun_path, path) < 0 ||
	    loop_add(&sv->loop, &server.listener, EPOLLIN) < 0) {
		log_warn("control socket %s", path);
		return -1;
	}
	sv->changed = changed;
	sv->settled = settled;
	gossip_link_on_news(gossip_news);
	sv->renumbered = renumbered;
	return 0;
}

void control_clean_up(void)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	snprintf(path, sizeof(path), "%s/control", server.supervisor->run_dir);
	unlink(path);
}
