/*
 * The quality of every link between two ports, one way each: whole, cut, slow or lossy.
 *
 * Pure: no clock, no socket. Ports are small numbers that the fabric gives out.
 */
#ifndef DEMO_SWITCH_LINK_H
#define DEMO_SWITCH_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PORTS_MAX = 32,
	DELAY_MAX_MS = 60000,
};

/* Loss is counted in frames per million. */
#define LOSS_ALL 1000000u

struct link {
	bool cut;
	uint32_t delay_ms;
	uint32_t loss;
};

struct links {
	struct link from_to[PORTS_MAX][PORTS_MAX];
	size_t ports;
};

/* What a command speaks of: "A B" (both ways), "A>B" (one way), "A" (all links of A, both ways), ""
 * (all). */
struct link_choice {
	int from; /* -1: every port */
	int to;	  /* -1: every port */
	bool one_way;
};

enum link_change_kind { LINK_CUT, LINK_HEAL, LINK_DELAY, LINK_LOSS };

struct link_change {
	enum link_change_kind kind;
	uint32_t value; /* LINK_DELAY: ms; LINK_LOSS: frames per million */
};

/* Applies the change to every link that the choice names. Healing undoes cut, delay and loss alike.
 */
void links_change(struct links *links, struct link_choice choice, struct link_change change);

bool link_is_whole(const struct link *link);

/* "50ms", "2s": at most DELAY_MAX_MS. False if it is not such a text. */
bool link_parse_delay(const char *text, uint32_t *delay_ms);
/* "10%", "0.5%": 0 to 100. False if it is not such a text. */
bool link_parse_loss(const char *text, uint32_t *loss);

#endif
