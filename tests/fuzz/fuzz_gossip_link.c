/*
 * The supervising process's end of the channel: messages as a gossip process that was taken over
 * could send them. What passes must be told to those who follow whole and in order.
 */
#include <stdlib.h>
#include <string.h>

#include "src/control/serve_members.h"
#include "src/supervise/gossip_link.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Sparse input: what is not given of a message is 0. 1 byte how many follow, then pairs offset,
 * value. */
static size_t read_message(struct gossip_message *message, const uint8_t *data, size_t size)
{
	static const uint8_t types[] = {GOSSIP_MEMBER, GOSSIP_MEMBER,	GOSSIP_MEMBER,
					GOSSIP_PEER,   GOSSIP_PROGRESS, GOSSIP_LEFT};
	size_t pairs = data[0] % 16;
	gossip_message_init(message, types[data[0] / 16 % 6]);
	for (size_t i = 0; i < pairs && 2 + 2 * i < size; i++)
		((uint8_t *)message)[data[1 + 2 * i] % sizeof(*message)] = data[2 + 2 * i];
	return 1 + 2 * pairs;
}

static void follow(struct members_cursor *cursor)
{
	uint64_t last = 0;
	for (unsigned told = 0;; told++) {
		struct control_record record;
		memset(&record, 0, sizeof(record));
		if (!members_next(cursor, &record))
			return;
		must(told < 2 * GOSSIP_EVENTS + 64);
		must(memchr(record.event.member.name, 0, sizeof(record.event.member.name)));
		must(memchr(record.event.member.tags, 0, sizeof(record.event.member.tags)));
		must(memchr(record.event.what, 0,
			    sizeof(record.event.what))); /* "now" has the number of the first event
							    that it does not contain. */
		bool event = strcmp(record.event.what, "missed") != 0 &&
			     strcmp(record.event.what, "now") != 0;
		must(!event || record.event.number >= last);
		if (event)
			last = record.event.number + 1;
		members_advance(cursor);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cluster cluster = {.name = "demo",
					 .node_count = 3,
					 .node = {{.name = "a"}, {.name = "b"}, {.name = "c"}}};
	struct members_cursor cursor;
	memset(&view, 0, sizeof(view));
	memset(&own, 0, sizeof(own));
	view.cluster = &cluster;
	view.self = &cluster.node[0];
	view.running = true;
	members_begin(&cursor);
	while (size > 0) {
		struct gossip_message message;
		size_t used = read_message(&message, data, size);
		if (data[0] == 0xff)
			own.asked = view.answered + 1;
		if (gossip_message_valid(&message, sizeof(message), GOSSIP_FROM_PROCESS) &&
		    in_order(&message))
			received(&message);
		if (data[0] % 16 == 7)
			follow(&cursor);
		data += used > size ? size : used;
		size -= used > size ? size : used;
	}
	follow(&cursor);
	must(view.next_event - view.first_event <= GOSSIP_EVENTS);
	for (size_t i = 0; i < members_count(); i++) {
		struct control_record record;
		memset(&record, 0, sizeof(record));
		members_fill(&record, i);
	}
	return 0;
}
