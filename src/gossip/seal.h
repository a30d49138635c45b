/*
 * Who sent a packet, and is it new? Keys, sealing, the handshake that proves a boot id to be the
 * present one, the replay window, the flood guard, and what tells two holders of one name apart
 * (docs/GOSSIP.md, "Sealing"). No socket and no clock in here: microseconds are passed in.
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

#define SEAL_KEY_BYTES	  32	/* XChaCha20-Poly1305 */
#define SEAL_WINDOW	  32	/* packets that may overtake each other */
#define SEAL_COOKIE_MS	  4000	/* a cookie is good for that long, at most for twice that */
#define SEAL_CHALLENGE_MS 2000	/* an answer to a HELLO is waited for that long */
#define SEAL_HELLO_MS	  200	/* at most one HELLO a sibling that often */
#define SEAL_TWIN_MS	  10000 /* silent that long, one of two holders of a name is gone */
#define SEAL_LATE_MS	  2000	/* a packet may be under way that long, and prove nothing */
#define SEAL_FORMER	  4	/* boots of a sibling that are remembered */

/* A token bucket: `most` packets at once, `fill` a second. */
struct seal_bucket {
	uint64_t milli, filled_us;
};

/*
 * What a packet has to know to be looked at, and how many of its kind are. Who sends without seeing
 * our packets knows nothing, so he can use up only the smallest one.
 */
enum seal_class {
	SEAL_SESSION, /* both boot ids, and a sequence that was not there yet: heartbeats of the
	 present session; 5 are needed, some 20 in turmoil */
	SEAL_KNOWING, /* our boot id: the rest of a handshake, or a session long ago */
	SEAL_BLIND,   /* none: HELLO */
	SEAL_CLASSES,
};
#define SEAL_SESSION_RATE   1024
#define SEAL_KNOWING_RATE   32
#define SEAL_BLIND_RATE	    16
#define SEAL_TOTAL_RATE	    128 /* BLIND, of all siblings together */
#define SEAL_ELSEWHERE_RATE 16	/* from addresses that are no sibling's */

#define SEAL_HANDSHAKE_BYTES (WIRE_HEADER_BYTES + WIRE_HANDSHAKE_BYTES + WIRE_SEAL_BYTES)

struct seal_self {
	uint64_t id, boot_id;
	uint8_t secret_key[GOSSIP_KEY_BYTES], public_key[GOSSIP_KEY_BYTES];
	uint8_t cookie_key[SEAL_KEY_BYTES]; /* random, of this process */
	uint64_t sequence;		    /* of the last packet sent */
	struct seal_bucket total, elsewhere;
};

/* A boot that spoke for the name. */
struct seal_life {
	uint64_t boot_id;  /* 0: no entry */
	uint64_t sequence; /* the largest seen … */
	uint64_t seen_us;  /* … and when */
	uint64_t until_us; /* another one was believed from then on */
};

enum seal_conflict {
	SEAL_FINE,
	SEAL_TWINS,  /* two boots alive at once under one name */
	SEAL_CLONES, /* one boot twice: a machine copied, or set back, while it ran */
};

struct seal_pair {
	uint8_t public_key[GOSSIP_KEY_BYTES];
	uint8_t shared[SEAL_KEY_BYTES]; /* of our key and that one, for all boots */
};

struct seal_peer {
	uint64_t id;
	struct seal_pair pair[GOSSIP_KEYS_MAX];
	uint8_t pair_count; /* 0: it has no key, and nobody is believed to be it */
	uint8_t hello_pair; /* for the next HELLO while it is not known which one it uses */

	/* The present session; boot_id 0: none. */
	uint64_t boot_id;
	uint8_t pair_at;
	uint32_t sessions; /* begun ever */
	uint8_t send_key[SEAL_KEY_BYTES], receive_key[SEAL_KEY_BYTES];
	uint64_t since_us;
	uint64_t floor;		      /* sequences up to this one are old */
	uint64_t window[SEAL_WINDOW]; /* the largest sequences accepted, in falling order, 0 = free
				       */
	uint64_t newest_us;	      /* when the largest came */

