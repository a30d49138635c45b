/*
 * What the two data nodes' DLM control processes say to each other over TCP, on the replication
 * addresses.
 *
 * One message size, big-endian. Each side opens with HELLO (its boot id, a fresh nonce), answers
 * the other's HELLO with CONFIRM (which echoes that nonce) and then shows a VIEW for each
 * lockspace, again after every change. Every message carries a keyed BLAKE2b over all before it;
 * the key comes from the two nodes' key pairs (X25519), so nobody else can write one, and echo and
 * sequence let nobody repeat one.
 */
#ifndef SERVICES_DLM_WIRE_H
#define SERVICES_DLM_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "services/dlm/view.h"

#define WIRE_PORT	     7789
#define WIRE_BYTES	     192u
#define WIRE_MAC_BYTES	     32u /* the last ones of a message */
#define WIRE_BOOT_BYTES	     16u
#define WIRE_NONCE_BYTES     16u
#define WIRE_LOCKSPACE_BYTES 64u /* DLM_LOCKSPACE_LEN; with its NUL here */

enum wire_kind { WIRE_HELLO = 1, WIRE_CONFIRM = 2, WIRE_VIEW = 3 };

struct wire_message {
	uint8_t kind;
	uint16_t from; /* node id */
	uint8_t boot[WIRE_BOOT_BYTES];
	uint8_t nonce[WIRE_NONCE_BYTES]; /* the sender's, of this connection */
	uint8_t echo[WIRE_NONCE_BYTES];	 /* the receiver's; zero in HELLO */
	uint64_t sequence;		 /* 0, 1, … on this connection */
	struct view view;		 /* WIRE_VIEW only, as what follows */
	bool want, halted;
	char lockspace[WIRE_LOCKSPACE_BYTES];
};

/* Leaves the last WIRE_MAC_BYTES zero. */
void wire_encode(uint8_t bytes[WIRE_BYTES], const struct wire_message *message);
/* False: not a message of this version. Does not look at the last WIRE_MAC_BYTES. */
bool wire_decode(struct wire_message *message, const uint8_t bytes[WIRE_BYTES]);
/* A lockspace name that may become a file name. */
bool wire_lockspace_is_valid(const char *name);

#endif
