/*
 * The network namespace of a service address: /run/netns/NAME holds one with loopback and one
 * macvlan interface, NETNS_LINK, which carries the address. The service that serves there sets the
 * link up; until then nobody on the network sees it.
 */
#ifndef SUPERVISOR_SERVICES_NETNS_H
#define SUPERVISOR_SERVICES_NETNS_H

#include <netinet/in.h>
#include <stdint.h>

#define NETNS_DIRECTORY "/run/netns"
#define NETNS_LINK	"svc0"

/*
 * The MAC of a service address: 02:56 and its four bytes. The same on every node, so that the
 * address keeps its MAC when it moves; 02: locally administered, not a group.
 */
void netns_mac(struct in_addr address, uint8_t mac[6]);
/* The calling process enters the namespace NAME. 0, or -1 with a message printed. */
int netns_enter(const char *name);

#endif
