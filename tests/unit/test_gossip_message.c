/* The messages between the supervising process and the gossip process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/cluster/membership.h"
#include "src/gossip/message.h"

static void messages(void **state)
{
	(void)state;
	struct gossip_message m;
	gossip_message_init(&m, GOSSIP_SELF);
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	m.self = (struct gossip_self){
		.index = 1, .node_count = 2, .boot_id = 1, .cluster = "demo", .secret_key = {1}};
	assert_true(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_FROM_PROCESS));
	assert_false(gossip_message_valid(&m, sizeof(m) - 1, GOSSIP_TO_PROCESS));
	m.self.index = 2;
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	m.self.index = 0;
	m.bytes[191] = 1;
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	m.bytes[191] = 0;
	strcpy(m.self.cluster, "De");
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	memset(m.self.cluster, 'a', sizeof(m.self.cluster));
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));

	gossip_message_init(&m, GOSSIP_MEMBER);
	assert_true(gossip_message_valid(&m, sizeof(m), GOSSIP_FROM_PROCESS));
	m.member.state = GOSSIP_LEFT_STATE + 1;
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_FROM_PROCESS));
	gossip_message_init(&m, GOSSIP_READY);
	m.ready = (struct gossip_ready){.services = 1, .services_ready = 2};
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	gossip_message_init(&m, GOSSIP_LEAVE);
	m.magic ^= 1;
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	assert_string_equal(gossip_state_name(GOSSIP_SUSPECT), "suspect");
	assert_string_equal(gossip_state_name(77), "unknown");
	assert_int_equal(GOSSIP_LEFT_STATE, MEMBER_LEFT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
