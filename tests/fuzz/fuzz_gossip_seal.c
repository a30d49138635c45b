/*
 * The seal as a conversation: two siblings, a second machine with the key of one of them, and
 * somebody on the way who keeps, damages, repeats and reorders packets, all by the input's word.
 * Whatever he does: content is what was sent, once; a session's boot is one that holds the key; no
 * answer is longer than its question.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "src/gossip/seal.h"

#define KEPT 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct side {
	struct seal_self self;
	struct seal_peer peer;
};

struct kept {
	size_t bytes;
	uint8_t packet[WIRE_PACKET_MAX_BYTES], sent[WIRE_PACKET_MAX_BYTES];
	uint64_t sender_boot, number; /* of the content; 0: no heartbeat */
};

/* side 0 speaks with 1; 2 is a second machine with the name and key of 1. */
static struct side side[3], fresh[3];
static struct kept kept[KEPT];
static uint64_t sent, now, taken[3][4096];

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void prepare(void)
{
	uint8_t secret[2][GOSSIP_KEY_BYTES] = {{1}, {2}}, key[2][1][GOSSIP_KEY_BYTES];
	must(seal_start());
	for (size_t i = 0; i < 2; i++)
		crypto_scalarmult_base(key[i][0], secret[i]);
	for (size_t i = 0; i < 3; i++) {
		size_t name = i == 0 ? 0 : 1;
		must(seal_self_init(&fresh[i].self, 1 + name, 100 + i, secret[name], key[name], 1));
		must(seal_peer_init(&fresh[i].peer, &fresh[i].self, 2 - name, key[!name], 1));
	}
}

static void keep(size_t slot, const uint8_t *packet, size_t bytes, uint64_t boot, uint64_t number)
{
	struct kept *k = &kept[slot % KEPT];
	if (bytes == 0)
		return;
	memcpy(k->packet, packet, bytes);
	memcpy(k->sent, packet, bytes);
	k->bytes = bytes;
	k->sender_boot = boot;
	k->number = number;
}

static void deliver(size_t to, const struct kept *k, size_t slot, bool elsewhere)
{
	static struct seal_opened opened;
	struct side *s = &side[to];
	int dropped = elsewhere ? seal_open_elsewhere(&s->self, &s->peer, k->packet, k->bytes, 7,
						      now, &opened)
				: seal_open(&s->self, &s->peer, k->packet, k->bytes, now, &opened);
	must(dropped >= 0 && dropped <= GOSSIP_DROP_REASONS);
	uint64_t boot = s->peer.boot_id;
	must(boot == 0 || (to == 0 ? boot == 101 || boot == 102 : boot == 100));
	must(s->peer.conflict == SEAL_FINE || boot == 0);
	if (dropped != 0) {
		must(dropped == GOSSIP_DROP_REPLAY + 1 || !opened.old || opened.content_bytes == 0);
		return;
	}
	must(opened.reply_bytes <= k->bytes);
	keep(slot, opened.reply, opened.reply_bytes, 0, 0);
	if (opened.header.type != WIRE_HEARTBEAT || opened.conflict)
		return;
	uint64_t number;
	must(opened.content_bytes == sizeof(number) && memcmp(k->packet, k->sent, k->bytes) == 0);
	memcpy(&number, opened.content, sizeof(number));
	must(number == k->number && opened.header.sender_boot == k->sender_boot);
	must(!elsewhere);
	/* A second time only in another session: the window is the session's. */
	uint64_t *seen = &taken[to][number % 4096];
	must(*seen != (uint64_t)s->peer.sessions + 1);
	*seen = (uint64_t)s->peer.sessions + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t packet[WIRE_PACKET_MAX_BYTES];
	if (fresh[0].self.id == 0)
		prepare();
	memcpy(side, fresh, sizeof(side));
	memset(kept, 0, sizeof(kept));
	memset(taken, 0, sizeof(taken));
	sent = 0;
	now = 1000000;
	for (size_t at = 0; at + 2 < size && sent < 4000; at += 3) {
		size_t who = data[at + 1] % 3, slot = data[at + 2];
		struct side *s = &side[who];
		struct kept *k = &kept[slot % KEPT];
		switch (data[at] % 8) {
		case 0:
			keep(slot, packet, seal_hello(&s->self, &s->peer, now, packet), 0, 0);
			break;
		case 1:
			sent++;
			keep(slot, packet,
			     seal_heartbeat(&s->self, &s->peer, (const uint8_t *)&sent,
					    sizeof(sent), now, packet),
			     s->self.boot_id, sent);
			break;
		case 2:
		case 3:
			deliver(who, k, slot + 1, data[at] % 8 == 3 && (data[at] & 0x80) != 0);
			break;
		case 4:
			if (k->bytes > 0)
				k->packet[(data[at] * 8u + slot / KEPT) % k->bytes] ^= 1;
			break;
		case 5:
			now += (uint64_t)data[at + 1] * slot * 1000;
			break;
		case 6:
			seal_settle(&s->peer, now);
			break;
		default:
			now += slot * 100u;
		}
	}
	return 0;
}
