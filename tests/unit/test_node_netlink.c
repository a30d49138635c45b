/* rtnetlink messages: what is built has the kernel's layout, what is read is never believed further
 * than its length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <net/if.h>
#include <arpa/inet.h>

#include "src/node/netlink_message.h"

static struct netlink_answer first(const struct netlink_request *request)
{
	struct netlink_answer answer;
	size_t offset = 0;

	assert_int_equal(netlink_next(request->bytes, request->length, &offset, &answer), 1);
	assert_int_equal(offset, request->length);
	return answer;
}

static void link_message(struct netlink_request *request, const char *name)
{
	static const uint8_t mac[MAC_BYTES] = {2, 0x56, 10, 77, 0, 101};
	struct ifinfomsg info = {.ifi_index = 7, .ifi_flags = IFF_UP | IFF_RUNNING};

	netlink_begin(request, RTM_NEWLINK, NLM_F_ACK, &info, sizeof(info));
	netlink_put(request, IFLA_ADDRESS, mac, sizeof(mac));
	netlink_put_string(request, IFLA_IFNAME, name);
}

static void a_built_request_is_read_back(void **state)
{
	struct netlink_request request;
	struct netlink_link link;
	(void)state;

	link_message(&request, "svc0");
	assert_true(netlink_finish(&request, 42));
	struct netlink_answer answer = first(&request);
	assert_int_equal(answer.type, RTM_NEWLINK);
	assert_int_equal(answer.flags, NLM_F_REQUEST | NLM_F_ACK);
	assert_int_equal(answer.sequence, 42);
	assert_true(netlink_read_link(&answer, &link));
	assert_int_equal(link.index, 7);
	assert_int_equal(link.flags, IFF_UP | IFF_RUNNING);
	assert_string_equal(link.name, "svc0");
	assert_true(link.has_mac);
	assert_int_equal(link.mac[5], 101);
}

static void nested_attributes_hold_what_lies_between(void **state)
{
	struct netlink_request request;
	struct ifinfomsg info = {0};
	uint16_t length;
	(void)state;

	netlink_begin(&request, RTM_NEWLINK, 0, &info, sizeof(info));
	size_t outer = netlink_nest_begin(&request, IFLA_LINKINFO);
	netlink_put_string(&request, IFLA_INFO_KIND, "macvlan");
	size_t inner = netlink_nest_begin(&request, IFLA_INFO_DATA);
	netlink_put_u32(&request, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
	netlink_nest_end(&request, inner);
	netlink_nest_end(&request, outer);
	assert_true(netlink_finish(&request, 1));

	assert_int_equal(outer, NLMSG_HDRLEN + sizeof(info));
	memcpy(&length, request.bytes + inner, sizeof(length));
	assert_int_equal(length, 4 + 8);
	memcpy(&length, request.bytes + outer, sizeof(length));
	assert_int_equal(length, 4 + 12 + 12);
	assert_int_equal(request.length, outer + 28);
}

static void a_request_that_does_not_fit_is_not_finished(void **state)
{
	struct netlink_request request;
	struct ifinfomsg info = {0};
	uint8_t data[200] = {0};
	(void)state;

	netlink_begin(&request, RTM_NEWLINK, 0, &info, sizeof(info));
	for (int i = 0; i < 4; i++)
		netlink_put(&request, IFLA_IFALIAS, data, sizeof(data));
	assert_true(request.length <= sizeof(request.bytes));
	assert_false(netlink_finish(&request, 1));

	netlink_begin(&request, RTM_NEWLINK, 0, &info, sizeof(info));
	netlink_put(&request, IFLA_IFALIAS, data, 70000);
	assert_false(netlink_finish(&request, 1));
}

static void lengths_that_lie_are_refused(void **state)
{
	struct netlink_request request;
	struct netlink_answer answer;
	struct netlink_link link;
	size_t offset = 0;
	uint32_t length;
	(void)state;

	link_message(&request, "svc0");
	assert_true(netlink_finish(&request, 1));
	assert_int_equal(netlink_next(request.bytes, NLMSG_HDRLEN - 1, &offset, &answer), -1);
	assert_int_equal(netlink_next(request.bytes, request.length - 1, &offset, &answer), -1);
	length = NLMSG_HDRLEN - 1;
	memcpy(request.bytes, &length, sizeof(length));
	assert_int_equal(netlink_next(request.bytes, request.length, &offset, &answer), -1);

	/* An attribute longer than its message, and one shorter than its own header. */
	link_message(&request, "svc0");
	assert_true(netlink_finish(&request, 1));
	answer = first(&request);
	uint16_t attribute = 200;
	memcpy(request.bytes + NLMSG_HDRLEN + sizeof(struct ifinfomsg), &attribute, 2);
	assert_false(netlink_read_link(&answer, &link));
	attribute = 3;
	memcpy(request.bytes + NLMSG_HDRLEN + sizeof(struct ifinfomsg), &attribute, 2);
	assert_false(netlink_read_link(&answer, &link));
	/* The same after all that is needed has been read. */
	link_message(&request, "svc0");
	size_t last = request.length;
	netlink_put_u32(&request, IFLA_MTU, 1500);
	assert_true(netlink_finish(&request, 1));
	answer = first(&request);
	assert_true(netlink_read_link(&answer, &link));
	attribute = 9;
	memcpy(request.bytes + last, &attribute, 2);
	assert_false(netlink_read_link(&answer, &link));
	answer.bytes = sizeof(struct ifinfomsg) - 1;
	assert_false(netlink_read_link(&answer, &link));
}

