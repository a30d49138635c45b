/*
 * Listening sockets, opened by the supervising process and kept across restarts and reloads, so
 * that a restarting service refuses nobody. Sockets are blocking, close-on-exec, and bound even to
 * addresses that are not here yet (IP_FREEBIND: a service address comes later). The first service
 * that asks decides who may reach it (`listen-from`).
 */
#ifndef SUPERVISOR_PROCESS_LISTEN_H
#define SUPERVISOR_PROCESS_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "src/config/service.h"

#define LISTEN_SOCKETS_MAX 64
#define LISTEN_TEXT_BYTES  160 /* "unix " + the longest socket path + NUL, rounded up */

/* Keyed by the text of `listen =`. A zeroed table is an empty one. */
struct listen_table {
	size_t count;
	struct {
		char text[LISTEN_TEXT_BYTES];
		int fd;
		bool used; /* asked for since listen_begin */
	} socket[LISTEN_SOCKETS_MAX];
};

/*
 * The socket of `def`, opened if it is not open yet; it belongs to the table. -1 with errno
 * (EADDRINUSE, ENFILE when the table is full, …). A socket of a path replaces a stale one there,
 * belongs to `owner`'s user and group, mode 0660; a path that is no socket is EEXIST.
 */
int listen_get(struct listen_table *table, const struct listen_def *def,
	       const struct service_def *owner);

/*
 * Closes the socket of a service that was stopped on purpose, so that clients are refused at once
 * and go elsewhere instead of waiting in a queue that nobody serves. -1 with errno ENOENT if it is
 * not open.
 */
int listen_close(struct listen_table *table, const struct listen_def *def);

/* After a reload: begin, listen_keep for every service's, end: sockets that nobody asked for any
 * more are closed. Those that are new are opened when their service starts. */
void listen_begin(struct listen_table *table);
void listen_keep(struct listen_table *table, const struct listen_def *def);
void listen_end(struct listen_table *table);

#endif
