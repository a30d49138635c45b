/* A connected, blocking stream socket: as many bytes as it takes, whatever signals come. */
#ifndef SUPERVISOR_BASE_SOCKET_H
#define SUPERVISOR_BASE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* False with errno; EPIPE comes without a signal. */
bool socket_send_all(int fd, const void *data, size_t bytes);
/* recv(2): what is there, at least one byte; 0 at the end of the connection, -1 with errno. */
ssize_t socket_receive(int fd, void *data, size_t bytes);
/* 1: all there, 0: the connection ended first, -1 with errno. */
int socket_receive_all(int fd, void *data, size_t bytes);

#endif
