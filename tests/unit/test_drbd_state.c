/* Reading what drbdsetup's events2 prints, as seen from drbd-utils 9.22 with DRBD 8.4.11. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "services/drbd/state.h"

static bool line(struct drbd_state *state, const char *text)
{
	return drbd_state_line(state, text, strlen(text));
}

static struct drbd_state fresh_pair(void)
{
	struct drbd_state s = {0};
	assert_true(line(&s, "exists resource name:r0 role:Secondary suspended:no"));
	assert_true(line(&s, "exists connection name:r0 peer-node-id:0 conn-name:peer "
			     "connection:Connected role:Secondary"));
	assert_true(line(&s, "exists device name:r0 volume:0 minor:0 disk:Inconsistent"));
	assert_true(line(&s, "exists peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 "
			     "replication:Established peer-disk:Inconsistent resync-suspended:no"));
	return s;
}

static void test_first_picture(void **state)
{
	struct drbd_state s = fresh_pair();
	(void)state;
	/* Nothing is decided on half a picture. */
	assert_false(drbd_is_connected(&s));
	assert_false(drbd_both_new(&s));
	assert_true(line(&s, "exists -"));
	assert_true(s.exists && s.complete && !s.suspended);
	assert_string_equal(s.role, "Secondary");
	assert_string_equal(s.peer_role, "Secondary");
	assert_true(drbd_is_connected(&s));
	assert_true(drbd_both_new(&s));
	assert_false(drbd_may_promote(&s));
}

static void test_changes(void **state)
{
	struct drbd_state s = fresh_pair();
	(void)state;
	line(&s, "exists -");
	line(&s, "change device name:r0 volume:0 minor:0 disk:UpToDate");
	assert_false(drbd_both_new(&s));
	assert_true(drbd_may_promote(&s));
	line(&s, "change resource name:r0 role:Primary");
	assert_true(drbd_is_primary(&s));
	line(&s, "change resource name:r0 suspended:fencing");
	assert_true(s.suspended && drbd_is_primary(&s));
	line(&s, "change connection name:r0 peer-node-id:0 conn-name:peer connection:Unconnected "
		 "role:Unknown");
	assert_false(drbd_is_connected(&s));
	assert_false(drbd_may_promote(&s));
	line(&s, "destroy connection name:r0 peer-node-id:0 conn-name:peer");
	assert_string_equal(s.connection, "");
	line(&s, "destroy resource name:r0");
	assert_false(s.exists);
}

/*
 * A first boot under load hung: the connection came up between the first picture's pieces, and the
 * last piece, older, said again that the peer's disk was unknown. No event followed any more.
 */
static void test_first_picture_older_than_a_change(void **state)
{
	struct drbd_state s = {0};
	(void)state;
	line(&s, "exists resource name:r0 role:Secondary suspended:no");
	line(&s, "exists connection name:r0 peer-node-id:0 conn-name:peer connection:Connecting "
		 "role:Unknown");
	line(&s, "change connection name:r0 peer-node-id:0 conn-name:peer connection:Connected "
		 "role:Secondary");
	line(&s, "change peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 "
		 "replication:Established peer-disk:Inconsistent");
	line(&s, "exists device name:r0 volume:0 minor:0 disk:Inconsistent");
	line(&s, "exists peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 "
		 "replication:Off peer-disk:DUnknown resync-suspended:no");
	line(&s, "exists -");
	assert_string_equal(s.peer_disk, "Inconsistent");
	assert_true(drbd_both_new(&s));
	line(&s, "change resource name:r0 suspended:fencing");
	line(&s, "exists resource name:r0 role:Secondary suspended:no");
	assert_true(s.suspended);
}

/* A target of a running sync may be promoted, one that waits for a source may not. */
static void test_promotion(void **state)
{
	static const struct {
		int line;
		const char *disk, *peer_disk, *replication;
		bool may;
	} rows[] = {
		{__LINE__, "UpToDate", "UpToDate", "Established", true},
		{__LINE__, "UpToDate", "Inconsistent", "SyncSource", true},
		{__LINE__, "Inconsistent", "UpToDate", "SyncTarget", true},
		{__LINE__, "Inconsistent", "UpToDate", "WFBitMapT", false},
		{__LINE__, "Inconsistent", "Inconsistent", "Established", false},
		{__LINE__, "Outdated", "UpToDate", "Established", false},
		{__LINE__, "Consistent", "UpToDate", "Established", false},
		{__LINE__, "Diskless", "UpToDate", "Established", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct drbd_state s = {.complete = true, .connection = "Connected"};
		strcpy(s.disk, rows[i].disk);
		strcpy(s.peer_disk, rows[i].peer_disk);
		strcpy(s.replication, rows[i].replication);
		if (drbd_may_promote(&s) != rows[i].may)
			fail_msg("line %d", rows[i].line);
		s.connection[0] = '\0';
		assert_false(drbd_may_promote(&s));
	}
}

static void test_other_lines(void **state)
{
	struct drbd_state s = fresh_pair(), before = s;
	(void)state;
	assert_true(
		line(&s, "call helper name:r0 peer-node-id:0 conn-name:peer helper:fence-peer"));
	assert_true(line(&s, "response helper name:r0 helper:fence-peer status:1"));
	assert_false(line(&s, ""));
	assert_false(line(&s, "   "));
	assert_false(line(&s, "nonsense"));
	assert_false(line(&s, "change path name:r0"));
	assert_memory_equal(&s, &before, sizeof(s));
	/* A word that is too long or odd is unknown, not cut. */
	line(&s, "change device disk:UpToDateUpToDateUpToDateUpToDate");
	assert_string_equal(s.disk, "");
	line(&s, "change device disk:Up\"ToDate");
	assert_string_equal(s.disk, "");
}

static void test_new_metadata(void **state)
{
	static const char new_gi[] =
		"0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:0";
	static const char used_gi[] =
		"5F7432CC1721447D:0000000000000004:0000000000000000:0000000000000000:1:0:0:0:0:0:0";
	(void)state;
	assert_true(drbd_gi_is_new(new_gi, sizeof(new_gi) - 1));
	assert_false(drbd_gi_is_new(used_gi, sizeof(used_gi) - 1));
	assert_false(drbd_gi_is_new(new_gi, 16));
	assert_false(drbd_gi_is_new("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_picture),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_first_picture_older_than_a_change),
		cmocka_unit_test(test_promotion),
		cmocka_unit_test(test_other_lines),
		cmocka_unit_test(test_new_metadata),
	};
	return cmocka_run_group_tests_name("drbd_state", tests, NULL, NULL);
}