	struct seal_life former[SEAL_FORMER];
	/* Quarantine: nobody speaks for the name while both of these do. */
	enum seal_conflict conflict;
	struct seal_life twin[2];

	uint8_t challenge[WIRE_TOKEN_BYTES]; /* of our last HELLO */
	uint64_t hello_us;		     /* when; 0: none open */
	uint64_t hello_sent_us;		     /* the last one, answered or not */
	bool stranger; /* it speaks from a boot that we do not know: say HELLO */

	struct seal_bucket bucket[SEAL_CLASSES];
};

/* What an accepted packet brought. */
struct seal_opened {
	struct wire_header header;
	bool newest;	    /* HEARTBEAT: its sequence is the largest so far */
	bool contact;	    /* a session began: the peer's boot id is proven */
	bool old;	    /* HEARTBEAT of the present boot, dropped as replay, but content is
			       set: far behind the newest; see seal_old_but_fresh() */
	bool conflict;	    /* the peer's conflict began with this packet */
	bool accused;	    /* the peer says that our own name is held twice */
	bool proven;	    /* seal_open_elsewhere(): it lives there */
	size_t reply_bytes; /* 0, or a packet to be sent back to the sibling's configured address */
	uint8_t reply[SEAL_HANDSHAKE_BYTES];
	size_t content_bytes; /* HEARTBEAT */
	uint8_t content[WIRE_PACKET_MAX_BYTES];
};

/* Once, before all else; false when the library refuses or the machine has no randomness. */
bool seal_start(void);

/* False: the secret key is none, or its public key is none of the `count` expected ones. */
bool seal_self_init(struct seal_self *self, uint64_t id, uint64_t boot_id,
		    const uint8_t secret_key[GOSSIP_KEY_BYTES],
		    const uint8_t expected[][GOSSIP_KEY_BYTES], size_t count);
/* False: a public key is a weak one that no key pair has. */
bool seal_peer_init(struct seal_peer *peer, const struct seal_self *self, uint64_t id,
		    const uint8_t public_key[][GOSSIP_KEY_BYTES], size_t count);
/* After init, with our own keys unchanged: goes on with the session of `before`, if its key is
 * still one of the peer's, and with what is remembered of its boots. */
void seal_peer_keep(struct seal_peer *peer, const struct seal_peer *before);

/* A packet of at most WIRE_PACKET_MAX_BYTES; its size. heartbeat: 0 without a session. hello: 0
 * when one went out just now. */
size_t seal_heartbeat(struct seal_self *self, struct seal_peer *peer, const uint8_t *content,
		      size_t content_bytes, uint64_t now_us, uint8_t out[WIRE_PACKET_MAX_BYTES]);
size_t seal_hello(struct seal_self *self, struct seal_peer *peer, uint64_t now_us,
		  uint8_t out[SEAL_HANDSHAKE_BYTES]);

/*
 * A packet that came from the peer's address. 0, or why it is dropped (enum gossip_drop, which has
 * values from 0, plus 1). Nothing but the flood guard changes unless the packet is sealed by the
 * peer.
 */
int seal_open(struct seal_self *self, struct seal_peer *peer, const uint8_t *packet, size_t bytes,
	      uint64_t now_us, struct seal_opened *opened);

/*
 * A packet that says to be of the peer, but came from another address (`elsewhere`, any number that
 * stands for it, not 0). It is never believed; but whoever answers a challenge there holds the
 * peer's key: opened->proven. A reply goes to where the packet came from, and is as long as that.
 */
int seal_open_elsewhere(struct seal_self *self, struct seal_peer *peer, const uint8_t *packet,
			size_t bytes, uint64_t elsewhere, uint64_t now_us,
			struct seal_opened *opened);

/* An `old` heartbeat turned out to answer something that we said just now: two clocks speak under
 * one boot id. The conflict begins. */
void seal_old_but_fresh(struct seal_peer *peer, uint64_t now_us);
/* True: the peer's conflict is over, only one is left of two. Call now and then. */
bool seal_settle(struct seal_peer *peer, uint64_t now_us);

#endif
