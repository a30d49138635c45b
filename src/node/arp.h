/*
 * ARP for addresses that move (RFC 826, RFC 5227): ask who has one before taking it, and tell the
 * neighbours after.
 */
#ifndef SUPERVISOR_NODE_ARP_H
#define SUPERVISOR_NODE_ARP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARP_PACKET_BYTES 28 /* Ethernet and IPv4, without the Ethernet header */
#define ARP_MAC_BYTES	 6

struct arp_packet {
	uint16_t operation; /* 1 request, 2 reply */
	uint8_t sender_mac[ARP_MAC_BYTES], target_mac[ARP_MAC_BYTES];
	struct in_addr sender, target;
};

void arp_write(const struct arp_packet *packet, uint8_t bytes[ARP_PACKET_BYTES]);
/* False: not an Ethernet/IPv4 ARP packet. Padding after it is fine. */
bool arp_read(const uint8_t *bytes, size_t length, struct arp_packet *packet);
/*
 * Does this packet, seen while `own_mac` probes for `address`, show that another machine has it, or
 * is about to take it (RFC 5227, 2.1.1)?
 */
bool arp_conflicts(const struct arp_packet *packet, struct in_addr address,
		   const uint8_t own_mac[ARP_MAC_BYTES]);

/*
 * A packet socket for ARP on one interface of the present network namespace; -1 with errno. The
 * caller closes it.
 */
int arp_open(int interface_index);
/*
 * Asks three times within wait_ms: 1 somebody else has the address (`holder` is their MAC), 0
 * nobody answered, -1 errno.
 */
int arp_probe(int fd, int interface_index, const uint8_t own_mac[ARP_MAC_BYTES],
	      struct in_addr address, int wait_ms, uint8_t holder[ARP_MAC_BYTES]);
/* Gratuitous ARP, as request and as reply: some neighbours learn from the one, some from the other.
 */
int arp_announce(int fd, int interface_index, const uint8_t own_mac[ARP_MAC_BYTES],
		 struct in_addr address);

#endif
