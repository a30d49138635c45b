#include "src/node/arp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HARDWARE_ETHERNET 1
#define OPERATION_REQUEST 1
#define OPERATION_REPLY	  2
#define PROBES		  3

static const uint8_t no_mac[ARP_MAC_BYTES];
static const uint8_t everyone[ARP_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

void arp_write(const struct arp_packet *packet, uint8_t bytes[ARP_PACKET_BYTES])
{
	put16(bytes, HARDWARE_ETHERNET);
	put16(bytes + 2, ETH_P_IP);
	bytes[4] = ARP_MAC_BYTES;
	bytes[5] = sizeof(struct in_addr);
	put16(bytes + 6, packet->operation);
	memcpy(bytes + 8, packet->sender_mac, ARP_MAC_BYTES);
	memcpy(bytes + 14, &packet->sender, sizeof(packet->sender));
	memcpy(bytes + 18, packet->target_mac, ARP_MAC_BYTES);
	memcpy(bytes + 24, &packet->target, sizeof(packet->target));
}

bool arp_read(const uint8_t *bytes, size_t length, struct arp_packet *packet)
{
	if (length < ARP_PACKET_BYTES || get16(bytes) != HARDWARE_ETHERNET ||
	    get16(bytes + 2) != ETH_P_IP || bytes[4] != ARP_MAC_BYTES ||
	    bytes[5] != sizeof(struct in_addr))
		return false;
	packet->operation = get16(bytes + 6);
	memcpy(packet->sender_mac, bytes + 8, ARP_MAC_BYTES);
	memcpy(&packet->sender, bytes + 14, sizeof(packet->sender));
	memcpy(packet->target_mac, bytes + 18, ARP_MAC_BYTES);
	memcpy(&packet->target, bytes + 24, sizeof(packet->target));
	return packet->operation == OPERATION_REQUEST || packet->operation == OPERATION_REPLY;
}

bool arp_conflicts(const struct arp_packet *packet, struct in_addr address,
		   const uint8_t own_mac[ARP_MAC_BYTES])
{
	if (memcmp(packet->sender_mac, own_mac, ARP_MAC_BYTES) == 0)
		return false;
	if (packet->sender.s_addr == address.s_addr)
		return true;
	/* Another one's probe for the same address. */
	return packet->operation == OPERATION_REQUEST && packet->sender.s_addr == 0 &&
	       packet->target.s_addr == address.s_addr;
}

int arp_open(int interface_index)
{
	struct sockaddr_ll local = {.sll_family = AF_PACKET,
				    .sll_protocol = htons(ETH_P_ARP),
				    .sll_ifindex = interface_index};
	/* Protocol 0 until bound: no packet of another interface gets in before. */
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0) {
		int saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static int broadcast(int fd, int interface_index, const struct arp_packet *packet)
{
	uint8_t bytes[ARP_PACKET_BYTES];
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ARP),
				 .sll_ifindex = interface_index,
				 .sll_halen = ARP_MAC_BYTES};

	memcpy(to.sll_addr, everyone, ARP_MAC_BYTES);
	arp_write(packet, bytes);
	return sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : 0;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 1: a packet in conflict came before the deadline; 0: none did; -1 errno. */
static int listen_for_conflict(int fd, const uint8_t own_mac[ARP_MAC_BYTES], struct in_addr address,
			       int64_t deadline_ms, uint8_t holder[ARP_MAC_BYTES])
{
	for (;;) {
		int64_t left_ms = deadline_ms - now_ms();
		if (left_ms <= 0)
			return 0;
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		int ready = poll(&wait, 1, (int)left_ms);
		if (ready < 0 && errno != EINTR)
			return -1;
		if (ready <= 0)
			continue;

		uint8_t bytes[128];
		struct arp_packet packet;
		ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return -1;
		if (got < 0 || !arp_read(bytes, (size_t)got, &packet) ||
		    !arp_conflicts(&packet, address, own_mac))
			continue;
		memcpy(holder, packet.sender_mac, ARP_MAC_BYTES);
		return 1;
	}
}

int arp_probe(int fd, int interface_index, const uint8_t own_mac[ARP_MAC_BYTES],
	      struct in_addr address, int wait_ms, uint8_t holder[ARP_MAC_BYTES])
{
	struct arp_packet probe = {.operation = OPERATION_REQUEST, .target = address};
	int64_t start_ms = now_ms();

	memcpy(probe.sender_mac, own_mac, ARP_MAC_BYTES);
	memcpy(probe.target_mac, no_mac, ARP_MAC_BYTES);
	for (int sent = 1; sent <= PROBES; sent++) {
		if (broadcast(fd, interface_index, &probe) < 0)
			return -1;
		int result = listen_for_conflict(
			fd, own_mac, address, start_ms + (int64_t)wait_ms * sent / PROBES, holder);
		if (result != 0)
			return result;
	}
	return 0;
}

int arp_announce(int fd, int interface_index, const uint8_t own_mac[ARP_MAC_BYTES],
		 struct in_addr address)
{
	struct arp_packet packet = {
		.operation = OPERATION_REQUEST, .sender = address, .target = address};

	memcpy(packet.sender_mac, own_mac, ARP_MAC_BYTES);
	memcpy(packet.target_mac, no_mac, ARP_MAC_BYTES);
	if (broadcast(fd, interface_index, &packet) < 0)
		return -1;
	packet.operation = OPERATION_REPLY;
	memcpy(packet.target_mac, everyone, ARP_MAC_BYTES);
	return broadcast(fd, interface_index, &packet);
}
