/* The gossip process: its loop, and what the supervising process tells it. See gossip.h. */
#include "src/gossip/gossip.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "src/base/log.h"
#include "src/gossip/process.h"

#define EXIT_USAGE 2
#define CROWDED_MS 10 /* the socket rests that long when more comes than can be looked at */

struct process process;

static struct {
	int epoll_fd, timer_fd, signal_fd;
	uint64_t timer_ms;   /* what it is set to; 0 nothing */
	uint64_t crowded_ms; /* the socket rests until then; 0: it does not */
	bool ending;	     /* told to end: at once, or when a leave under way is done */
} loop;

uint64_t process_now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* --- the membership's step, and what it asks for */

void process_step(const struct membership_event *event, uint64_t now)
{
	static struct membership_actions actions;
	if (!process.now)
		return;
	membership_step(&process.membership, event, now / 1000, &actions);
	for (size_t i = 0; i < actions.count; i++) {
		const struct membership_action *action = &actions.action[i];
		switch (action->type) {
		case MEMBERSHIP_SEND:
			packets_send(action, now);
			break;
		case MEMBERSHIP_CHANGED:
			report_change(action->index, &action->change);
			break;
		case MEMBERSHIP_GONE:
			process.left_due = true;
			break;
		}
	}
}

static void on_time(uint64_t now)
{
	if (process.now && now / 1000 >= membership_next_ms(&process.membership)) {
		struct membership_event event = {.type = MEMBERSHIP_TIME};
		randombytes_buf(&event.random, sizeof(event.random));
		process_step(&event, now);
		report_conflicts(now);
	}
}

static void step_status(uint64_t now)
{
	struct member_tags tags = {.bytes = process.now ? process.now->self.tags_bytes : 0};
	struct membership_event event = {
		.type = MEMBERSHIP_STATUS, .status = process.status, .tags = &tags};

	if (process.now)
		memcpy(tags.text, process.now->self.tags, tags.bytes);
	process_step(&event, now);
}

/* --- from the supervising process */

static bool same_node(const struct gossip_node *a, const struct gossip_node *b)
{
	return a->address == b->address && a->port == b->port &&
	       memcmp(a->name, b->name, sizeof(a->name)) == 0;
}

/* What is known under the table before, unless we ourselves are somebody else now. Sessions live
 * on if the keys they are made of do. */
static void keep_known(struct table *next, const struct table *before, const uint8_t *public_key)
{
	const struct gossip_node *self = &next->peer[next->self.index].node;
	const struct gossip_node *self_before = &before->peer[before->self.index].node;
	if (next->self.boot_id != before->self.boot_id || !same_node(self, self_before) ||
	    strcmp(next->self.cluster, before->self.cluster) != 0)
		return;
	bool same_key = memcmp(public_key, process.seal.public_key, GOSSIP_KEY_BYTES) == 0;
	for (uint16_t i = 0; i < next->self.node_count; i++) {
		for (uint16_t j = 0; j < before->self.node_count; j++) {
			const struct peer *known = &before->peer[j];
			struct peer *peer = &next->peer[i];
			if (!same_node(&peer->node, &known->node))
				continue;
			if (same_key)
				seal_peer_keep(&peer->seal, &known->seal);
			peer->link = known->link;
			peer->reported = known->reported;
			peer->conflict = known->conflict;
			peer->elsewhere = known->elsewhere;
			peer->elsewhere_us = known->elsewhere_us;
			membership_keep(&process.membership, i, &before->member[j],
					&before->tags[j]);
		}
	}
}

static void configure_peer(struct table *t, uint16_t index)
{
	struct peer *peer = &t->peer[index];
	struct gossip_node node = peer->node;
	memset(peer, 0, sizeof(*peer));
	peer->node = node;
	peer->address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = node.address,
		.sin_port = htons(node.port),
	};
	for (uint16_t i = 0; i < index; i++) {
		if (t->id[i] == t->id[index] ||
		    (t->peer[i].node.address == node.address && t->peer[i].node.port == node.port))
			fatalx("nodes %s and %s have the same name or address",
			       t->peer[i].node.name, node.name);
	}
	if (index != t->self.index &&
	    !seal_peer_init(&peer->seal, &process.seal, t->id[index], node.key, node.key_count))
		fatalx("node %s: not a usable public key", node.name);
}

/* What an earlier process of this boot had told of a member. */
static void restore(struct table *t, const struct gossip_member *known, uint64_t now)
{
	struct member_tags tags = {.bytes = known->tags_bytes};
	memcpy(tags.text, known->tags, tags.bytes);
	const struct membership_record record = {
		.index = known->index,
		.state = known->state,
		.heard_age_ms = MEMBERSHIP_AGE_NEVER,
		.generation = known->generation,
		.incarnation = known->incarnation,
		.boot_id = known->boot_id,
		.status = {.ready = known->ready == 1,
			   .services = known->services,
			   .services_ready = known->services_ready,
			   .services_failed = known->services_failed},
		.tagged = true,
		.tags_hash = known->tags_hash,
	};
	if (known->boot_id == 0)
		return;
	membership_restore(&process.membership, &record, &tags, now / 1000);
	t->peer[known->index].reported = t->member[known->index].state;
}

