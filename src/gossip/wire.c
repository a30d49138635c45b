#include "src/gossip/wire.h"

#include <sodium.h>
#include <string.h>

#define FLAG_REPLY 0x01u /* of a heartbeat */

#define FLAG_READY 0x01u /* of a record */
#define FLAG_OWN   0x02u
#define FLAG_TAGS  0x04u /* version 2: they follow */

#define HASH_MASK 0xffffffffffffull /* of a digest, 48 bits */

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)(v >> 32));
	put32(p + 4, (uint32_t)v);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint64_t get64(const uint8_t *p)
{
	return (uint64_t)get32(p) << 32 | get32(p + 4);
}

uint64_t wire_id(const char *cluster, const char *node)
{
	uint8_t hash[crypto_generichash_BYTES_MIN];
	crypto_generichash_state state;
	crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	crypto_generichash_update(&state, (const uint8_t *)cluster, strlen(cluster) + 1);
	crypto_generichash_update(&state, (const uint8_t *)node, strlen(node) + 1);
	crypto_generichash_final(&state, hash, sizeof(hash));
	return get64(hash);
}

void wire_put_header(uint8_t out[WIRE_HEADER_BYTES], const struct wire_header *header)
{
	put16(out, WIRE_MAGIC);
	out[2] = header->version;
	out[3] = header->version_min;
	out[4] = header->type;
	out[5] = 0;
	put16(out + 6, header->length);
	put64(out + 8, header->sender);
	put64(out + 16, header->sender_boot);
	put64(out + 24, header->receiver_boot);
	put64(out + 32, header->sequence);
	put64(out + 40, header->salt);
}

bool wire_get_header(const uint8_t *packet, size_t bytes, struct wire_header *header)
{
	if (bytes < WIRE_HEADER_BYTES + WIRE_SEAL_BYTES || bytes > WIRE_PACKET_MAX_BYTES)
		return false;
	if (get16(packet) != WIRE_MAGIC || packet[5] != 0)
		return false;
	*header = (struct wire_header){
		.version = packet[2],
		.version_min = packet[3],
		.type = packet[4],
		.length = get16(packet + 6),
		.sender = get64(packet + 8),
		.sender_boot = get64(packet + 16),
		.receiver_boot = get64(packet + 24),
		.sequence = get64(packet + 32),
		.salt = get64(packet + 40),
	};
	return header->version >= WIRE_VERSION_MIN && header->version_min <= WIRE_VERSION &&
	       header->version_min <= header->version && header->type >= WIRE_HELLO &&
	       header->type <= WIRE_HEARTBEAT && header->length == bytes &&
	       header->sender_boot != 0 &&
	       (header->type == WIRE_HELLO) == (header->receiver_boot == 0);
}

/* --- out */

static void put_record_1(uint8_t *out, const struct wire_table *table,
			 const struct membership_record *r)
{
	put64(out, table->id[r->index]);
	put64(out + 8, r->boot_id);
	put32(out + 16, r->generation);
	put32(out + 20, r->incarnation);
	out[24] = r->state;
	out[25] = (uint8_t)((r->status.ready ? FLAG_READY : 0) | (r->own ? FLAG_OWN : 0));
	put16(out + 26, r->heard_age_ms);
	put16(out + 28, r->status.services);
	put16(out + 30, r->status.services_ready);
	put16(out + 32, r->status.services_failed);
	put16(out + 34, 0);
}

static size_t put_record(uint8_t *out, const struct wire_table *table,
			 const struct membership_record *r, const char *text)
{
	put_record_1(out, table, r);
	put16(out + 34, r->agreed);
	put32(out + 36, r->tags_hash);
	if (r->tags_bytes == 0)
		return WIRE_RECORD_BYTES;
	out[25] |= FLAG_TAGS;
	out[40] = r->tags_bytes;
	memcpy(out + 41, text + r->tags_at, r->tags_bytes);
	return WIRE_RECORD_BYTES + 1u + r->tags_bytes;
}

static uint8_t *put_ids(uint8_t *out, const struct wire_table *table, const uint16_t *index,
			size_t count)
{
	for (size_t i = 0; i < count; i++, out += WIRE_ID_BYTES)
		put64(out, table->id[index[i]]);
	return out;
}

