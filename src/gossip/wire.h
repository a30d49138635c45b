/*
 * The layout of gossip packets (docs/GOSSIP.md, "Packets"): bytes to structures and back, nothing
 * else. Numbers are big endian. Names travel as 64-bit ids; this module turns ids into indices by
 * the table that it is given.
 */
#ifndef SUPERVISOR_GOSSIP_WIRE_H
#define SUPERVISOR_GOSSIP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/cluster/membership.h"

#define WIRE_MAGIC	 0x5347u		/* "SG" */
#define WIRE_VERSION	 MEMBERSHIP_VERSION	/* spoken */
#define WIRE_VERSION_MIN MEMBERSHIP_VERSION_MIN /* oldest understood */

#define WIRE_HEADER_BYTES    48
#define WIRE_SEAL_BYTES	     16 /* Poly1305 tag */
#define WIRE_HANDSHAKE_BYTES 32 /* content of HELLO, CHALLENGE and ANSWER */
#define WIRE_TOKEN_BYTES     16
#define WIRE_ID_BYTES	     8
#define WIRE_DIGEST_BYTES    8
/* A heartbeat before its questions and records; one record without tags. */
#define WIRE_HEARTBEAT_BYTES   20
#define WIRE_RECORD_BYTES      40
#define WIRE_1_HEARTBEAT_BYTES 16 /* the same in version 1 */
#define WIRE_1_RECORD_BYTES    36
/* Safely below any MTU in use, also in a tunnel; nothing is ever fragmented. */
#define WIRE_PACKET_MAX_BYTES  1400
#define WIRE_CONTENT_MAX_BYTES (WIRE_PACKET_MAX_BYTES - WIRE_HEADER_BYTES - WIRE_SEAL_BYTES)
_Static_assert(WIRE_RECORD_BYTES == MEMBERSHIP_RECORD_BYTES, "the membership counts on it");
_Static_assert(WIRE_HEARTBEAT_BYTES + 2 * MEMBERSHIP_ASKS_MAX * WIRE_ID_BYTES +
			       MEMBERSHIP_DIGESTS_MAX * WIRE_DIGEST_BYTES + MEMBERSHIP_ROOM_BYTES ==
		       WIRE_CONTENT_MAX_BYTES,
	       "the largest heartbeat fills a packet");
_Static_assert(WIRE_1_HEARTBEAT_BYTES + MEMBERSHIP_ASKS_MAX * WIRE_ID_BYTES +
			       MEMBERSHIP_RECORDS_MAX * WIRE_1_RECORD_BYTES <=
		       WIRE_CONTENT_MAX_BYTES,
	       "the largest heartbeat of version 1 fits in a packet");

enum wire_type {
	WIRE_HELLO = 1,	    /* who are you? challenge, zeros */
	WIRE_CHALLENGE = 2, /* it is me: your challenge; and you? cookie */
	WIRE_ANSWER = 3,    /* it is me: your cookie, zeros */
	WIRE_HEARTBEAT = 4,
};

struct wire_header {
	uint8_t version_min; /* the sender understands this … */
	uint8_t version;     /* … to this, and speaks this */
	uint8_t type;	     /* enum wire_type */
	uint16_t length;     /* of the whole packet */
	uint64_t sender;     /* id */
	uint64_t sender_boot;
	uint64_t receiver_boot; /* 0: unknown (HELLO only) */
	uint64_t sequence; /* grows with each packet of a boot: its microseconds, or the last one
			      plus 1 */
	uint64_t salt;	   /* random */
};

/* What a heartbeat says besides the membership's content; times are microseconds of each one's own
 * clock. */
struct wire_timing {
	uint32_t stamp;	  /* when it was sent */
	uint32_t echo;	  /* stamp of the last packet that came from the receiver … */
	uint32_t held_us; /* … that long before; UINT32_MAX: none came yet */
	uint16_t number; /* counts the sender's heartbeats to the receiver in this session, wraps */
	bool numbered;	 /* version 2 */
};

struct wire_table {
	uint16_t count;
	const uint64_t *id;    /* count of them, none equal */
	const uint16_t *by_id; /* the indices in rising order of their ids; NULL: looked for one by
				  one */
};

/* The id of a node: no two of a cluster may be equal (2^-53 for 64 nodes; checked when the table is
 * made). */
uint64_t wire_id(const char *cluster, const char *node);

void wire_put_header(uint8_t out[WIRE_HEADER_BYTES], const struct wire_header *header);
/* False: too short, another magic, no common version, unknown type, length not `bytes`, reserved
 * bits set, a zero boot. */
bool wire_get_header(const uint8_t *packet, size_t bytes, struct wire_header *header);

/*
 * Bytes written to out. version: the one to be used, at least WIRE_VERSION_MIN and at most
 * WIRE_VERSION: the newest that both sides speak (the receiver's is in the header of its packets).
 * What it has no place for is left out.
 */
size_t wire_put_heartbeat(uint8_t out[WIRE_CONTENT_MAX_BYTES], const struct wire_table *table,
			  uint8_t version, const struct wire_timing *timing,
			  const struct membership_heartbeat *heartbeat);
/*
 * False: not well formed. The content says itself which version it is in. Questions and records
 * about ids that are not in the table are left out.
 */
bool wire_get_heartbeat(const uint8_t *content, size_t bytes, const struct wire_table *table,
			struct wire_timing *timing, struct membership_heartbeat *heartbeat);

/* The version to be used with a sibling that speaks `version` (0: not known yet). */
uint8_t wire_common_version(uint8_t own, uint8_t version);

#endif
