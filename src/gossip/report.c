/* What the supervising process is told, in order, and never more than it takes. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "src/base/log.h"
#include "src/gossip/process.h"

#define ACCUSED_US   15000000u /* siblings say it every second while it is so */
#define ELSEWHERE_US 60000000u

_Static_assert((int)GOSSIP_CHANGE_NUMBERS == MEMBER_CHANGE_NUMBERS &&
		       (int)GOSSIP_CHANGE_JOINED == MEMBER_CHANGE_JOINED &&
		       (int)GOSSIP_CHANGE_UPDATED == MEMBER_CHANGE_UPDATED,
	       "one numbering");
_Static_assert(GOSSIP_TAGS_MAX == MEMBERSHIP_TAGS_MAX, "room for all tags");

/* False: it has no room now. What is not told stays marked, and is tried again each turn. */
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

static struct gossip_member describe(uint16_t index)
{
	const struct member *x = &process.now->member[index];
	const struct member_tags *tags = &process.now->tags[index];
	const struct peer *peer = &process.now->peer[index];
	bool here = x->state == MEMBER_ALIVE || x->state == MEMBER_SUSPECT;
	struct gossip_member member = {
		.index = index,
		.state = x->state,
		.ready = here && x->status.ready,
		.services = x->status.services,
		.services_ready = x->status.services_ready,
		.services_failed = x->status.services_failed,
		.conflict = peer->conflict,
		.generation = x->generation,
		.incarnation = x->incarnation,
		.elsewhere = peer->conflict == GOSSIP_CONFLICT_ELSEWHERE ? peer->elsewhere : 0,
		.boot_id = x->boot_id,
		.tags_hash = x->tags_hash,
		.tags_bytes = tags->bytes,
	};
	memcpy(member.tags, tags->text, tags->bytes);
	return member;
}

/* Should the supervising process take nothing for long, it is told the state of things then; the
 * gap in the numbers says that there was more. */
static void enqueue(const struct gossip_member *member)
{
	if (process.queue_count == PROCESS_QUEUE) {
		process.queue_count = 0;
		for (uint16_t i = 0; i < process.ids.count; i++)
			process.now->peer[i].dirty = true;
		return;
	}
	size_t at = (process.queue_first + process.queue_count++) % PROCESS_QUEUE;
	process.queue[at] = *member;
	process.now->peer[member->index].dirty = false;
}

static void say_state(uint16_t index)
{
	struct peer *peer = &process.now->peer[index];
	const struct member *x = &process.now->member[index];
	if (peer->reported == x->state || index == process.now->self.index)
		return;
	peer->reported = x->state;
	log_info("%s is %s (life %u, statement %u)", peer->node.name, gossip_state_name(x->state),
		 x->generation, x->incarnation);
}

void report_change(uint16_t index, const struct membership_change *change)
{
	if (change->what == MEMBER_CHANGE_NUMBERS) {
		process.now->peer[index].dirty = true;
		return;
	}
	struct gossip_member member = describe(index);
	member.change = change->what;
	member.sequence = change->sequence;
	member.state = change->state;
	member.generation = change->generation;
	member.incarnation = change->incarnation;
	member.boot_id = change->boot_id;
	member.ready =
		change->ready && (change->state == MEMBER_ALIVE || change->state == MEMBER_SUSPECT);
	enqueue(&member);
	say_state(index);
}

static uint8_t conflict_of(const struct peer *peer, bool self, uint64_t now)
{
	if (self && process.accused_us != 0 && now - process.accused_us < ACCUSED_US)
		return GOSSIP_CONFLICT_TWINS;
	if (peer->seal.conflict == SEAL_TWINS)
		return GOSSIP_CONFLICT_TWINS;
	if (peer->seal.conflict == SEAL_CLONES)
		return GOSSIP_CONFLICT_CLONES;
	if (peer->elsewhere_us != 0 && now - peer->elsewhere_us < ELSEWHERE_US)
		return GOSSIP_CONFLICT_ELSEWHERE;
	return GOSSIP_CONFLICT_NONE;
}

