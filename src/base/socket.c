#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

#include "src/base/socket.h"

bool socket_send_all(int fd, const void *data, size_t bytes)
{
	for (const uint8_t *at = data; bytes > 0;) {
		ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		at += n;
		bytes -= (size_t)n;
	}
	return true;
}

ssize_t socket_receive(int fd, void *data, size_t bytes)
{
	ssize_t n;

	do
		n = recv(fd, data, bytes, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

int socket_receive_all(int fd, void *data, size_t bytes)
{
	for (uint8_t *at = data; bytes > 0;) {
		ssize_t n = socket_receive(fd, at, bytes);
		if (n <= 0)
			return (int)n;
		at += n;
		bytes -= (size_t)n;
	}
	return 1;
}
