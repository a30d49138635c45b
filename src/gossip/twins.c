#include "src/gossip/twins.h"

#include <string.h>

#define US_PER_MS 1000u
/* Two machines' clocks may run apart by one part in so many. */
#define DRIFT 16

static struct seal_life *find(struct seal_life *life, size_t count, uint64_t boot_id)
{
	for (size_t i = 0; i < count; i++)
		if (life[i].boot_id == boot_id)
			return &life[i];
	return NULL;
}

static struct seal_life present(const struct seal_peer *peer, uint64_t now_us)
{
	uint64_t sequence = peer->window[0] > peer->floor ? peer->window[0] : peer->floor;

	return (struct seal_life){
		.boot_id = peer->boot_id,
		.sequence = sequence,
		.seen_us = peer->newest_us,
		.until_us = now_us,
	};
}

void twins_supersede(struct seal_peer *peer, uint64_t now_us)
{
	struct seal_life *slot = find(peer->former, SEAL_FORMER, peer->boot_id);

	if (peer->boot_id == 0)
		return;
	if (!slot) /* the one that went first makes room */
		slot = &peer->former[0];
	for (size_t i = 0; slot->boot_id != peer->boot_id && i < SEAL_FORMER; i++)
		if (peer->former[i].until_us < slot->until_us)
			slot = &peer->former[i];
	*slot = present(peer, now_us);
}

static void begin(struct seal_peer *peer, enum seal_conflict conflict, struct seal_life other,
		  uint64_t now_us)
{
	peer->conflict = conflict;
	peer->twin[0] = present(peer, now_us);
	peer->twin[0].seen_us = now_us;
	peer->twin[1] = other;
	peer->twin[1].seen_us = now_us;
	peer->boot_id = 0;
	peer->stranger = false;
	memset(peer->former, 0, sizeof(peer->former));
}

bool twins_returned(struct seal_peer *peer, uint64_t boot_id, uint64_t sequence, uint64_t now_us)
{
	struct seal_life *life = find(peer->former, SEAL_FORMER, boot_id);

	if (!life || peer->boot_id == 0)
		return false;
	life->sequence = sequence;
	begin(peer, SEAL_TWINS, *life, now_us);
	return true;
}

bool twins_stray(struct seal_peer *peer, uint64_t boot_id, uint64_t sequence, uint64_t now_us)
{
	struct seal_life *life = find(peer->former, SEAL_FORMER, boot_id);

	if (!life || peer->boot_id == 0)
		return false;
	/* Where its clock stood, at most, when the present boot was believed. */
	uint64_t passed = life->until_us - life->seen_us;
	if (sequence <= life->sequence + passed + passed / DRIFT + SEAL_LATE_MS * US_PER_MS)
		return false;
	life->sequence = sequence;
	begin(peer, SEAL_TWINS, *life, now_us);
	return true;
}

void twins_seen(struct seal_peer *peer, uint64_t boot_id, uint64_t sequence, uint64_t now_us)
{
	struct seal_life *life = find(peer->twin, 2, boot_id);

	/* What was on its way, or is sent again by others, does not count. */
	if (!life || sequence <= life->sequence)
		return;
	life->sequence = sequence;
	life->seen_us = now_us;
}

void seal_old_but_fresh(struct seal_peer *peer, uint64_t now_us)
{
	if (peer->boot_id != 0)
		begin(peer, SEAL_CLONES, present(peer, now_us), now_us);
}

bool seal_settle(struct seal_peer *peer, uint64_t now_us)
{
	size_t silent = 0;

	if (peer->conflict == SEAL_FINE)
		return false;
	for (size_t i = 0; i < 2; i++)
		if (now_us - peer->twin[i].seen_us >= SEAL_TWIN_MS * US_PER_MS) {
			peer->former[i] = peer->twin[i];
			peer->former[i].until_us = now_us;
			silent++;
		}
	if (silent == 0)
		return false;
	if (peer->conflict == SEAL_CLONES) /* the one that is left has the same boot */
		memset(peer->former, 0, sizeof(peer->former));
	peer->conflict = SEAL_FINE;
	memset(peer->twin, 0, sizeof(peer->twin));
	return true;
}
