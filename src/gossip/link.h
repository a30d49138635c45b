/*
 * What one learns from a sibling's packets about the way between: round trip, loss, and how old a
 * packet can be at most. No socket and no clock in here: microseconds of one monotonic clock are
 * passed in. One struct link for each sibling, the caller's memory, zeroed at first.
 */
#ifndef SUPERVISOR_GOSSIP_LINK_H
#define SUPERVISOR_GOSSIP_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "src/gossip/wire.h"

#define LINK_AGE_UNKNOWN UINT32_MAX
#define LINK_WINDOW	 64 /* packets that loss is told of */

struct link {
	uint64_t since_us; /* of the session */
	uint64_t stamp_us; /* when its newest heartbeat came; 0: none in this session */
	uint32_t stamp;	   /* and what it said */
	uint32_t rtt_us, rtt_min_us, rtt_last_us; /* smoothed (1/8), least, last; 0: none yet */
	uint64_t recent;			  /* bit N: its Nth last packet arrived */
	uint16_t number_in, number_out;
	uint8_t window; /* bits of `recent` that count */
	bool counted;	/* number_in is of this session */
	/* Over all sessions; missed and received: of siblings that number their packets. */
	uint64_t sent, received, missed;
};

/* A session began: its numbers and stamps are others than before. */
void link_begin(struct link *link, uint64_t now_us);

/* For a heartbeat that goes out now. */
void link_stamp(struct link *link, uint64_t now_us, struct wire_timing *timing);

/* A heartbeat came. How long ago it can have been sent at most, milliseconds, or LINK_AGE_UNKNOWN:
 * for struct membership_event. */
uint32_t link_take(struct link *link, const struct wire_timing *timing, bool newest,
		   uint64_t now_us);

/* Of the last LINK_WINDOW packets from it, in permille; 0 when there were none. */
uint32_t link_loss_permille(const struct link *link);

#endif
