/*
 * Interfaces and addresses by rtnetlink(7): the few requests that a node needs, each waited for
 * until the kernel acknowledged it. For workers and the start of the machine; nothing here blocks
 * on the network.
 *
 * All functions return 0, or -1 with errno as the kernel answered (EBADMSG: an answer that is none,
 * ETIMEDOUT: no answer). They say nothing: the caller knows what it was for.
 */
#ifndef SUPERVISOR_NODE_NETLINK_H
#define SUPERVISOR_NODE_NETLINK_H

#include "src/node/netlink_message.h"

struct netlink {
	int fd;
	uint32_t sequence;
};

/*
 * A socket in the network namespace that the caller is in; it stays bound to that one.
 * `watch_links`: also gets the kernel's notices about links, for netlink_wait_carrier (use such a
 * one for nothing else).
 */
int netlink_open(struct netlink *netlink, bool watch_links);
void netlink_close(struct netlink *netlink);

/* ENODEV: no interface of that name. */
int netlink_link_find(struct netlink *netlink, const char *name, struct netlink_link *link);
int netlink_link_get(struct netlink *netlink, int index, struct netlink_link *link);
int netlink_link_set_up(struct netlink *netlink, int index, bool up);
int netlink_link_delete(struct netlink *netlink, int index);
/* A macvlan in bridge mode on `parent`, made in the namespace `netns_fd`, with that MAC, down. */
int netlink_macvlan_create(struct netlink *netlink, const char *name, int parent,
			   const uint8_t mac[MAC_BYTES], int netns_fd);

/* EEXIST / EADDRNOTAVAIL: it was there already / was not there. */
int netlink_address_add(struct netlink *netlink, int index, struct in_addr address, uint8_t length);
int netlink_address_delete(struct netlink *netlink, int index, struct in_addr address,
			   uint8_t length);
/* Which interface holds this address, with which prefix length. EADDRNOTAVAIL: none. */
int netlink_address_find(struct netlink *netlink, struct in_addr address,
			 struct netlink_address *found);
/* Default route; EEXIST when there is one. */
int netlink_route_add_default(struct netlink *netlink, struct in_addr gateway);

/* Waits for the kernel to say that the link has carrier. ETIMEDOUT after timeout_ms. */
int netlink_wait_carrier(struct netlink *netlink, int index, int timeout_ms);

#endif
