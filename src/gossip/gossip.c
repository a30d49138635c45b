/* The gossip process: its loop, and what connects socket, seal and membership. See gossip.h. */
#include "src/gossip/gossip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "src/base/log.h"
#include "src/cluster/membership.h"
#include "src/gossip/link.h"
#include "src/gossip/message.h"
#include "src/gossip/seal.h"
#include "src/gossip/wire.h"

#define SOCKET_FD      0
#define EXIT_USAGE     2
#define PACKETS_A_TURN 64 /* then the clock and the channel get their turn */

struct peer {
	struct gossip_node node;
	struct sockaddr_in address;
	struct seal_peer seal;
	struct link link;
	bool dirty;	  /* the supervising process is to be told */
	uint8_t reported; /* state in the log */
	int send_errno;	  /* of the last send, said once */
};

/* One configuration: everything that is indexed by member. */
struct table {
	struct gossip_self self;
	struct peer peer[GOSSIP_NODES_MAX];
	uint64_t id[GOSSIP_NODES_MAX];
	struct member member[GOSSIP_NODES_MAX];
	uint16_t order[GOSSIP_NODES_MAX];
	struct member_tags tags[GOSSIP_NODES_MAX];
	struct membership_case cases[GOSSIP_NODES_MAX];
};

static struct {
	struct table table[2];
	struct table *now; /* NULL before the first configuration */
	struct wire_table ids;
	struct seal_self seal;
	struct membership membership;
	struct member_status status;

	struct table *next; /* being told; NULL between configurations */
	uint64_t next_seen; /* bit N: NODE N has come */

	struct gossip_progress progress;
	uint64_t progress_due_ms;
	unsigned progress_count;
	int timer_fd, signal_fd;
	uint64_t timer_ms; /* what it is set to; 0 nothing */
	bool ending;	   /* told to end: at once, or when a leave under way is done */
	bool left_due;
} g;

static uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* --- to the supervising process */

