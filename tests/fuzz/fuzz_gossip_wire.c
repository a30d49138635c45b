/*
 * The content of heartbeats, before they are sealed: whatever can be read is written again and read
 * again, and must be the same; by both ways of looking up ids. And heartbeats made of the input's
 * bytes, all within their limits: whatever can be written can be read, and is the same.
 */
#include <stdlib.h>
#include <string.h>

#include "src/gossip/wire.h"

#define NODES 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static uint64_t ids[NODES];
static uint16_t by_id[NODES];
static const struct wire_table plain = {.count = NODES, .id = ids};
static const struct wire_table sorted = {.count = NODES, .id = ids, .by_id = by_id};

/* Ids that a fuzzer guesses: small numbers, in falling order. */
static void make_tables(void)
{
	for (uint16_t i = 0; i < NODES; i++) {
		ids[i] = NODES - i;
		by_id[i] = (uint16_t)(NODES - 1 - i);
	}
}

static void same(const struct membership_heartbeat *a, const struct membership_heartbeat *b,
		 bool tagged)
{
	must(a->reply == b->reply && a->ask_count == b->ask_count &&
	     a->record_count == b->record_count);
	must(memcmp(a->ask, b->ask, a->ask_count * sizeof(a->ask[0])) == 0);
	for (size_t i = 0; i < a->record_count; i++) {
		const struct membership_record *x = &a->record[i], *y = &b->record[i];
		must(x->index == y->index && x->state == y->state && x->own == y->own &&
		     x->heard_age_ms == y->heard_age_ms && x->generation == y->generation &&
		     x->incarnation == y->incarnation && x->boot_id == y->boot_id &&
		     x->status.ready == y->status.ready &&
		     x->status.services == y->status.services &&
		     x->status.services_ready == y->status.services_ready &&
		     x->status.services_failed == y->status.services_failed);
		if (!tagged)
			continue;
		must(y->tagged && x->agreed == y->agreed && x->tags_hash == y->tags_hash &&
		     x->tags_bytes == y->tags_bytes);
		must(memcmp(a->text + x->tags_at, b->text + y->tags_at, x->tags_bytes) == 0);
	}
	if (!tagged)
		return;
	must(a->nack_count == b->nack_count && a->digest_count == b->digest_count);
	must(memcmp(a->nack, b->nack, a->nack_count * sizeof(a->nack[0])) == 0);
	for (size_t i = 0; i < a->digest_count; i++)
		must(a->digest[i].segment == b->digest[i].segment &&
		     a->digest[i].hash == b->digest[i].hash);
}

static void read_and_write(const uint8_t *data, size_t size)
{
	static struct membership_heartbeat first, second;
	struct wire_timing timing, again;
	uint8_t out[WIRE_CONTENT_MAX_BYTES];
	bool readable = wire_get_heartbeat(data, size, &plain, &timing, &first);
	must(wire_get_heartbeat(data, size, &sorted, &timing, &second) == readable);
	if (!readable)
		return;
	same(&first, &second, timing.numbered);
	uint8_t version = timing.numbered ? 2 : 1;
	size_t bytes = wire_put_heartbeat(out, &plain, version, &timing, &first);
	must(bytes <= size);
	/* Nothing was left out: byte for byte what came. */
	if (bytes == size)
		must(memcmp(out, data, size) == 0);
	must(wire_get_heartbeat(out, bytes, &sorted, &again, &second));
	same(&first, &second, timing.numbered);
	must(timing.stamp == again.stamp && timing.echo == again.echo &&
	     timing.held_us == again.held_us && timing.number == again.number);
}

struct source {
	const uint8_t *data;
	size_t left;
};

static uint64_t take(struct source *source, size_t bytes)
{
	uint64_t value = 0;
	for (; bytes > 0 && source->left > 0; bytes--, source->left--)
		value = value << 8 | *source->data++;
	return value;
}

