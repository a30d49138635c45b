/*
 * The control socket's server: any sequence of packets, each from a client of its own, is answered
 * with whole records and one END, or is left waiting for a service, or makes the server hang up.
 * Services here run nothing, so that every verb does all it can.
 *
 * The input: packets, each with its length (two bytes) before it.
 */
#include "src/control/server.c"

#include <stdint.h>
#include <stdlib.h>

#define SERVICES 7

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In place of src/base/log.c: what is said here is not what is looked for. */
void log_init(const char *who)
{
	(void)who;
}
void log_info(const char *fmt, ...)
{
	(void)fmt;
}
void log_warn(const char *fmt, ...)
{
	(void)fmt;
}
void log_warnx(const char *fmt, ...)
{
	(void)fmt;
}
void fatal(const char *fmt, ...)
{
	(void)fmt;
	abort();
}
void fatalx(const char *fmt, ...)
{
	(void)fmt;
	abort();
}

static struct supervisor sv;
static struct config config;
static uint16_t bottom[] = {0}, pooled[] = {2, 3};
static struct condition never = {.kind = CONDITION_PATH, .argument = "/nonexistent"};
static struct service_def service[SERVICES] = {
	{.name = "base", .kind = SERVICE_GROUP, .pool = -1},
	{.name = "above",
	 .kind = SERVICE_GROUP,
	 .pool = -1,
	 .requires = bottom,
	 .requires_count = 1},
	{.name = "pool:1", .kind = SERVICE_GROUP, .pool = 4},
	{.name = "pool:2", .kind = SERVICE_GROUP, .pool = 4},
	{.name = "pool", .kind = SERVICE_POOL, .pool = -1, .wants = pooled, .wants_count = 2},
	{.name = "never",
	 .kind = SERVICE_GROUP,
	 .pool = -1,
	 .condition = &never,
	 .condition_count = 1},
	{.name = "coming", .kind = SERVICE_DAEMON, .pool = -1, .ready = READY_NOTIFY},
};

static void set_up(void)
{
	static struct loop loop = {.epoll_fd = -1};

	if (loop.epoll_fd < 0 && loop_init(&loop) < 0)
		abort();
	memset(&sv, 0, sizeof(sv));
	config = (struct config){.profile = "fuzz", .service = service, .service_count = SERVICES};
	sv.config = &config;
	sv.source.profile = "none"; /* there is no such one: each reload is refused */
	sv.source.directory = "/nonexistent";
	sv.loop = loop;
	sv.cgroups.fd = -1;
	sv.gossip = sv.log = -1;
	sv.count = SERVICES;
	for (uint16_t i = 0; i < SERVICES; i++) {
		const struct service_def *def = &service[i];
		sv.node[i] = (struct graph_node){.requires = def->requires,
						 .requires_count = def->requires_count,
						 .wants = def->wants,
						 .wants_count = def->wants_count,
						 .pool = def->pool,
						 .is_pool = def->kind == SERVICE_POOL};
		sv.service[i] = (struct graph_service){.wanted = true, .conditions_hold = i != 5};
		sv.instance[i] = &sv.slot[i];
		if (instance_init(sv.instance[i], &sv, def, i) < 0)
			abort();
	}
	/* One that is on its way for ever. */
	sv.service[6].life.state = LIFE_STARTING;
	memset(&server, 0, sizeof(server));
	server.supervisor = &sv;
	server.reserve_fd = -1;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		server.client[i].watch =
			(struct watch){.fd = -1, .ready = client_ready, .owner = &server.client[i]};
	sv.changed = changed;
	sv.settled = settled;
	sv.renumbered = renumbered;
	supervise_settle(&sv);
}

static void check_record(const struct control_record *record, ssize_t bytes)
{
	if (bytes != (ssize_t)sizeof(*record) || record->magic != CONTROL_MAGIC ||
	    record->type < CONTROL_NODE_RECORD || record->type > CONTROL_CHANGE_RECORD)
		abort();
	if (record->type == CONTROL_SERVICE_RECORD &&
	    (!memchr(record->service.name, 0, sizeof(record->service.name)) ||
	     !memchr(record->service.why, 0, sizeof(record->service.why))))
		abort();
	if (record->type == CONTROL_END &&
	    (!memchr(record->end.text, 0, sizeof(record->end.text)) || record->end.code < 0 ||
	     record->end.code > 2))
		abort();
}

/* A client that sends one packet, reads what there is, and goes. */
static void one_client(const uint8_t *packet, size_t bytes)
{
	struct client *client = find_place();
	struct control_record record;
	int end[2], type = 0;
	ssize_t n;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, end) < 0)
		abort();
	client->serial = ++server.serial;
	client->watch.fd = end[0];
	if (loop_add(&sv.loop, &client->watch, EPOLLIN) < 0 || send(end[1], packet, bytes, 0) < 0)
		abort();
	client_ready(&client->watch, EPOLLIN);
	supervise_settle(&sv);
	while ((n = recv(end[1], &record, sizeof(record), 0)) > 0) {
		if (type == CONTROL_END)
			abort();
		check_record(&record, n);
		type = record.type;
	}
	/* Every request is answered; what is none, too, but an empty one looks like a hang-up. */
	if (type != CONTROL_END && !client->waiting && bytes > 0)
		abort();
	close(end[1]);
	if (client->watch.fd >= 0)
		client_ready(&client->watch, EPOLLIN | EPOLLHUP);
	if (client->watch.fd >= 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	set_up();
	while (size >= 2) {
		size_t bytes = (size_t)(data[0] | data[1] << 8);
		data += 2;
		size -= 2;
		if (bytes > size)
			bytes = size;
		one_client(data, bytes);
		data += bytes;
		size -= bytes;
	}
	if (server.reserve_fd >= 0)
		close(server.reserve_fd);
	return 0;
}
