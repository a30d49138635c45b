#include "src/gossip/link.h"

#define YOUNG_US   1000000u /* a session that young needs no echo yet */
#define RTT_MAX_US 60000000u
#define HALF	   0x8000u /* numbers wrap: less than that ahead is newer */

void link_begin(struct link *link, uint64_t now_us)
{
	link->since_us = now_us;
	link->stamp_us = 0;
	link->counted = false;
	link->number_out = 0;
	link->recent = 0;
	link->window = 0;
}

void link_stamp(struct link *link, uint64_t now_us, struct wire_timing *timing)
{
	*timing = (struct wire_timing){
		.stamp = (uint32_t)now_us,
		.held_us = UINT32_MAX,
		.number = ++link->number_out,
		.numbered = true,
	};
	if (link->stamp_us != 0 && now_us - link->stamp_us < UINT32_MAX) {
		timing->echo = link->stamp;
		timing->held_us = (uint32_t)(now_us - link->stamp_us);
	}
	link->sent++;
}

static void count(struct link *link, uint16_t number)
{
	uint16_t ahead = (uint16_t)(number - link->number_in);
	link->received++;
	if (!link->counted) {
		link->counted = true;
		link->number_in = number;
		link->recent = 1;
		link->window = 1;
	} else if (ahead != 0 && ahead < HALF) {
		link->number_in = number;
		link->missed += ahead - 1u;
		link->recent = ahead < LINK_WINDOW ? link->recent << ahead | 1 : 1;
		unsigned window = link->window + (unsigned)ahead;
		link->window = (uint8_t)(window < LINK_WINDOW ? window : LINK_WINDOW);
	} else {
		/* Overtaken by others: it was counted as missed. */
		uint16_t behind = (uint16_t)(link->number_in - number);
		if (link->missed > 0)
			link->missed--;
		if (behind < LINK_WINDOW)
			link->recent |= (uint64_t)1 << behind;
	}
}

uint32_t link_take(struct link *link, const struct wire_timing *timing, bool newest,
		   uint64_t now_us)
{
	if (timing->numbered)
		count(link, timing->number);
	if (newest) {
		link->stamp = timing->stamp;
		link->stamp_us = now_us;
	}
	/* It has had nothing of ours yet; a handshake just now is as good. */
	if (timing->held_us == UINT32_MAX)
		return now_us - link->since_us < YOUNG_US ? 0 : LINK_AGE_UNKNOWN;
	uint32_t since = (uint32_t)now_us - timing->echo;
	if (timing->held_us <= since && since - timing->held_us < RTT_MAX_US) {
		uint32_t rtt = since - timing->held_us;
		rtt = rtt > 0 ? rtt : 1;
		link->rtt_last_us = rtt;
		if (link->rtt_min_us == 0 || rtt < link->rtt_min_us)
			link->rtt_min_us = rtt;
		link->rtt_us = link->rtt_us == 0 ? rtt : link->rtt_us - link->rtt_us / 8 + rtt / 8;
		if (link->rtt_us == 0)
			link->rtt_us = 1;
	}
	return since / 1000;
}

uint32_t link_loss_permille(const struct link *link)
{
	if (link->window == 0)
		return 0;
	uint64_t mask =
		link->window >= LINK_WINDOW ? UINT64_MAX : ((uint64_t)1 << link->window) - 1;
	unsigned came = (unsigned)__builtin_popcountll(link->recent & mask);
	return (link->window - came) * 1000u / link->window;
}
