/*
 * The one connection between the two DLM control processes. The node with the lower id listens, the
 * other connects, again and again. Messages and their authentication: wire.h. Nothing here blocks.
 */
#ifndef SERVICES_DLM_LINK_H
#define SERVICES_DLM_LINK_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/dlm/wire.h"
#include "src/config/cluster.h"

#define LINK_POLL_FDS	 2
#define LINK_RETRY_MS	 250  /* between tries to connect */
#define LINK_GREETING_MS 5000 /* for HELLO and CONFIRM */
#define LINK_LOST_MS                                                                         \
	5000 /* unacknowledged for that long: the connection is over (says nothing about the \
		peer's life) */

enum link_state { LINK_IDLE, LINK_CONNECTING, LINK_GREETING, LINK_UP };

enum link_event {
	LINK_NOTHING,	/* all done until the next poll */
	LINK_CONFIRMED, /* the peer is there; link->peer_boot says which life of it */
	LINK_LOST,	/* the connection is over; only after LINK_CONFIRMED */
	LINK_VIEW,	/* a message */
};

struct link {
	const struct cluster_node *self, *peer;
	bool listens;
	int listen_fd, fd;
	enum link_state state;
	bool lost; /* LINK_LOST is to be told */
	uint64_t deadline_ms;
	/* Of the pair: one for each key that cluster.conf gives the peer. */
	uint8_t key[KEYS_MAX][32];
	size_t key_count, key_at; /* the one in use */
	bool key_good;		  /* it opened a message */
	uint8_t boot[WIRE_BOOT_BYTES], nonce[WIRE_NONCE_BYTES];
	uint8_t peer_boot[WIRE_BOOT_BYTES], peer_nonce[WIRE_NONCE_BYTES];
	bool greeted; /* peer_boot and peer_nonce are set */
	uint64_t sent, received;
	uint8_t buffer[WIRE_BYTES];
	size_t used;
	char last_error[128]; /* an error is said once, not at each try */
};

/* Times are of one monotonic clock, in ms. -1 with a message. secret_key: of node.conf, only used
 * here. */
int link_open(struct link *link, const struct cluster_node *self, const struct cluster_node *peer,
	      const uint8_t secret_key[KEY_BYTES], const uint8_t boot[WIRE_BOOT_BYTES]);
/* Fills fds and returns how many; *timeout_ms: -1 if there is nothing to wait for but these. */
size_t link_poll(const struct link *link, struct pollfd fds[LINK_POLL_FDS], uint64_t now_ms,
		 int *timeout_ms);
/* Call after each poll until it returns LINK_NOTHING. *message is set with LINK_VIEW. */
enum link_event link_step(struct link *link, uint64_t now_ms, struct wire_message *message);
/* Shows a view to the peer, if there is a connection. A connection that cannot take it is ended. */
void link_show(struct link *link, const char *lockspace, const struct view_machine *machine);
/* Ends the connection for a reason that is said. */
void link_break(struct link *link, const char *why);
void link_close(struct link *link);

#endif