static void say_conflict(const struct peer *peer, bool self)
{
	char address[INET_ADDRSTRLEN] = "";
	struct in_addr elsewhere = {.s_addr = peer->elsewhere};
	const char *name = peer->node.name;

	inet_ntop(AF_INET, &elsewhere, address, sizeof(address));
	switch (peer->conflict) {
	case GOSSIP_CONFLICT_NONE:
		log_info("%s: the conflict is over", name);
		break;
	case GOSSIP_CONFLICT_ELSEWHERE:
		log_warnx("ALARM: somebody at %s has the key of %s, and is not believed", address,
			  name);
		break;
	case GOSSIP_CONFLICT_CLONES:
		log_warnx("ALARM: %s runs twice from one copy, or was set back to an earlier "
			  "state: not believed for now",
			  name);
		break;
	default:
		if (self)
			log_warnx("ALARM: another machine has this node's name and key: siblings "
				  "believe neither until one is gone");
		else
			log_warnx("ALARM: two machines speak as %s: neither is believed until one "
				  "is gone",
				  name);
		break;
	}
}

void report_conflicts(uint64_t now)
{
	for (uint16_t i = 0; process.now && i < process.ids.count; i++) {
		struct peer *peer = &process.now->peer[i];
		bool self = i == process.now->self.index;
		seal_settle(&peer->seal, now);
		uint8_t conflict = conflict_of(peer, self, now);
		if (conflict == peer->conflict)
			continue;
		peer->conflict = conflict;
		struct gossip_member member = describe(i);
		member.change = GOSSIP_CHANGE_CONFLICT;
		enqueue(&member);
		say_conflict(peer, self);
	}
}

static bool tell_peer(uint16_t index)
{
	const struct peer *peer = &process.now->peer[index];
	const struct member *x = &process.now->member[index];
	struct gossip_message message;

	gossip_message_init(&message, GOSSIP_PEER);
	message.peer = (struct gossip_peer){
		.index = index,
		.version = x->version,
		.session = peer->seal.boot_id != 0,
		.rtt_us = peer->link.rtt_us,
		.rtt_min_us = peer->link.rtt_min_us,
		.rtt_last_us = peer->link.rtt_last_us,
		.loss_permille = link_loss_permille(&peer->link),
		.sent = peer->link.sent,
		.received = peer->link.received,
		.missed = peer->link.missed,
		.heard_ms = x->heard_ms,
	};
	return tell(&message);
}

static bool tell_progress(uint64_t serial)
{
	struct gossip_message message;
	uint32_t memory[SK_MEMINFO_VARS];
	socklen_t bytes = sizeof(memory);

	gossip_message_init(&message, GOSSIP_PROGRESS);
	message.progress = process.progress;
	message.progress.serial = serial;
	if (process.now) {
		message.progress.ticks = process.membership.tick;
		message.progress.late_ticks = process.membership.late_ticks;
		message.progress.changes = process.membership.changes;
		message.progress.suspicions = process.membership.suspicions;
		message.progress.objections = process.membership.objections;
		message.progress.health = process.membership.health;
	}
	if (getsockopt(PROCESS_SOCKET_FD, SOL_SOCKET, SO_MEMINFO, memory, &bytes) == 0 &&
	    bytes == sizeof(memory))
		message.progress.dropped[GOSSIP_DROP_KERNEL] = memory[SK_MEMINFO_DROPS];
	return tell(&message);
}

static bool flush_changes(void)
{
	struct gossip_message message;

	for (; process.queue_count > 0; process.queue_count--) {
		gossip_message_init(&message, GOSSIP_MEMBER);
		message.member = process.queue[process.queue_first];
		if (!tell(&message))
			return false;
		process.queue_first = (process.queue_first + 1) % PROCESS_QUEUE;
	}
	for (uint16_t i = 0; process.now && i < process.ids.count; i++) {
		if (!process.now->peer[i].dirty)
			continue;
		gossip_message_init(&message, GOSSIP_MEMBER);
		message.member = describe(i);
		if (!tell(&message))
			return false;
		process.now->peer[i].dirty = false;
	}
	return true;
}

void report_flush(void)
{
	struct gossip_message message;

	if (!flush_changes())
		return;
	if (process.left_due) {
		gossip_message_init(&message, GOSSIP_LEFT);
		process.left_due = !tell(&message);
	}
	if (process.pinged)
		process.pinged = !tell_progress(0);
	while (process.query != 0) {
		bool done = !process.now || process.query_next >= process.ids.count;
		if (done ? !tell_progress(process.query) : !tell_peer(process.query_next))
			return;
		if (done)
			process.query = 0;
		else
			process.query_next++;
	}
}