static void configure(uint64_t now)
{
	struct table *t = process.next, *before = process.now;
	uint16_t self = t->self.index;
	uint8_t public_key[GOSSIP_KEY_BYTES]; /* of the table before */
	for (uint16_t i = 0; i < t->self.node_count; i++)
		t->id[i] = wire_id(t->self.cluster, t->peer[i].node.name);
	memcpy(public_key, process.seal.public_key, sizeof(public_key));
	if (!seal_self_init(&process.seal, t->id[self], t->self.boot_id, t->self.secret_key,
			    t->peer[self].node.key, t->peer[self].node.key_count))
		fatalx("node %s: the secret key does not belong to its public key in the cluster "
		       "file",
		       t->peer[self].node.name);
	sodium_memzero(t->self.secret_key, sizeof(t->self.secret_key));
	for (uint16_t i = 0; i < t->self.node_count; i++)
		configure_peer(t, i);

	const struct membership_config config = {
		.timers = &membership_timers_default,
		.count = t->self.node_count,
		.self = self,
		.boot_id = t->self.boot_id,
		.version = WIRE_VERSION,
		.member = t->member,
		.order = t->order,
		.tags = t->tags,
		.cases = t->cases,
		.case_count = t->self.node_count,
	};
	const struct membership counted = process.membership;
	membership_init(&process.membership, &config, now / 1000);
	process.membership.tick = counted.tick;
	process.membership.late_ticks = counted.late_ticks;
	process.membership.changes = counted.changes;
	process.membership.suspicions = counted.suspicions;
	process.membership.objections = counted.objections;
	process.ids = (struct wire_table){.count = t->self.node_count, .id = t->id};
	if (before)
		keep_known(t, before, public_key);
	for (uint16_t i = 0; !before && i < t->self.node_count; i++)
		restore(t, &t->known[i], now);
	process.now = t;
	process.next = NULL;
	process.queue_count = 0; /* its indices are of the table before */
	for (uint16_t i = 0; i < t->self.node_count; i++)
		t->peer[i].dirty = true;
	packets_filter(t->self.boot_id);
	log_info("%s of cluster %s, %u nodes", t->peer[self].node.name, t->self.cluster,
		 t->self.node_count);
	step_status(now);
}

static void on_self(const struct gossip_self *self)
{
	process.next = process.now == &process.table[0] ? &process.table[1] : &process.table[0];
	memset(process.next, 0, sizeof(*process.next));
	process.next->self = *self;
	memset(process.next_seen, 0, sizeof(process.next_seen));
	process.next_count = 0;
}

static void on_known(const struct gossip_member *known)
{
	if (!process.next || known->index >= process.next->self.node_count)
		fatalx("the supervising process told of a member out of order");
	process.next->known[known->index] = *known;
}

static void on_node(const struct gossip_node *node, uint64_t now)
{
	if (!process.next || node->index >= process.next->self.node_count ||
	    process.next_seen[node->index])
		fatalx("the supervising process described node %s out of order", node->name);
	process.next->peer[node->index].node = *node;
	process.next_seen[node->index] = true;
	if (++process.next_count == process.next->self.node_count)
		configure(now);
}

static void on_message(const struct gossip_message *message, uint64_t now)
{
	struct membership_event event = {0};
	switch (message->type) {
	case GOSSIP_SELF:
		on_self(&message->self);
		break;
	case GOSSIP_NODE:
		on_node(&message->node, now);
		break;
	case GOSSIP_KNOWN:
		on_known(&message->member);
		break;
	case GOSSIP_READY:
		process.status.ready = message->ready.ready == 1;
		process.status.services = message->ready.services;
		process.status.services_ready = message->ready.services_ready;
		process.status.services_failed = message->ready.services_failed;
		step_status(now);
		break;
	case GOSSIP_PING:
		process.pinged = true;
		break;
	case GOSSIP_QUERY:
		process.query = message->query.serial;
		process.query_next = 0;
		break;
	case GOSSIP_LEAVE:
		event.type = MEMBERSHIP_LEAVE;
		if (process.now)
			process_step(&event, now);
		else
			process.left_due = true; /* nobody knows us */
		break;
	}
}

