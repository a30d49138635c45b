/*
 * Who sent a packet, and is it new? Keys, sealing, the handshake that proves a boot id to be the
 * present one, the replay window and the flood guard (docs/GOSSIP.md, "Sealing"). No socket and no
 * clock in here: microseconds are passed in.
 *
 * For each sibling one struct seal_peer, the caller's memory. Nothing here allocates.
 */
#ifndef SUPERVISOR_GOSSIP_SEAL_H
#define SUPERVISOR_GOSSIP_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/gossip/message.h"
#include "src/gossip/wire.h"

#define SEAL_KEY_BYTES	  32   /* XChaCha20-Poly1305 */
#define SEAL_WINDOW	  32   /* packets that may overtake each other */
#define SEAL_COOKIE_MS	  4000 /* a cookie is good for that long, at most for twice that */
#define SEAL_CHALLENGE_MS 2000 /* an answer to a HELLO is waited for that long */
#define SEAL_HELLO_MS	  200  /* at most one HELLO a sibling that often */
#define SEAL_BUCKET	  64   /* packets of one sibling at once … */
#define SEAL_BUCKET_FILL  64   /* … and a second; needed: 5, some 20 in turmoil */

struct seal_self {
	uint64_t id, boot_id;
	uint8_t secret_key[GOSSIP_KEY_BYTES], public_key[GOSSIP_KEY_BYTES];
	uint8_t cookie_key[SEAL_KEY_BYTES]; /* random, of this process */
	uint64_t sequence;		    /* of the last packet sent */
};

struct seal_peer {
	uint64_t id;
	uint8_t shared[SEAL_KEY_BYTES]; /* of the pair, for all boots */

	/* The present session; boot_id 0: none. */
	uint64_t boot_id;
	uint8_t send_key[SEAL_KEY_BYTES], receive_key[SEAL_KEY_BYTES];
	uint64_t since_us;
	uint64_t floor;		      /* sequences up to this one are old */
	uint64_t window[SEAL_WINDOW]; /* the largest sequences accepted, in falling order, 0 = free
				       */

	uint8_t challenge[WIRE_TOKEN_BYTES]; /* of our last HELLO */
	uint64_t hello_us;		     /* when; 0: none open */
	uint64_t hello_sent_us;		     /* the last one, answered or not */
	bool stranger; /* it speaks from a boot that we do not know: say HELLO */

	uint32_t tokens_milli; /* of the bucket */
	uint64_t filled_us;
};

/* What an accepted packet brought. */
struct seal_opened {
	struct wire_header header;
	bool newest;	    /* HEARTBEAT: its sequence is the largest so far */
	bool contact;	    /* a session began: the peer's boot id is proven */
	size_t reply_bytes; /* 0, or a packet to be sent back to the sibling's configured address */
	uint8_t reply[WIRE_HEADER_BYTES + WIRE_HANDSHAKE_BYTES + WIRE_SEAL_BYTES];
	size_t content_bytes; /* HEARTBEAT */
	uint8_t content[WIRE_PACKET_MAX_BYTES];
};

/* Once, before all else; false when the library refuses or the machine has no randomness. */
bool seal_start(void);

/* False: the secret key is none, or its public key is not `expected`. */
bool seal_self_init(struct seal_self *self, uint64_t id, uint64_t boot_id,
		    const uint8_t secret_key[GOSSIP_KEY_BYTES],
		    const uint8_t expected[GOSSIP_KEY_BYTES]);
/* False: the public key is a weak one that no key pair has. */
bool seal_peer_init(struct seal_peer *peer, const struct seal_self *self, uint64_t id,
		    const uint8_t public_key[GOSSIP_KEY_BYTES]);

/* A packet of at most WIRE_PACKET_MAX_BYTES; its size. heartbeat: 0 without a session. hello: 0
 * when one went out just now. */
size_t seal_heartbeat(struct seal_self *self, struct seal_peer *peer, const uint8_t *content,
		      size_t content_bytes, uint64_t now_us, uint8_t out[WIRE_PACKET_MAX_BYTES]);
size_t seal_hello(struct seal_self *self, struct seal_peer *peer, uint64_t now_us,
		  uint8_t out[WIRE_PACKET_MAX_BYTES]);

/*
 * A packet that came from the peer's address. 0, or why it is dropped (enum gossip_drop, which has
 * values from 0, plus 1). Nothing but the flood guard changes unless the packet is sealed by the
 * peer.
 */
int seal_open(struct seal_self *self, struct seal_peer *peer, const uint8_t *packet, size_t bytes,
	      uint64_t now_us, struct seal_opened *opened);

#endif
