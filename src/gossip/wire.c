#include "src/gossip/wire.h"

#include <sodium.h>
#include <string.h>

#define FLAG_REPLY 0x01u /* of a heartbeat */

#define FLAG_READY 0x01u /* of a record */
#define FLAG_OWN   0x02u

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

static void put_record(uint8_t *out, const struct wire_table *table,
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

size_t wire_put_heartbeat(uint8_t out[WIRE_CONTENT_MAX_BYTES], const struct wire_table *table,
			  const struct wire_timing *timing,
			  const struct membership_heartbeat *heartbeat)
{
	put32(out, timing->stamp);
	put32(out + 4, timing->echo);
	put32(out + 8, timing->held_us);
	out[12] = heartbeat->reply ? FLAG_REPLY : 0;
	out[13] = (uint8_t)heartbeat->ask_count;
	out[14] = (uint8_t)heartbeat->record_count;
	out[15] = 0;
	size_t used = WIRE_HEARTBEAT_BYTES;
	for (size_t i = 0; i < heartbeat->ask_count; i++, used += WIRE_ID_BYTES)
		put64(out + used, table->id[heartbeat->ask[i]]);
	for (size_t i = 0; i < heartbeat->record_count; i++, used += WIRE_RECORD_BYTES)
		put_record(out + used, table, &heartbeat->record[i]);
	return used;
}

static uint16_t find(const struct wire_table *table, uint64_t id)
{
	for (uint16_t i = 0; i < table->count; i++) {
		if (table->id[i] == id)
			return i;
	}
	return MEMBERSHIP_NONE;
}

static bool get_record(const uint8_t *in, const struct wire_table *table,
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
	       (flags & ~(FLAG_READY | FLAG_OWN)) == 0 && get16(in + 34) == 0 &&
	       r->generation <= MEMBERSHIP_LIVES_MAX && r->incarnation <= MEMBERSHIP_LIVES_MAX &&
	       r->status.services_ready <= r->status.services &&
	       r->status.services_failed <= r->status.services;
}

bool wire_get_heartbeat(const uint8_t *content, size_t bytes, const struct wire_table *table,
			struct wire_timing *timing, struct membership_heartbeat *heartbeat)
{
	memset(heartbeat, 0, sizeof(*heartbeat));
	if (bytes < WIRE_HEARTBEAT_BYTES)
		return false;
	size_t asks = content[13], records = content[14];
	if (asks > MEMBERSHIP_ASKS_MAX || records > MEMBERSHIP_RECORDS_MAX ||
	    (content[12] & ~FLAG_REPLY) != 0 || content[15] != 0 ||
	    bytes != WIRE_HEARTBEAT_BYTES + asks * WIRE_ID_BYTES + records * WIRE_RECORD_BYTES)
		return false;

	timing->stamp = get32(content);
	timing->echo = get32(content + 4);
	timing->held_us = get32(content + 8);
	heartbeat->reply = (content[12] & FLAG_REPLY) != 0;
	const uint8_t *in = content + WIRE_HEARTBEAT_BYTES;
	for (size_t i = 0; i < asks; i++, in += WIRE_ID_BYTES) {
		uint16_t index = find(table, get64(in));
		if (index != MEMBERSHIP_NONE)
			heartbeat->ask[heartbeat->ask_count++] = index;
	}
	for (size_t i = 0; i < records; i++, in += WIRE_RECORD_BYTES) {
		struct membership_record r;
		if (!get_record(in, table, &r))
			return false;
		if (r.index != MEMBERSHIP_NONE)
			heartbeat->record[heartbeat->record_count++] = r;
	}
	return true;
}
