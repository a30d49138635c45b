#include "src/process/clients.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_BYTES 512

/* include/net/tcp_states.h: not over before our side has closed as well. */
#define STATE_ESTABLISHED 0x01
#define STATE_CLOSE_WAIT  0x08
/* include/uapi/linux/net.h: SS_CONNECTING: waits to be accepted. */
#define UNIX_CONNECTING 2
#define UNIX_CONNECTED	3

/* The file shows an address as the words of its memory, eight hexadecimal digits each. */
static bool same_address(const uint8_t *address, size_t bytes, const char *digits)
{
	for (size_t i = 0; i < bytes; i += 4) {
		char word[9] = {0};
		uint32_t value;
		memcpy(word, digits + 2 * i, 8);
		value = (uint32_t)strtoul(word, NULL, 16);
		if (memcmp(address + i, &value, 4) != 0)
			return false;
	}
	return true;
}

/* "  0: 0100007F:1F90 0200007F:C350 01 …": local address and port, remote ones, state. */
bool clients_line_tcp(const struct listen_def *listen, const char *line)
{
	static const struct in6_addr any6 = IN6ADDR_ANY_INIT;
	char local[33];
	unsigned port, state;

	if (sscanf(line, " %*u: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x", local, &port, &state) != 3 ||
	    (state != STATE_ESTABLISHED && state != STATE_CLOSE_WAIT))
		return false;
	if (listen->address.ss_family == AF_INET) {
		const struct sockaddr_in *own = (const struct sockaddr_in *)&listen->address;
		return strlen(local) == 8 && ntohs(own->sin_port) == port &&
		       (own->sin_addr.s_addr == htonl(INADDR_ANY) ||
			same_address((const uint8_t *)&own->sin_addr, 4, local));
	}
	const struct sockaddr_in6 *own = (const struct sockaddr_in6 *)&listen->address;
	return strlen(local) == 32 && ntohs(own->sin6_port) == port &&
	       (memcmp(&own->sin6_addr, &any6, sizeof(any6)) == 0 ||
		same_address(own->sin6_addr.s6_addr, 16, local));
}

/* "ADDRESS: 00000003 00000000 00000000 0001 03 12345 /path": the state, and the listener's path. */
bool clients_line_unix(const struct listen_def *listen, const char *line)
{
	const struct sockaddr_un *own = (const struct sockaddr_un *)&listen->address;
	unsigned state;
	int path = 0;

	return sscanf(line, "%*x: %*x %*x %*x %*x %x %*u %n", &state, &path) == 1 && path > 0 &&
	       (state == UNIX_CONNECTING || state == UNIX_CONNECTED) &&
	       strcmp(line + path, own->sun_path) == 0;
}

/* A longer line than any of ours is cut: it is none of ours. */
static int search(const char *path, const struct listen_def *listen,
		  bool (*matches)(const struct listen_def *listen, const char *line))
{
	char block[4096], line[LINE_BYTES];
	size_t used = 0;
	ssize_t n;
	bool found = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	while (!found && (n = read(fd, block, sizeof(block))) > 0) {
		for (ssize_t i = 0; !found && i < n; i++) {
			if (block[i] != '\n') {
				if (used < sizeof(line) - 1)
					line[used++] = block[i];
				continue;
			}
			line[used] = '\0';
			used = 0;
			found = matches(listen, line);
		}
	}
	close(fd);
	return found;
}

int clients_connected(const struct listen_def *listen)
{
	if (listen->socket_type != SOCK_STREAM)
		return 0;
	switch (listen->address.ss_family) {
	case AF_INET:
		return search("/proc/net/tcp", listen, clients_line_tcp);
	case AF_INET6:
		return search("/proc/net/tcp6", listen, clients_line_tcp);
	case AF_UNIX:
		return search("/proc/net/unix", listen, clients_line_unix);
	default:
		errno = EAFNOSUPPORT;
		return -1;
	}
}
