/*
 * Packets, twice: the bytes as they come, through the seal (which must let none pass and answer
 * none); and the same bytes as the content of well sealed ones, as a sibling whose key was stolen
 * could send them, through the wire's reader into the membership, whose invariants must hold
 * whatever was said.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "src/cluster/membership.h"
#include "src/gossip/seal.h"
#include "src/gossip/wire.h"

#define NODES 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void through_the_seal(const uint8_t *data, size_t size)
{
	static struct seal_self self;
	static struct seal_peer peer;
	static struct seal_opened opened;
	uint8_t secret[GOSSIP_KEY_BYTES] = {1}, public[1][GOSSIP_KEY_BYTES];
	if (self.id == 0) {
		must(seal_start());
		crypto_scalarmult_base(public[0], secret);
		must(seal_self_init(&self, 1, 1, secret, public, 1));
		secret[0] = 2;
		crypto_scalarmult_base(public[0], secret);
		must(seal_peer_init(&peer, &self, 2, public, 1));
		/* A header's worth of luck is free here. */
		peer.boot_id = 2;
	}
	static uint64_t now;
	now += 100000;
	must(seal_open(&self, &peer, data, size, now, &opened) != 0);
	must(opened.reply_bytes == 0 && !opened.contact && peer.boot_id == 2);
}

static void check(struct membership *m, const struct membership_actions *actions, uint64_t now)
{
	must(actions->count <= MEMBERSHIP_ACTIONS_MAX);
	must(m->member[m->self].state == MEMBER_ALIVE && m->member[m->self].boot_id == 100);
	for (size_t i = 0; i < actions->count; i++) {
		static struct membership_heartbeat out;
		const struct membership_action *action = &actions->action[i];
		must(action->index < NODES);
		if (action->type != MEMBERSHIP_SEND)
			continue;
		must(action->index != m->self);
		membership_fill(m, action, now, &out);
		must(out.record_count <= MEMBERSHIP_RECORDS_MAX &&
		     out.ask_count <= MEMBERSHIP_ASKS_MAX);
	}
	for (size_t i = 0; i < NODES; i++) {
		const struct member *x = &m->member[i];
		must(x->state <= MEMBER_LEFT && x->since_ms <= now && x->evidence_ms <= now);
		must(x->generation <= MEMBERSHIP_LIVES_MAX &&
		     x->incarnation <= MEMBERSHIP_LIVES_MAX);
	}
}

/* Steps: 1 byte sender, 1 byte milliseconds * 8, 2 bytes length, content. */
static void into_the_membership(const uint8_t *data, size_t size)
{
	static const uint64_t ids[NODES] = {0, 1, 2, 3, 4, 5};
	static const struct wire_table table = {.count = NODES, .id = ids};
	static struct membership_actions actions;
	static struct membership_heartbeat heartbeat;
	struct membership m;
	struct member member[NODES];
	uint16_t order[NODES];
	uint64_t now = 1;
	struct member_tags tags[NODES];
	struct membership_case cases[NODES];
	const struct membership_config config = {
		.timers = &membership_timers_default,
		.count = NODES,
		.boot_id = 100,
		.version = MEMBERSHIP_VERSION,
		.member = member,
		.order = order,
		.tags = tags,
		.cases = cases,
		.case_count = NODES,
	};
	membership_init(&m, &config, now);

	while (size >= 4) {
		size_t bytes = (size_t)(data[2] << 8 | data[3]);
		struct wire_timing timing;
		struct membership_event event = {.type = MEMBERSHIP_TIME, .random = data[0]};
		now += data[1] * 8u;
		if (now >= membership_next_ms(&m)) {
			membership_step(&m, &event, now, &actions);
			check(&m, &actions, now);
		}
		uint8_t sender = data[0];
		data += 4;
		size -= 4;
		bytes = bytes > size ? size : bytes;
		if (wire_get_heartbeat(data, bytes, &table, &timing, &heartbeat)) {
			event.type =
				(sender & 0x80) != 0 ? MEMBERSHIP_CONTACT : MEMBERSHIP_HEARTBEAT;
			event.from = sender & 7;
			event.version = sender >> 4 & 3;
			event.boot_id = 1 + (sender >> 3 & 1);
			event.newest = (sender & 0x40) == 0;
			event.age_ms = timing.echo;
			event.heartbeat = &heartbeat;
			membership_step(&m, &event, now, &actions);
			check(&m, &actions, now);
		}
		data += bytes;
		size -= bytes;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	through_the_seal(data, size);
	into_the_membership(data, size);
	return 0;
}
