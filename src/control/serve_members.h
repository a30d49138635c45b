/* What the supervising process tells of the cluster's members: records filled from what the gossip
 * process said (src/supervise/gossip_link.h). Only src/control/server.c uses this. */
#ifndef SUPERVISOR_CONTROL_SERVE_MEMBERS_H
#define SUPERVISOR_CONTROL_SERVE_MEMBERS_H

#include "src/control/protocol.h"
#include "src/supervise/supervise.h"

/* How many records answer CONTROL_MEMBERS, and the number-th of them. */
size_t members_count(void);
void members_fill(struct control_record *record, size_t number);

/* Where one that follows stands. */
struct members_cursor {
	uint64_t next;	 /* number of the event that is next */
	size_t snapshot; /* the state of the members from here on comes first */
};

void members_begin(struct members_cursor *cursor);
/* The next record for it; false: all is told. The cursor moves by members_advance() only, when the
 * record is sent. */
bool members_next(const struct members_cursor *cursor, struct control_record *record);
void members_advance(struct members_cursor *cursor);

/* The first alarm about who speaks as whom, "" if there is none. */
void members_alarm(char *text, size_t bytes);

#endif