static void make_record(struct source *source, struct membership_heartbeat *hb, size_t *room)
{
	struct membership_record *r = &hb->record[hb->record_count++];
	*room -= MEMBERSHIP_RECORD_BYTES;
	uint16_t services = (uint16_t)take(source, 2);
	*r = (struct membership_record){
		.index = (uint16_t)(take(source, 1) % NODES),
		.state = (uint8_t)(MEMBER_ALIVE + take(source, 1) % 4),
		.own = take(source, 1) & 1,
		.heard_age_ms = (uint16_t)take(source, 2),
		.generation = (uint32_t)take(source, 4) & MEMBERSHIP_LIVES_MAX,
		.incarnation = (uint32_t)take(source, 4) & MEMBERSHIP_LIVES_MAX,
		.boot_id = take(source, 8) | 1,
		.status = {.ready = services & 1, .services = services},
		.tagged = true,
		.tags_at = hb->text_bytes,
	};
	r->status.services_ready = (uint16_t)(take(source, 2) % (services + 1u));
	r->status.services_failed = (uint16_t)(take(source, 2) % (services + 1u));
	r->agreed = r->state == MEMBER_SUSPECT ? (uint16_t)take(source, 2) : 0;
	size_t tags = take(source, 1) % (MEMBERSHIP_TAGS_MAX + 1);
	if (tags == 0 || *room < tags + 1)
		return;
	*room -= tags + 1;
	for (size_t i = 0; i < tags; i++)
		hb->text[hb->text_bytes + i] = (char)(0x20 + take(source, 1) % 0x5f);
	r->tags_hash = membership_tags_hash(hb->text + hb->text_bytes, tags);
	r->tags_bytes = (uint8_t)tags;
	hb->text_bytes = (uint16_t)(hb->text_bytes + tags);
}

static void write_and_read(const uint8_t *data, size_t size)
{
	static struct membership_heartbeat made, got;
	struct source source = {.data = data, .left = size};
	uint8_t version = (uint8_t)(1 + take(&source, 1) % 2), out[WIRE_CONTENT_MAX_BYTES];
	struct wire_timing timing = {.stamp = (uint32_t)take(&source, 4), .number = 7}, again;
	size_t room = MEMBERSHIP_ROOM_BYTES, records = take(&source, 1);
	made.reply = take(&source, 1) & 1;
	made.ask_count = (uint8_t)(take(&source, 1) % (MEMBERSHIP_ASKS_MAX + 1));
	made.nack_count = (uint8_t)(take(&source, 1) % (MEMBERSHIP_ASKS_MAX + 1));
	made.digest_count = (uint8_t)(take(&source, 1) % (MEMBERSHIP_DIGESTS_MAX + 1));
	made.record_count = 0;
	made.text_bytes = 0;
	for (size_t i = 0; i < MEMBERSHIP_ASKS_MAX; i++) {
		made.ask[i] = (uint16_t)(take(&source, 1) % NODES);
		made.nack[i] = (uint16_t)(take(&source, 1) % NODES);
	}
	for (size_t i = 0; i < MEMBERSHIP_DIGESTS_MAX; i++) {
		made.digest[i].segment = (uint16_t)take(&source, 2);
		made.digest[i].hash = take(&source, 6);
	}
	while (records-- > 0 && room >= MEMBERSHIP_RECORD_BYTES &&
	       made.record_count < MEMBERSHIP_RECORDS_MAX)
		make_record(&source, &made, &room);
	size_t bytes = wire_put_heartbeat(out, &plain, version, &timing, &made);
	must(bytes <= WIRE_CONTENT_MAX_BYTES);
	must(wire_get_heartbeat(out, bytes, &sorted, &again, &got));
	same(&made, &got, version == 2);
	must(again.numbered == (version == 2) && again.stamp == timing.stamp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (ids[0] == 0)
		make_tables();
	read_and_write(data, size);
	write_and_read(data, size);
	return 0;
}
