/*
 * Whether a listening socket has clients: connections that were accepted from it, or wait to be,
 * and are not closed yet. Read from /proc/net/{tcp,tcp6,unix} (proc_pid_net(5)), which needs no
 * kernel module and never waits. Datagram sockets have none.
 */
#ifndef SUPERVISOR_PROCESS_CLIENTS_H
#define SUPERVISOR_PROCESS_CLIENTS_H

#include <stdbool.h>

#include "src/config/service.h"

/* 1: it has. 0: it has none. -1 with errno: it cannot be told. */
int clients_connected(const struct listen_def *listen);

/* One line of such a file is a client of this socket. Lines of other forms are not. */
bool clients_line_tcp(const struct listen_def *listen, const char *line);
bool clients_line_unix(const struct listen_def *listen, const char *line);

#endif
