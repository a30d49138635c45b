#include "src/node/netlink.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A dump comes in parts of up to 32 KiB (NLMSG_GOODSIZE rounded up by the kernel); never more for
 * one read. */
#define ANSWER_BYTES 32768
/* The kernel answers from within sendto(); this only guards against a request that is never
 * answered. */
#define ANSWER_TIMEOUT_MS 5000

int netlink_open(struct netlink *netlink, bool watch_links)
{
	struct sockaddr_nl local = {.nl_family = AF_NETLINK,
				    .nl_groups = watch_links ? RTMGRP_LINK : 0};

	netlink->sequence = 0;
	netlink->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (netlink->fd < 0)
		return -1;
	if (bind(netlink->fd, (struct sockaddr *)&local, sizeof(local)) < 0) {
		int saved = errno;
		netlink_close(netlink);
		errno = saved;
		return -1;
	}
	return 0;
}

void netlink_close(struct netlink *netlink)
{
	if (netlink->fd >= 0)
		close(netlink->fd);
	netlink->fd = -1;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* One datagram from the kernel (and nobody else), by the deadline. Its size, or -1. */
static ssize_t receive(struct netlink *netlink, uint8_t *buffer, size_t bytes, int64_t deadline_ms)
{
	for (;;) {
		int64_t left_ms = deadline_ms - now_ms();
		struct pollfd wait = {.fd = netlink->fd, .events = POLLIN};
		int ready = poll(&wait, 1, left_ms > 0 ? (int)left_ms : 0);
		if (ready == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (ready < 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}

		struct sockaddr_nl from;
		struct iovec part = {.iov_base = buffer, .iov_len = bytes};
		struct msghdr message = {.msg_name = &from,
					 .msg_namelen = sizeof(from),
					 .msg_iov = &part,
					 .msg_iovlen = 1};
		ssize_t got = recvmsg(netlink->fd, &message, MSG_DONTWAIT);
		if (got < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return -1;
		}
		if (message.msg_namelen != sizeof(from) || from.nl_pid != 0)
			continue;
		if (message.msg_flags & MSG_TRUNC) {
			errno = EBADMSG;
			return -1;
		}
		return got;
	}
}

typedef void visit_fn(const struct netlink_answer *answer, void *context);

/*
 * Sends the request and reads until the kernel has acknowledged it (or, for a dump, sent its end).
 * Every other message of the answer is shown to `visit`.
 */
static int exchange(struct netlink *netlink, struct netlink_request *request, visit_fn *visit,
		    void *context)
{
	uint32_t sequence = ++netlink->sequence;
	int64_t deadline_ms = now_ms() + ANSWER_TIMEOUT_MS;
	int result = -1;

	if (!netlink_finish(request, sequence)) {
		errno = EMSGSIZE;
		return -1;
	}
	uint8_t *buffer = malloc(ANSWER_BYTES);
	if (buffer == NULL)
		return -1;
	if (send(netlink->fd, request->bytes, request->length, 0) < 0)
		goto out;

	for (;;) {
		ssize_t got = receive(netlink, buffer, ANSWER_BYTES, deadline_ms);
		if (got < 0)
			goto out;
		struct netlink_answer answer;
		size_t offset = 0;
		int more;
		while ((more = netlink_next(buffer, (size_t)got, &offset, &answer)) == 1) {
			if (answer.sequence != sequence)
				continue; /* of an earlier request that had timed out */
			if (answer.type == NLMSG_ERROR) {
				int error = netlink_error_of(&answer);
				result = error == 0 ? 0 : -1;
				errno = error < 0 ? EBADMSG : error;
				goto out;
			}
			if (answer.type == NLMSG_DONE) {
				result = 0;
				goto out;
			}
			if (visit != NULL)
				visit(&answer, context);
		}
		if (more < 0) {
			errno = EBADMSG;
			goto out;
		}
	}
out:;
	int saved = errno;
	free(buffer);
	errno = saved;
	return result;
}

static void keep_link(const struct netlink_answer *answer, void *context)
{
	struct netlink_link link;

	if (netlink_read_link(answer, &link))
		*(struct netlink_link *)context = link;
}

static int link_ask(struct netlink *netlink, int index, const char *name, struct netlink_link *link)
{
	struct netlink_request request;
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = index};

	link->index = 0;
	netlink_begin(&request, RTM_GETLINK, NLM_F_ACK, &info, sizeof(info));
	if (name != NULL)
		netlink_put_string(&request, IFLA_IFNAME, name);
	if (exchange(netlink, &request, keep_link, link) < 0)
		return -1;
	if (link->index == 0) {
		errno = EBADMSG;
		return -1;
	}
	return 0;
}

int netlink_link_find(struct netlink *netlink, const char *name, struct netlink_link *link)
{
	return link_ask(netlink, 0, name, link);
}

int netlink_link_get(struct netlink *netlink, int index, struct netlink_link *link)
{
	return link_ask(netlink, index, NULL, link);
}

int netlink_link_set_up(struct netlink *netlink, int index, bool up)
{
	struct netlink_request request;
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC,
				 .ifi_index = index,
				 .ifi_flags = up ? IFF_UP : 0,
				 .ifi_change = IFF_UP};

	netlink_begin(&request, RTM_NEWLINK, NLM_F_ACK, &info, sizeof(info));
	return exchange(netlink, &request, NULL, NULL);
}

