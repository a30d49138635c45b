/* ARP packets: the bytes on the wire, and which packets speak against taking an address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "services/netns/netns.h"
#include "src/node/arp.h"

static const uint8_t own[ARP_MAC_BYTES] = {0x52, 0x54, 0, 0x77, 0, 0x31};
static const uint8_t other[ARP_MAC_BYTES] = {0x52, 0x54, 0, 0x77, 0, 0x32};

static struct in_addr ip(const char *text)
{
	struct in_addr address;

	assert_int_equal(inet_pton(AF_INET, text, &address), 1);
	return address;
}

static void a_request_looks_as_rfc_826_says(void **state)
{
	static const uint8_t expected[ARP_PACKET_BYTES] = {
		0,    1,    8, 0,    6, 4,    0,  1,	       /* Ethernet, IPv4, request */
		0x52, 0x54, 0, 0x77, 0, 0x31, 10, 77, 0, 100,  /* sender */
		0,    0,    0, 0,    0, 0,    10, 77, 0, 100}; /* target */
	struct arp_packet packet = {
		.operation = 1, .sender = ip("10.77.0.100"), .target = ip("10.77.0.100")};
	struct arp_packet back;
	uint8_t bytes[ARP_PACKET_BYTES];
	(void)state;

	memcpy(packet.sender_mac, own, sizeof(own));
	arp_write(&packet, bytes);
	assert_memory_equal(bytes, expected, sizeof(expected));
	assert_true(arp_read(bytes, sizeof(bytes), &back));
	assert_memory_equal(&back, &packet, sizeof(packet));
}

static void what_is_no_arp_for_ipv4_is_not_read(void **state)
{
	static const struct {
		int line;
		size_t at;
		uint8_t value;
	} rows[] = {{__LINE__, 1, 6},  {__LINE__, 2, 0x86}, {__LINE__, 4, 8},
		    {__LINE__, 5, 16}, {__LINE__, 7, 3},    {__LINE__, 7, 0}};
	struct arp_packet packet = {.operation = 2}, back;
	uint8_t bytes[ARP_PACKET_BYTES];
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		arp_write(&packet, bytes);
		bytes[rows[i].at] = rows[i].value;
		if (arp_read(bytes, sizeof(bytes), &back))
			fail_msg("row of line %d was read", rows[i].line);
	}
	arp_write(&packet, bytes);
	assert_false(arp_read(bytes, ARP_PACKET_BYTES - 1, &back));
}

static void who_has_it_or_wants_it_is_in_conflict(void **state)
{
	struct in_addr wanted = ip("10.77.0.100");
	struct arp_packet packet = {.operation = 2, .sender = wanted};
	(void)state;

	/* Its holder answers, or says anything at all. */
	memcpy(packet.sender_mac, other, sizeof(other));
	assert_true(arp_conflicts(&packet, wanted, own));
	packet.operation = 1;
	assert_true(arp_conflicts(&packet, wanted, own));
	/* Our own packet, come back to us. */
	memcpy(packet.sender_mac, own, sizeof(own));
	assert_false(arp_conflicts(&packet, wanted, own));
	/* Somebody else probes for it as well. */
	memcpy(packet.sender_mac, other, sizeof(other));
	packet.sender.s_addr = 0;
	packet.target = wanted;
	assert_true(arp_conflicts(&packet, wanted, own));
	/* A neighbour that merely asks for it has another address. */
	packet.sender = ip("10.77.0.21");
	assert_false(arp_conflicts(&packet, wanted, own));
	packet.target = packet.sender;
	assert_false(arp_conflicts(&packet, wanted, own));
}

static void a_service_address_has_one_mac_everywhere(void **state)
{
	static const uint8_t expected[6] = {0x02, 0x56, 10, 77, 0, 101};
	uint8_t mac[6];
	(void)state;

	netns_mac(ip("10.77.0.101"), mac);
	assert_memory_equal(mac, expected, sizeof(mac));
	/* Locally administered, and no group address. */
	assert_int_equal(mac[0] & 3, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_looks_as_rfc_826_says),
		cmocka_unit_test(what_is_no_arp_for_ipv4_is_not_read),
		cmocka_unit_test(who_has_it_or_wants_it_is_in_conflict),
		cmocka_unit_test(a_service_address_has_one_mac_everywhere),
	};

	return cmocka_run_group_tests_name("ARP", tests, NULL, NULL);
}