static size_t put_heartbeat_1(uint8_t *out, const struct wire_table *table,
			      const struct membership_heartbeat *hb)
{
	out[15] = 0;
	uint8_t *at = put_ids(out + WIRE_1_HEARTBEAT_BYTES, table, hb->ask, hb->ask_count);
	for (size_t i = 0; i < hb->record_count; i++, at += WIRE_1_RECORD_BYTES)
		put_record_1(at, table, &hb->record[i]);
	return (size_t)(at - out);
}

size_t wire_put_heartbeat(uint8_t out[WIRE_CONTENT_MAX_BYTES], const struct wire_table *table,
			  uint8_t version, const struct wire_timing *timing,
			  const struct membership_heartbeat *hb)
{
	put32(out, timing->stamp);
	put32(out + 4, timing->echo);
	put32(out + 8, timing->held_us);
	out[12] = hb->reply ? FLAG_REPLY : 0;
	out[13] = hb->ask_count;
	out[14] = hb->record_count;
	if (version < 2)
		return put_heartbeat_1(out, table, hb);
	out[15] = 2;
	put16(out + 16, timing->number);
	out[18] = hb->nack_count;
	out[19] = hb->digest_count;
	uint8_t *at = put_ids(out + WIRE_HEARTBEAT_BYTES, table, hb->ask, hb->ask_count);
	at = put_ids(at, table, hb->nack, hb->nack_count);
	for (size_t i = 0; i < hb->digest_count; i++, at += WIRE_DIGEST_BYTES)
		put64(at, (uint64_t)hb->digest[i].segment << 48 | (hb->digest[i].hash & HASH_MASK));
	for (size_t i = 0; i < hb->record_count; i++)
		at += put_record(at, table, &hb->record[i], hb->text);
	return (size_t)(at - out);
}

uint8_t wire_common_version(uint8_t own, uint8_t version)
{
	uint8_t common = version < own ? version : own;
	return common < WIRE_VERSION_MIN ? WIRE_VERSION_MIN : common;
}

/* --- in */

static uint16_t find(const struct wire_table *table, uint64_t id)
{
	if (!table->by_id) {
		for (uint16_t i = 0; i < table->count; i++) {
			if (table->id[i] == id)
				return i;
		}
		return MEMBERSHIP_NONE;
	}
	size_t low = 0, high = table->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		uint16_t index = table->by_id[middle];
		if (table->id[index] == id)
			return index;
		if (table->id[index] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return MEMBERSHIP_NONE;
}

/* What both versions have in common; at least 36 bytes. */
static bool get_record_1(const uint8_t *in, const struct wire_table *table, uint8_t flags_known,
			 struct membership_record *r)
{
	uint8_t flags = in[25];
	*r = (struct membership_record){
		.index = find(table, get64(in)),
		.boot_id = get64(in + 8),
		.generation = get32(in + 16),
		.incarnation = get32(in + 20),
		.state = in[24],
		.own = (flags & FLAG_OWN) != 0,
		.heard_age_ms = get16(in + 26),
		.status = {.ready = (flags & FLAG_READY) != 0,
			   .services = get16(in + 28),
			   .services_ready = get16(in + 30),
			   .services_failed = get16(in + 32)},
	};
	return r->boot_id != 0 && r->state >= MEMBER_ALIVE && r->state <= MEMBER_LEFT &&
	       (flags & ~flags_known) == 0 && r->generation <= MEMBERSHIP_LIVES_MAX &&
	       r->incarnation <= MEMBERSHIP_LIVES_MAX &&
	       r->status.services_ready <= r->status.services &&
	       r->status.services_failed <= r->status.services;
}

static bool printable(const uint8_t *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	}
	return true;
}

/* Bytes taken; 0: not well formed. */
static size_t get_record(const uint8_t *in, size_t left, const struct wire_table *table,
			 struct membership_record *r, struct membership_heartbeat *hb)
{
	if (left < WIRE_RECORD_BYTES ||
	    !get_record_1(in, table, FLAG_READY | FLAG_OWN | FLAG_TAGS, r))
		return 0;
	r->agreed = get16(in + 34);
	r->tagged = true;
	r->tags_hash = get32(in + 36);
	if (r->agreed != 0 && r->state != MEMBER_SUSPECT)
		return 0;
	if ((in[25] & FLAG_TAGS) == 0)
		return WIRE_RECORD_BYTES;
	const uint8_t *text = in + WIRE_RECORD_BYTES + 1;
	size_t bytes = left > WIRE_RECORD_BYTES ? in[WIRE_RECORD_BYTES] : 0;
	if (bytes == 0 || bytes > MEMBERSHIP_TAGS_MAX || left < WIRE_RECORD_BYTES + 1 + bytes ||
	    bytes > sizeof(hb->text) - hb->text_bytes || !printable(text, bytes) ||
	    membership_tags_hash((const char *)text, bytes) != r->tags_hash)
		return 0;
	r->tags_at = hb->text_bytes;
	r->tags_bytes = (uint8_t)bytes;
	memcpy(hb->text + hb->text_bytes, text, bytes);
	hb->text_bytes = (uint16_t)(hb->text_bytes + bytes);
	return WIRE_RECORD_BYTES + 1 + bytes;
}