int netlink_link_delete(struct netlink *netlink, int index)
{
	struct netlink_request request;
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = index};

	netlink_begin(&request, RTM_DELLINK, NLM_F_ACK, &info, sizeof(info));
	return exchange(netlink, &request, NULL, NULL);
}

int netlink_macvlan_create(struct netlink *netlink, const char *name, int parent,
			   const uint8_t mac[MAC_BYTES], int netns_fd)
{
	struct netlink_request request;
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC};

	netlink_begin(&request, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &info,
		      sizeof(info));
	netlink_put_string(&request, IFLA_IFNAME, name);
	netlink_put_u32(&request, IFLA_LINK, (uint32_t)parent);
	netlink_put_u32(&request, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	netlink_put(&request, IFLA_ADDRESS, mac, MAC_BYTES);
	size_t link_info = netlink_nest_begin(&request, IFLA_LINKINFO);
	netlink_put_string(&request, IFLA_INFO_KIND, "macvlan");
	size_t data = netlink_nest_begin(&request, IFLA_INFO_DATA);
	netlink_put_u32(&request, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
	netlink_nest_end(&request, data);
	netlink_nest_end(&request, link_info);
	return exchange(netlink, &request, NULL, NULL);
}

static int address_change(struct netlink *netlink, uint16_t type, uint16_t flags, int index,
			  struct in_addr address, uint8_t length)
{
	struct netlink_request request;
	struct ifaddrmsg info = {.ifa_family = AF_INET,
				 .ifa_prefixlen = length,
				 .ifa_scope = RT_SCOPE_UNIVERSE,
				 .ifa_index = (uint32_t)index};

	netlink_begin(&request, type, (uint16_t)(NLM_F_ACK | flags), &info, sizeof(info));
	netlink_put(&request, IFA_LOCAL, &address, sizeof(address));
	netlink_put(&request, IFA_ADDRESS, &address, sizeof(address));
	if (type == RTM_NEWADDR && length < 31) {
		struct in_addr broadcast = address;
		broadcast.s_addr |= htonl(UINT32_MAX >> length);
		netlink_put(&request, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	}
	return exchange(netlink, &request, NULL, NULL);
}

int netlink_address_add(struct netlink *netlink, int index, struct in_addr address, uint8_t length)
{
	return address_change(netlink, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address,
			      length);
}

int netlink_address_delete(struct netlink *netlink, int index, struct in_addr address,
			   uint8_t length)
{
	return address_change(netlink, RTM_DELADDR, 0, index, address, length);
}

static void match_address(const struct netlink_answer *answer, void *context)
{
	struct netlink_address *wanted = context, seen;

	if (netlink_read_address(answer, &seen) && wanted->index == 0 &&
	    seen.address.s_addr == wanted->address.s_addr)
		*wanted = seen;
}

int netlink_address_find(struct netlink *netlink, struct in_addr address,
			 struct netlink_address *found)
{
	struct netlink_request request;
	struct ifaddrmsg info = {.ifa_family = AF_INET};

	*found = (struct netlink_address){.address = address};
	netlink_begin(&request, RTM_GETADDR, NLM_F_DUMP, &info, sizeof(info));
	if (exchange(netlink, &request, match_address, found) < 0)
		return -1;
	if (found->index == 0) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	return 0;
}

int netlink_route_add_default(struct netlink *netlink, struct in_addr gateway)
{
	struct netlink_request request;
	struct rtmsg info = {.rtm_family = AF_INET,
			     .rtm_table = RT_TABLE_MAIN,
			     .rtm_protocol = RTPROT_STATIC,
			     .rtm_scope = RT_SCOPE_UNIVERSE,
			     .rtm_type = RTN_UNICAST};

	netlink_begin(&request, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &info,
		      sizeof(info));
	netlink_put(&request, RTA_GATEWAY, &gateway, sizeof(gateway));
	return exchange(netlink, &request, NULL, NULL);
}

/*
 * The state is asked for after the subscription: a change between the two is either in the answer
 * or arrives as a notice. The question goes over a second socket, so that notices do not mix with
 * its answer.
 */
int netlink_wait_carrier(struct netlink *netlink, int index, int timeout_ms)
{
	int64_t deadline_ms = now_ms() + timeout_ms;
	struct netlink asking;
	struct netlink_link link;

	for (;;) {
		if (netlink_open(&asking, false) < 0)
			return -1;
		int result = netlink_link_get(&asking, index, &link);
		int saved = errno;
		netlink_close(&asking);
		errno = saved;
		if (result < 0)
			return -1;
		if (link.flags & IFF_RUNNING)
			return 0;

		uint8_t buffer[8192];
		ssize_t got = receive(netlink, buffer, sizeof(buffer), deadline_ms);
		/* Notices may be lost or too long to read whole: then, too, the state is asked for
		 * again. */
		if (got < 0 && errno != ENOBUFS && errno != EBADMSG)
			return -1;
	}
}