/* False: it has no room now. What is not told stays marked, and is tried again each tick. */
static bool tell(const struct gossip_message *message)
{
	if (send(GOSSIP_CHANNEL_FD, message, sizeof(*message), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == EINTR)
		return false;
	if (errno == EPIPE || errno == ECONNRESET)
		exit(0);
	fatal("cannot tell the supervising process");
}

static bool tell_member(uint16_t index)
{
	const struct member *x = &g.now->member[index];
	struct gossip_message message;
	gossip_message_init(&message, GOSSIP_MEMBER);
	bool here = x->state == MEMBER_ALIVE || x->state == MEMBER_SUSPECT;
	message.member = (struct gossip_member){
		.index = index,
		.state = x->state,
		.ready = here && x->status.ready,
		.services = x->status.services,
		.services_ready = x->status.services_ready,
		.services_failed = x->status.services_failed,
		.generation = x->generation,
		.incarnation = x->incarnation,
		.rtt_us = g.now->peer[index].link.rtt_us,
		.boot_id = x->boot_id,
		.since_ms = x->since_ms,
		.heard_ms = x->heard_ms,
	};
	return tell(&message);
}

static void tell_all(uint64_t now_ms)
{
	for (uint16_t i = 0; g.now && i < g.ids.count; i++) {
		if (g.now->peer[i].dirty && tell_member(i))
			g.now->peer[i].dirty = false;
	}
	struct gossip_message message;
	if (g.left_due) {
		gossip_message_init(&message, GOSSIP_LEFT);
		g.left_due = !tell(&message);
	}
	if (now_ms < g.progress_due_ms)
		return;
	g.progress_due_ms = now_ms + GOSSIP_PROGRESS_MS;
	if (++g.progress_count % (GOSSIP_REFRESH_MS / GOSSIP_PROGRESS_MS) == 0) {
		for (uint16_t i = 0; g.now && i < g.ids.count; i++)
			g.now->peer[i].dirty = true;
	}
	gossip_message_init(&message, GOSSIP_PROGRESS);
	message.progress = g.progress;
	message.progress.ticks = g.membership.tick;
	message.progress.late_ticks = g.membership.late_ticks;
	tell(&message);
}

static void say_state(uint16_t index)
{
	struct peer *peer = &g.now->peer[index];
	const struct member *x = &g.now->member[index];
	if (peer->reported == x->state || index == g.now->self.index)
		return;
	peer->reported = x->state;
	log_info("%s is %s (life %u, statement %u)", peer->node.name, gossip_state_name(x->state),
		 x->generation, x->incarnation);
}

/* --- packets out */

static void send_packet(struct peer *peer, const uint8_t *packet, size_t bytes)
{
	ssize_t n = sendto(SOCKET_FD, packet, bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
			   (const struct sockaddr *)&peer->address, sizeof(peer->address));
	if (n < 0) {
		g.progress.dropped[GOSSIP_DROP_SEND]++;
		if (errno != peer->send_errno && errno != EAGAIN)
			log_warn("cannot send to %s", peer->node.name);
		peer->send_errno = errno;
		return;
	}
	peer->send_errno = 0;
	g.progress.packets_out++;
	g.progress.bytes_out += bytes;
}

static void send_heartbeat(const struct membership_action *action, uint64_t now)
{
	struct peer *peer = &g.now->peer[action->index];
	uint8_t content[WIRE_CONTENT_MAX_BYTES], packet[WIRE_PACKET_MAX_BYTES];
	static struct membership_heartbeat heartbeat;
	struct wire_timing timing;

	if (peer->seal.boot_id == 0 || peer->seal.stranger) {
		size_t bytes = seal_hello(&g.seal, &peer->seal, now, packet);
		if (bytes > 0)
			send_packet(peer, packet, bytes);
	}
	if (peer->seal.boot_id == 0)
		return;
	link_stamp(&peer->link, now, &timing);
	membership_fill(&g.membership, action, now / 1000, &heartbeat);
	uint8_t version = wire_common_version(WIRE_VERSION, g.now->member[action->index].version);
	size_t bytes = wire_put_heartbeat(content, &g.ids, version, &timing, &heartbeat);
	bytes = seal_heartbeat(&g.seal, &peer->seal, content, bytes, now, packet);
	if (bytes > 0)
		send_packet(peer, packet, bytes);
}

/* --- the membership's step, and what it asks for */

static void step(const struct membership_event *event, uint64_t now)
{
	static struct membership_actions actions;
	if (!g.now)
		return;
	membership_step(&g.membership, event, now / 1000, &actions);
	for (size_t i = 0; i < actions.count; i++) {
		const struct membership_action *action = &actions.action[i];
		switch (action->type) {
		case MEMBERSHIP_SEND:
			send_heartbeat(action, now);
			break;
		case MEMBERSHIP_CHANGED:
			g.now->peer[action->index].dirty = true;
			say_state(action->index);
			break;
		case MEMBERSHIP_GONE:
			g.left_due = true;
			break;
		}
	}
}

static void on_time(uint64_t now)
{
	if (g.now && now / 1000 >= membership_next_ms(&g.membership)) {
		struct membership_event event = {.type = MEMBERSHIP_TIME};
		randombytes_buf(&event.random, sizeof(event.random));
		step(&event, now);
	}
}

/* --- packets in */

static void drop(int reason)
{
	g.progress.dropped[reason]++;
}

static void on_heartbeat(uint16_t index, const struct seal_opened *opened, uint64_t now)
{
	struct peer *peer = &g.now->peer[index];
	static struct membership_heartbeat heartbeat;
	struct wire_timing timing;
	if (!wire_get_heartbeat(opened->content, opened->content_bytes, &g.ids, &timing,
				&heartbeat)) {
		drop(GOSSIP_DROP_CONTENT);
		return;
	}
	bool measured = peer->link.rtt_us != 0;
	uint32_t age_ms = link_take(&peer->link, &timing, opened->newest, now);
	peer->dirty |= peer->link.rtt_us != 0 && !measured;
	struct membership_event event = {
		.type = MEMBERSHIP_HEARTBEAT,
		.from = index,
		.boot_id = opened->header.sender_boot,
		.newest = opened->newest,
		.age_ms = age_ms,
		.version = opened->header.version,
		.heartbeat = &heartbeat,
	};
	step(&event, now);
}

static void on_packet(const uint8_t *packet, size_t bytes, const struct sockaddr_in *from,
		      uint64_t now)
{
	static struct seal_opened opened;
	uint16_t index = 0;
	while (index < g.ids.count &&
	       (g.now->peer[index].address.sin_addr.s_addr != from->sin_addr.s_addr ||
		g.now->peer[index].address.sin_port != from->sin_port))
		index++;
	if (index == g.ids.count || index == g.now->self.index) {
		drop(GOSSIP_DROP_SOURCE);
		return;
	}
	struct peer *peer = &g.now->peer[index];
	int dropped = seal_open(&g.seal, &peer->seal, packet, bytes, now, &opened);
	if (dropped != 0) {
		drop(dropped - 1);
		return;
	}
	g.progress.packets_in++;
	g.progress.bytes_in += bytes;
	if (opened.reply_bytes > 0)
		send_packet(peer, opened.reply, opened.reply_bytes);
	if (opened.contact) {
		link_begin(&peer->link, now);
		struct membership_event event = {
			.type = MEMBERSHIP_CONTACT,
			.from = index,
			.boot_id = peer->seal.boot_id,
			.version = opened.header.version,
		};
		step(&event, now);
	}
	if (opened.header.type == WIRE_HEARTBEAT)
		on_heartbeat(index, &opened, now);
}

static void on_socket(void)
{
	for (int n = 0; n < PACKETS_A_TURN; n++) {
		uint8_t packet[WIRE_PACKET_MAX_BYTES + 1]; /* longer ones are cut, and too long */
		struct sockaddr_in from = {0};
		socklen_t from_bytes = sizeof(from);
		ssize_t bytes = recvfrom(SOCKET_FD, packet, sizeof(packet), MSG_DONTWAIT,
					 (struct sockaddr *)&from, &from_bytes);
		if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (bytes < 0) /* an error that an earlier packet came back with */
			continue;
		if (!g.now || from_bytes != sizeof(from) || from.sin_family != AF_INET)
			drop(GOSSIP_DROP_SOURCE);
		else
			on_packet(packet, (size_t)bytes, &from, now_us());
	}
}

/* --- from the supervising process */

static bool same_node(const struct gossip_node *a, const struct gossip_node *b)
{
	return a->address == b->address && a->port == b->port &&
	       memcmp(a->name, b->name, sizeof(a->name)) == 0 &&
	       memcmp(a->role, b->role, sizeof(a->role)) == 0 &&
	       memcmp(a->key, b->key, sizeof(a->key)) == 0;
}

/* What is known under the table before, when both its pair of keys and its boot are as they were.
 */
static void keep_known(struct table *next, const struct table *before)
{
	const struct gossip_node *self = &next->peer[next->self.index].node;
	const struct gossip_node *self_before = &before->peer[before->self.index].node;
	if (next->self.boot_id != before->self.boot_id || !same_node(self, self_before) ||
	    strcmp(next->self.cluster, before->self.cluster) != 0)
		return;
	for (uint16_t i = 0; i < next->self.node_count; i++) {
		for (uint16_t j = 0; j < before->self.node_count; j++) {
			const struct peer *known = &before->peer[j];
			if (!same_node(&next->peer[i].node, &known->node))
				continue;
			next->peer[i] = *known;
			membership_keep(&g.membership, i, &before->member[j], &before->tags[j]);
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
	    !seal_peer_init(&peer->seal, &g.seal, t->id[index], node.key, node.key_count))
		fatalx("node %s: not a usable public key", node.name);
}

static void configure(uint64_t now)
{
	struct table *t = g.next, *before = g.now;
	uint16_t self = t->self.index;
	for (uint16_t i = 0; i < t->self.node_count; i++)
		t->id[i] = wire_id(t->self.cluster, t->peer[i].node.name);
	if (!seal_self_init(&g.seal, t->id[self], t->self.boot_id, t->self.secret_key,
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
	membership_init(&g.membership, &config, now / 1000);
	g.ids = (struct wire_table){.count = t->self.node_count, .id = t->id};
	if (before)
		keep_known(t, before);
	g.now = t;
	g.next = NULL;
	for (uint16_t i = 0; i < t->self.node_count; i++)
		t->peer[i].dirty = true;
	log_info("%s of cluster %s, %u nodes", t->peer[self].node.name, t->self.cluster,
		 t->self.node_count);
	step(&(struct membership_event){.type = MEMBERSHIP_STATUS, .status = g.status}, now);
}

static void on_self(const struct gossip_self *self)
{
	g.next = g.now == &g.table[0] ? &g.table[1] : &g.table[0];
	memset(g.next, 0, sizeof(*g.next));
	g.next->self = *self;
	g.next_seen = 0;
}

static void on_node(const struct gossip_node *node, uint64_t now)
{
	if (!g.next || node->index >= g.next->self.node_count ||
	    (g.next_seen >> node->index & 1) != 0)
		fatalx("the supervising process described node %s out of order", node->name);
	g.next->peer[node->index].node = *node;
	g.next_seen |= (uint64_t)1 << node->index;
	if (g.next_seen == UINT64_MAX >> (64 - g.next->self.node_count))
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
	case GOSSIP_READY:
		g.status.ready = message->ready.ready == 1;
		g.status.services = message->ready.services;
		g.status.services_ready = message->ready.services_ready;
		g.status.services_failed = message->ready.services_failed;
		event.type = MEMBERSHIP_STATUS;
		event.status = g.status;
		step(&event, now);
		break;
	case GOSSIP_LEAVE:
		event.type = MEMBERSHIP_LEAVE;
		if (g.now)
			step(&event, now);
		else
			g.left_due = true; /* nobody knows us */
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
		on_message(&message, now_us());
		sodium_memzero(&message, sizeof(message));
	}
}

/* --- the loop */

static void set_timer(void)
{
	uint64_t due = g.progress_due_ms;
	if (g.now && membership_next_ms(&g.membership) < due)
		due = membership_next_ms(&g.membership);
	if (due == g.timer_ms)
		return;
	g.timer_ms = due;
	struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(due / 1000),
			     .tv_nsec = (long)(due % 1000) * 1000000},
	};
	if (timerfd_settime(g.timer_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
		fatal("timerfd_settime");
}

static bool is_leaving(void)
{
	return g.now && g.membership.leaving_ms != 0 && !g.membership.gone;
}

static int watch(int fd, int epoll_fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void turn(int epoll_fd)
{
	struct epoll_event event[4];
	int count = epoll_wait(epoll_fd, event, 4, -1);
	if (count < 0 && errno != EINTR)
		fatal("epoll_wait");
	/* Time first: after a pause, old packets must meet a membership that knows of the pause. */
	on_time(now_us());
	for (int i = 0; i < count; i++) {
		uint64_t expired;
		struct signalfd_siginfo signal;
		if (event[i].data.fd == SOCKET_FD)
			on_socket();
		else if (event[i].data.fd == GOSSIP_CHANNEL_FD)
			on_channel();
		else if (event[i].data.fd == g.signal_fd)
			g.ending |= read(g.signal_fd, &signal, sizeof(signal)) > 0;
		else if (read(g.timer_fd, &expired, sizeof(expired)) > 0)
			g.timer_ms = 0; /* spent */
	}
	if (g.ending) /* a leave said before the signal may lie in the channel yet */
		on_channel();
	tell_all(now_us() / 1000);
	if (g.ending && !is_leaving())
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

int gossip_worker(int argc, char **argv)
{
	(void)argv;
	log_init("gossip");
	if (argc != 1 || !is_socket(SOCKET_FD, AF_INET, SOCK_DGRAM) ||
	    !is_socket(GOSSIP_CHANNEL_FD, AF_UNIX, SOCK_SEQPACKET)) {
		log_warnx("is started by the service `gossip`: no arguments, a bound UDP socket as "
			  "fd 0, "
			  "a channel as fd 3");
		return EXIT_USAGE;
	}
	if (!seal_start())
		fatalx("libsodium does not start");
	g.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	g.signal_fd = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK);
	if (g.timer_fd < 0 || g.signal_fd < 0 || epoll_fd < 0 ||
	    watch(g.signal_fd, epoll_fd) != 0 || watch(SOCKET_FD, epoll_fd) != 0 ||
	    watch(GOSSIP_CHANNEL_FD, epoll_fd) != 0 || watch(g.timer_fd, epoll_fd) != 0)
		fatal("cannot wait for events");
	g.progress_due_ms = now_us() / 1000 + GOSSIP_PROGRESS_MS;
	for (;;) {
		set_timer();
		turn(epoll_fd);
	}
}
