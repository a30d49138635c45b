/* Kernel events, as the socket delivers them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "services/dlm/kernel.c"

static void test_events(void **state)
{
	static const struct {
		int line;
		const char *text;
		size_t bytes;
		bool found, online;
	} rows[] = {
#define ROW(text, found, online) {__LINE__, text, sizeof(text), found, online}
		ROW("online@/kernel/dlm/DD33\0ACTION=online\0LOCKSPACE=DD33", true, true),
		ROW("offline@/kernel/dlm/DD33\0ACTION=offline", true, false),
		ROW("add@/kernel/dlm/DD33\0ACTION=add", false, false),
		ROW("online@/kernel/dlm/", false, false),
		ROW("online@/kernel/dlm/../x", false, false),
		ROW("online@/kernel/dlm/"
		    "0123456789012345678901234567890123456789012345678901234567890123456789",
		    false, false),
		ROW("online@/devices/cpu", false, false),
		ROW("", false, false),
		{__LINE__, "online@/kernel/dlm/DD33", 23, false, false}, /* no end */
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool online = false;
		char name[WIRE_LOCKSPACE_BYTES] = "";
		bool found = parse_event(rows[i].text, rows[i].bytes, &online, name, sizeof(name));
		if (found != rows[i].found ||
		    (found && (online != rows[i].online || strcmp(name, "DD33") != 0)))
			fail_msg("line %d: %d %d %s", rows[i].line, found, online, name);
	}
}

/* The kernel refuses 0, and both nodes must come to the same number. */
static void test_lockspace_id(void **state)
{
	(void)state;
	assert_int_equal(lockspace_id("DD33F1929F4D48798DED8282311764A6"),
			 lockspace_id("DD33F1929F4D48798DED8282311764A6"));
	assert_int_not_equal(lockspace_id("A"), lockspace_id("B"));
	assert_int_not_equal(lockspace_id(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_lockspace_id),
	};
	return cmocka_run_group_tests_name("dlm_kernel", tests, NULL, NULL);
}
