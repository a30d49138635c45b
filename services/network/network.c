/*
 * The node's own interface: up, with the address that the cluster file gives this node.
 *
 *   supervisor worker network up [INTERFACE]     ready when the link has carrier
 *   supervisor worker network down [INTERFACE]
 *
 * Loopback comes up as well. ARP is answered for, and sent from, the addresses of the interface
 * itself only (arp_ignore, arp_announce): service addresses move between nodes, and a neighbour
 * must learn them from their holder alone. IPv6 is off: nothing here uses it, and its unasked
 * packets would move MAC addresses in switches.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/log.h"
#include "src/node/netlink.h"
#include "src/worker/worker.h"

#define CARRIER_TIMEOUT_MS 30000

static int setting(const char *path, const char *value)
{
	/* A kernel without IPv6 has no such file, and needs none. */
	if (worker_write(path, value) == 0 || errno == ENOENT)
		return 0;
	log_warn("write %s to %s", value, path);
	return -1;
}

static int settings(const char *interface)
{
	static const struct {
		const char *family, *name, *value;
	} per_interface[] = {
		{"ipv6", "disable_ipv6", "1"},
		{"ipv4", "arp_ignore", "1"},
		{"ipv4", "arp_announce", "2"},
		/* Without it, deleting one address also deletes the others of its subnet. */
		{"ipv4", "promote_secondaries", "1"},
	};
	char path[128];

	if (setting("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") < 0)
		return -1;
	for (size_t i = 0; i < sizeof(per_interface) / sizeof(per_interface[0]); i++) {
		snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", per_interface[i].family,
			 interface, per_interface[i].name);
		if (setting(path, per_interface[i].value) < 0)
			return -1;
	}
	return 0;
}

static int link_up(struct netlink *netlink, const char *interface, struct netlink_link *link)
{
	if (netlink_link_find(netlink, interface, link) < 0) {
		log_warn("find interface %s", interface);
		return -1;
	}
	if (netlink_link_set_up(netlink, link->index, true) < 0) {
		log_warn("set interface %s up", interface);
		return -1;
	}
	return 0;
}

static int up(const struct cluster_node *self, struct in_addr gateway, const char *interface)
{
	struct netlink netlink, watch;
	struct netlink_link link;
	char text[INET_ADDRSTRLEN];
	int result = 1;

	inet_ntop(AF_INET, &self->address.address, text, sizeof(text));
	if (netlink_open(&netlink, false) < 0) {
		log_warn("netlink socket");
		return 1;
	}
	if (netlink_open(&watch, true) < 0) {
		log_warn("netlink socket");
		netlink_close(&netlink);
		return 1;
	}
	if (link_up(&netlink, "lo", &link) < 0 || settings(interface) < 0 ||
	    link_up(&netlink, interface, &link) < 0)
		goto out;
	if (netlink_address_add(&netlink, link.index, self->address.address, self->address.length) <
		    0 &&
	    errno != EEXIST) {
		log_warn("add %s/%u to %s", text, self->address.length, interface);
		goto out;
	}
	if (netlink_wait_carrier(&watch, link.index, CARRIER_TIMEOUT_MS) < 0) {
		log_warn("wait for carrier on %s", interface);
		goto out;
	}
	if (gateway.s_addr != 0 && netlink_route_add_default(&netlink, gateway) < 0 &&
	    errno != EEXIST) {
		log_warn("default route through the gateway");
		goto out;
	}
	log_info("%s has %s/%u", interface, text, self->address.length);
	result = 0;
out:
	netlink_close(&watch);
	netlink_close(&netlink);
	return result;
}

static int down(const struct cluster_node *self, const char *interface)
{
	struct netlink netlink;
	struct netlink_link link;
	int result = 1;

	if (netlink_open(&netlink, false) < 0) {
		log_warn("netlink socket");
		return 1;
	}
	if (netlink_link_find(&netlink, interface, &link) < 0) {
		log_warn("find interface %s", interface);
	} else if (netlink_address_delete(&netlink, link.index, self->address.address,
					  self->address.length) < 0 &&
		   errno != EADDRNOTAVAIL) {
		log_warn("remove this node's address from %s", interface);
	} else if (netlink_link_set_up(&netlink, link.index, false) < 0) {
		log_warn("set interface %s down", interface);
	} else {
		result = 0;
	}
	netlink_close(&netlink);
	return result;
}

int network_worker(int argc, char **argv)
{
	struct worker_context context;
	const char *interface = argc > 2 ? argv[2] : "eth0";

	if (argc < 2 || argc > 3 || strlen(interface) >= NETLINK_INTERFACE_NAME_BYTES ||
	    strchr(interface, '/') != NULL ||
	    (strcmp(argv[1], "up") != 0 && strcmp(argv[1], "down") != 0)) {
		log_warnx("usage: network up|down [INTERFACE]");
		return 2;
	}
	worker_load(&context);
	return argv[1][0] == 'u' ? up(context.self, context.cluster->gateway, interface)
				 : down(context.self, interface);
}
