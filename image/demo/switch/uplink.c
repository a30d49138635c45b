#include <arpa/inet.h>
#include <errno.h>
#include <libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "uplink.h"

struct uplink {
	Slirp *slirp;
	struct fabric *fabric;
	size_t port;
	struct pollfd *polls; /* of the round in progress */
	size_t poll_count;
};

static int64_t clock_ns(void *opaque)
{
	(void)opaque;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static ssize_t from_slirp(const void *bytes, size_t length, void *opaque)
{
	struct uplink *uplink = opaque;
	fabric_input(uplink->fabric, uplink->port, bytes, length, (uint64_t)clock_ns(NULL));
	return (ssize_t)length;
}

static void to_slirp(void *opaque, const uint8_t *bytes, size_t length)
{
	struct uplink *uplink = opaque;
	slirp_input(uplink->slirp, bytes, (int)length);
}

static void guest_error(const char *message, void *opaque)
{
	(void)opaque;
	fprintf(stderr, "switch: port host: %s\n", message);
}

/* slirp's timers serve IPv6 router advertisements alone, and IPv6 is off. */
static void *timer_new(SlirpTimerCb callback, void *callback_opaque, void *opaque)
{
	(void)callback;
	(void)callback_opaque;
	return opaque;
}

static void timer_free(void *timer, void *opaque)
{
	(void)timer;
	(void)opaque;
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	(void)timer;
	(void)expire_ms;
	(void)opaque;
}

/* Descriptors are asked for before every poll(2): nothing to remember. */
static void ignore_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void notify(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = from_slirp,
	.guest_error = guest_error,
	.clock_get_ns = clock_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = ignore_fd,
	.unregister_poll_fd = ignore_fd,
	.notify = notify,
};

/* "10.77.0.254/24" */
static bool parse_network(const char *text, struct in_addr *address, struct in_addr *mask)
{
	char copy[64];
	char *end;
	const char *slash = strchr(text, '/');
	if (!slash || (size_t)(slash - text) >= sizeof copy)
		return false;
	memcpy(copy, text, (size_t)(slash - text));
	copy[slash - text] = '\0';
	unsigned long bits = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || *end || bits < 8 || bits > 30 ||
	    inet_pton(AF_INET, copy, address) != 1)
		return false;
	mask->s_addr = htonl(~((UINT32_C(1) << (32 - bits)) - 1));
	return true;
}

struct uplink *uplink_new(struct fabric *fabric, const char *address)
{
	struct in_addr host, mask;
	if (!parse_network(address, &host, &mask)) {
		fprintf(stderr, "switch: --host=%s: expected ADDRESS/BITS such as 10.77.0.254/24\n",
			address);
		return NULL;
	}
	struct uplink *uplink = calloc(1, sizeof *uplink);
	int port = uplink ? fabric_add_port(fabric, "host", NULL, to_slirp, uplink) : -1;
	if (port < 0) {
		fprintf(stderr, "switch: port host: %s\n", strerror(errno));
		free(uplink);
		return NULL;
	}
	uplink->fabric = fabric;
	uplink->port = (size_t)port;
	/* The name server's address is the host's own: slirp answers ARP for no second one. */
	SlirpConfig config = {
		.version = 4,
		.restricted = 1,
		.in_enabled = true,
		.vnetwork.s_addr = host.s_addr & mask.s_addr,
		.vnetmask = mask,
		.vhost = host,
		.vdhcp_start = host,
		.vnameserver = host,
		.disable_host_loopback = true,
		.disable_dns = true,
		.disable_dhcp = true,
	};
	uplink->slirp = slirp_new(&config, &callbacks, uplink);
	if (!uplink->slirp) {
		fprintf(stderr, "switch: --host=%s: libslirp refuses\n", address);
		free(uplink);
		return NULL;
	}
	return uplink;
}

/* "127.0.0.1:8080" */
static bool parse_endpoint(const char *text, size_t length, struct in_addr *address, int *port)
{
	char copy[64];
	if (length >= sizeof copy)
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	char *colon = strchr(copy, ':'), *end;
	if (!colon)
		return false;
	*colon = '\0';
	unsigned long number = strtoul(colon + 1, &end, 10);
	if (end == colon + 1 || *end || number == 0 || number > 65535)
		return false;
	*port = (int)number;
	return inet_pton(AF_INET, copy, address) == 1;
}

bool uplink_forward(struct uplink *uplink, const char *text)
{
	struct in_addr here, there;
	int here_port, there_port;
	const char *equals = strchr(text, '=');
	if (!equals || !parse_endpoint(text, (size_t)(equals - text), &here, &here_port) ||
	    !parse_endpoint(equals + 1, strlen(equals + 1), &there, &there_port)) {
		fprintf(stderr, "switch: --forward=%s: expected ADDRESS:PORT=ADDRESS:PORT\n", text);
		return false;
	}
	if ((ntohl(here.s_addr) >> 24) != 127) {
		fprintf(stderr,
			"switch: --forward=%s: the host's side must be a loopback address "
			"(127.…)\n",
			text);
		return false;
	}
	if (slirp_add_hostfwd(uplink->slirp, 0, here, here_port, there, there_port) < 0) {
		fprintf(stderr, "switch: --forward=%s: cannot listen there: %s\n", text,
			strerror(errno));
		return false;
	}
	return true;
}

static short to_poll(int events)
{
	return (short)((events & SLIRP_POLL_IN ? POLLIN : 0) |
		       (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
		       (events & SLIRP_POLL_PRI ? POLLPRI : 0));
}

static int add_poll(int fd, int events, void *opaque)
{
	struct uplink *uplink = opaque;
	if (uplink->poll_count == UPLINK_POLLS_MAX)
		return -1;
	uplink->polls[uplink->poll_count] = (struct pollfd){.fd = fd, .events = to_poll(events)};
	return (int)uplink->poll_count++;
}

static int poll_result(int index, void *opaque)
{
	struct uplink *uplink = opaque;
	if (index < 0)
		return 0;
	short events = uplink->polls[index].revents;
	return (events & POLLIN ? SLIRP_POLL_IN : 0) | (events & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (events & POLLPRI ? SLIRP_POLL_PRI : 0) | (events & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (events & POLLHUP ? SLIRP_POLL_HUP : 0);
}

size_t uplink_poll_fill(struct uplink *uplink, struct pollfd *polls, uint32_t *timeout_ms)
{
	uplink->polls = polls;
	uplink->poll_count = 0;
	slirp_pollfds_fill(uplink->slirp, timeout_ms, add_poll, uplink);
	return uplink->poll_count;
}

void uplink_poll_done(struct uplink *uplink, bool poll_failed)
{
	slirp_pollfds_poll(uplink->slirp, poll_failed, poll_result, uplink);
}

void uplink_free(struct uplink *uplink)
{
	if (!uplink)
		return;
	slirp_cleanup(uplink->slirp);
	free(uplink);
}