static void interface_names_have_their_bounds(void **state)
{
	struct netlink_request request;
	struct netlink_answer answer;
	struct netlink_link link;
	(void)state;

	link_message(&request, "fifteen-letters");
	assert_true(netlink_finish(&request, 1));
	answer = first(&request);
	assert_true(netlink_read_link(&answer, &link));
	assert_string_equal(link.name, "fifteen-letters");
	link_message(&request, "sixteen--letters");
	assert_true(netlink_finish(&request, 1));
	answer = first(&request);
	assert_false(netlink_read_link(&answer, &link));
	link_message(&request, "");
	assert_true(netlink_finish(&request, 1));
	answer = first(&request);
	assert_false(netlink_read_link(&answer, &link));
}

static void addresses_are_ipv4_and_local(void **state)
{
	struct netlink_request request;
	struct ifaddrmsg info = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = 2};
	struct in_addr own = {.s_addr = htonl(0x0a4d000b)}, peer = {.s_addr = htonl(0x0a4d000c)};
	struct netlink_address address;
	struct netlink_answer answer;
	(void)state;

	netlink_begin(&request, RTM_NEWADDR, 0, &info, sizeof(info));
	netlink_put(&request, IFA_ADDRESS, &peer, sizeof(peer));
	assert_true(netlink_finish(&request, 1));
	answer = first(&request);
	assert_false(netlink_read_address(&answer, &address));

	netlink_put(&request, IFA_LOCAL, &own, sizeof(own));
	assert_true(netlink_finish(&request, 1));
	answer = first(&request);
	assert_true(netlink_read_address(&answer, &address));
	assert_int_equal(address.address.s_addr, own.s_addr);
	assert_int_equal(address.length, 24);
	assert_int_equal(address.index, 2);

	info.ifa_prefixlen = 33;
	netlink_begin(&request, RTM_NEWADDR, 0, &info, sizeof(info));
	netlink_put(&request, IFA_LOCAL, &own, sizeof(own));
	assert_true(netlink_finish(&request, 1));
	answer = first(&request);
	assert_false(netlink_read_address(&answer, &address));
}

static void errors_are_numbers_of_errno(void **state)
{
	struct netlink_request request;
	struct netlink_answer answer;
	static const struct {
		int line, carried, expected;
	} rows[] = {
		{__LINE__, 0, 0},  {__LINE__, -17, 17},	  {__LINE__, -4095, 4095},
		{__LINE__, 5, -1}, {__LINE__, -4096, -1}, {__LINE__, INT32_MIN, -1},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct nlmsgerr error = {.error = rows[i].carried};
		netlink_begin(&request, NLMSG_ERROR, 0, &error, sizeof(error));
		assert_true(netlink_finish(&request, 1));
		answer = first(&request);
		if (netlink_error_of(&answer) != rows[i].expected)
			fail_msg("row of line %d", rows[i].line);
	}
	answer.bytes = 3;
	assert_int_equal(netlink_error_of(&answer), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_built_request_is_read_back),
		cmocka_unit_test(nested_attributes_hold_what_lies_between),
		cmocka_unit_test(a_request_that_does_not_fit_is_not_finished),
		cmocka_unit_test(lengths_that_lie_are_refused),
		cmocka_unit_test(interface_names_have_their_bounds),
		cmocka_unit_test(addresses_are_ipv4_and_local),
		cmocka_unit_test(errors_are_numbers_of_errno),
	};

	return cmocka_run_group_tests_name("netlink messages", tests, NULL, NULL);
}