static const uint8_t *get_ids(const uint8_t *in, size_t count, const struct wire_table *table,
			      uint16_t *index, uint8_t *known)
{
	for (size_t i = 0; i < count; i++, in += WIRE_ID_BYTES) {
		uint16_t found = find(table, get64(in));
		if (found != MEMBERSHIP_NONE)
			index[(*known)++] = found;
	}
	return in;
}

static bool get_heartbeat_1(const uint8_t *content, size_t bytes, const struct wire_table *table,
			    struct membership_heartbeat *hb)
{
	size_t asks = content[13], records = content[14];
	if (bytes != WIRE_1_HEARTBEAT_BYTES + asks * WIRE_ID_BYTES + records * WIRE_1_RECORD_BYTES)
		return false;
	const uint8_t *in =
		get_ids(content + WIRE_1_HEARTBEAT_BYTES, asks, table, hb->ask, &hb->ask_count);
	for (size_t i = 0; i < records; i++, in += WIRE_1_RECORD_BYTES) {
		struct membership_record r;
		if (!get_record_1(in, table, FLAG_READY | FLAG_OWN, &r) || get16(in + 34) != 0)
			return false;
		if (r.index != MEMBERSHIP_NONE)
			hb->record[hb->record_count++] = r;
	}
	return true;
}

static bool get_heartbeat_2(const uint8_t *content, size_t bytes, const struct wire_table *table,
			    struct membership_heartbeat *hb)
{
	if (bytes < WIRE_HEARTBEAT_BYTES)
		return false;
	const uint8_t *in = content + WIRE_HEARTBEAT_BYTES, *end = content + bytes;
	size_t asks = content[13], records = content[14], nacks = content[18],
	       digests = content[19];
	if (nacks > MEMBERSHIP_ASKS_MAX || digests > MEMBERSHIP_DIGESTS_MAX ||
	    (size_t)(end - in) < (asks + nacks) * WIRE_ID_BYTES + digests * WIRE_DIGEST_BYTES)
		return false;
	in = get_ids(in, asks, table, hb->ask, &hb->ask_count);
	in = get_ids(in, nacks, table, hb->nack, &hb->nack_count);
	for (size_t i = 0; i < digests; i++, in += WIRE_DIGEST_BYTES) {
		hb->digest[hb->digest_count++] = (struct membership_digest){
			.segment = get16(in), .hash = get64(in) & HASH_MASK};
	}
	for (size_t i = 0; i < records; i++) {
		struct membership_record r;
		size_t taken = get_record(in, (size_t)(end - in), table, &r, hb);
		if (taken == 0)
			return false;
		in += taken;
		if (r.index != MEMBERSHIP_NONE)
			hb->record[hb->record_count++] = r;
	}
	return in == end;
}

bool wire_get_heartbeat(const uint8_t *content, size_t bytes, const struct wire_table *table,
			struct wire_timing *timing, struct membership_heartbeat *hb)
{
	hb->reply = false;
	hb->ask_count = hb->nack_count = hb->digest_count = hb->record_count = 0;
	hb->text_bytes = 0;
	if (bytes < WIRE_1_HEARTBEAT_BYTES || bytes > WIRE_CONTENT_MAX_BYTES)
		return false;
	if (content[13] > MEMBERSHIP_ASKS_MAX || content[14] > MEMBERSHIP_RECORDS_MAX ||
	    (content[12] & ~FLAG_REPLY) != 0)
		return false;
	*timing = (struct wire_timing){
		.stamp = get32(content),
		.echo = get32(content + 4),
		.held_us = get32(content + 8),
	};
	hb->reply = (content[12] & FLAG_REPLY) != 0;
	if (content[15] == 0)
		return get_heartbeat_1(content, bytes, table, hb);
	if (content[15] != 2 || !get_heartbeat_2(content, bytes, table, hb))
		return false;
	timing->number = get16(content + 16);
	timing->numbered = true;
	return true;
}