static void on_channel(void)
{
	for (;;) {
		struct gossip_message message;
		ssize_t bytes = recv(GOSSIP_CHANNEL_FD, &message, sizeof(message),
				     MSG_DONTWAIT | MSG_TRUNC);
		if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
			return;
		if (bytes == 0 || (bytes < 0 && errno == ECONNRESET))
			exit(0); /* the supervising process let go of us */
		if (bytes < 0)
			fatal("cannot read from the supervising process");
		if (!gossip_message_valid(&message, (size_t)bytes, GOSSIP_TO_PROCESS))
			fatalx("the supervising process sent something unknown, %zd bytes", bytes);
		on_message(&message, process_now_us());
		sodium_memzero(&message, sizeof(message));
	}
}

/* --- the loop */

static void set_timer(void)
{
	uint64_t due = process.now ? membership_next_ms(&process.membership) : 0;
	if (loop.crowded_ms != 0 && (due == 0 || loop.crowded_ms < due))
		due = loop.crowded_ms;
	if (due == loop.timer_ms)
		return;
	loop.timer_ms = due;
	struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(due / 1000),
			     .tv_nsec = (long)(due % 1000) * 1000000},
	};
	if (timerfd_settime(loop.timer_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
		fatal("timerfd_settime");
}

/* More packets than may be looked at: they wait a moment, or the kernel drops them. */
static void rest_socket(bool rest)
{
	struct epoll_event event = {.events = rest ? 0 : EPOLLIN, .data.fd = PROCESS_SOCKET_FD};
	loop.crowded_ms = rest ? process_now_us() / 1000 + CROWDED_MS : 0;
	if (epoll_ctl(loop.epoll_fd, EPOLL_CTL_MOD, PROCESS_SOCKET_FD, &event) != 0)
		fatal("epoll_ctl");
}

static bool is_leaving(void)
{
	return process.now && process.membership.leaving_ms != 0 && !process.membership.gone;
}

static int watch(int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	return epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void turn(void)
{
	struct epoll_event event[4];
	int count = epoll_wait(loop.epoll_fd, event, 4, -1);
	if (count < 0 && errno != EINTR)
		fatal("epoll_wait");
	/* Time first: after a pause, old packets must meet a membership that knows of the pause. */
	on_time(process_now_us());
	if (loop.crowded_ms != 0 && process_now_us() / 1000 >= loop.crowded_ms)
		rest_socket(false);
	for (int i = 0; i < count; i++) {
		uint64_t expired;
		struct signalfd_siginfo signal;
		if (event[i].data.fd == PROCESS_SOCKET_FD) {
			if (!packets_receive())
				rest_socket(true);
		} else if (event[i].data.fd == GOSSIP_CHANNEL_FD)
			on_channel();
		else if (event[i].data.fd == loop.signal_fd)
			loop.ending |= read(loop.signal_fd, &signal, sizeof(signal)) > 0;
		else if (read(loop.timer_fd, &expired, sizeof(expired)) > 0)
			loop.timer_ms = 0; /* spent */
	}
	if (loop.ending) /* a leave said before the signal may lie in the channel yet */
		on_channel();
	report_flush();
	if (loop.ending && !is_leaving())
		exit(0);
}

static bool is_socket(int fd, int family, int type)
{
	int got = 0;
	socklen_t bytes = sizeof(got);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &got, &bytes) != 0 || got != family)
		return false;
	bytes = sizeof(got);
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &got, &bytes) == 0 && got == type;
}

/* A page that must first be read from a disk, or a processor that others have, makes late
 * heartbeats; and those look like a dead node. Pages are locked as they are first used. */
static void stay_awake(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0)
		process.progress.locked = 1;
	else
		log_warn("memory cannot be locked (limit-memlock)");
	/* The C library of the static program has a stub in its place. */
	long policy = syscall(SYS_sched_getscheduler, 0);
	process.progress.realtime = policy == SCHED_FIFO || policy == SCHED_RR;
}

int gossip_worker(int argc, char **argv)
{
	(void)argv;
	log_init("gossip");
	if (argc != 1 || !is_socket(PROCESS_SOCKET_FD, AF_INET, SOCK_DGRAM) ||
	    !is_socket(GOSSIP_CHANNEL_FD, AF_UNIX, SOCK_SEQPACKET)) {
		log_warnx("is started by the service `gossip`: no arguments, a bound UDP socket as "
			  "fd 0, "
			  "a channel as fd 3");
		return EXIT_USAGE;
	}
	if (!seal_start())
		fatalx("libsodium does not start");
	stay_awake();
	loop.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	loop.signal_fd = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop.timer_fd < 0 || loop.signal_fd < 0 || loop.epoll_fd < 0 ||
	    watch(loop.signal_fd) != 0 || watch(PROCESS_SOCKET_FD) != 0 ||
	    watch(GOSSIP_CHANNEL_FD) != 0 || watch(loop.timer_fd) != 0)
		fatal("cannot wait for events");
	for (;;) {
		set_timer();
		turn();
	}
}
