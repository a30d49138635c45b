/*
 * Which clients may reclaim their locks: a client whose record was acknowledged may, whatever
 * happened to the machine since. Guards against the loss of a lock without a word: a client that is
 * not in the list finds its lock gone, and perhaps another's, after a takeover.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/nfs-clients/records.h"

static uint8_t file[RECORDS_BYTES], disk[RECORDS_BYTES];
static struct records records;

static int set_up(void **state)
{
	(void)state;
	records_make(file);
	assert_true(records_open(&records, file));
	return 0;
}

static int create(const char *name)
{
	return records_create(&records, (const uint8_t *)name, strlen(name));
}

static int drop(const char *name)
{
	return records_remove(&records, (const uint8_t *)name, strlen(name));
}

static bool may_reclaim(const char *name)
{
	return records_may_reclaim(&records, (const uint8_t *)name, strlen(name));
}

static unsigned count(void)
{
	unsigned n = 0;
	size_t length;
	int slot = 0;

	while (records_next(&records, &slot, &length) != NULL)
		n++;
	return n;
}

static void nobody_may_reclaim_at_first(void **state)
{
	(void)state;
	assert_true(records_grace_start(&records) >= 0);
	assert_int_equal(count(), 0);
	assert_false(may_reclaim("php1"));
}

static void who_was_there_may_reclaim_after_a_restart(void **state)
{
	size_t length;
	int slot = 0;
	(void)state;

	records_grace_start(&records);
	records_grace_done(&records);
	assert_true(create("php1") >= 0);
	assert_int_equal(create("php1"), RECORDS_UNCHANGED);
	assert_true(create("php2") >= 0);
	assert_true(create("gone") >= 0);
	assert_true(drop("gone") >= 0);
	assert_int_equal(drop("gone"), RECORDS_UNCHANGED);
	assert_false(may_reclaim("php1")); /* no grace period now */

	assert_true(records_open(&records, file));
	records_grace_start(&records);
	assert_int_equal(count(), 2);
	assert_memory_equal(records_next(&records, &slot, &length), "php1", 4);
	assert_int_equal(length, 4);
	assert_true(may_reclaim("php2"));
	assert_false(may_reclaim("gone"));
	assert_false(may_reclaim("php"));
}

static void who_did_not_come_back_in_time_is_forgotten(void **state)
{
	(void)state;
	create("php1");
	create("php2");
	records_grace_start(&records);
	create("php1");
	records_grace_done(&records);
	records_grace_start(&records);
	assert_true(may_reclaim("php1"));
	assert_false(may_reclaim("php2"));
	assert_int_equal(count(), 1);
}

/* The server is killed while php1 has reclaimed and php2 has not yet: both must be able to the next
 * time. */
static void a_restart_during_grace_forgets_nobody(void **state)
{
	(void)state;
	create("php1");
	create("php2");
	records_grace_start(&records);
	create("php1");
	for (int i = 0; i < 3; i++) {
		assert_true(records_open(&records, file));
		records_grace_start(&records);
		assert_int_equal(count(), 2);
		assert_true(may_reclaim("php1") && may_reclaim("php2"));
		assert_true(create("php1") >= 0);
	}
}

static void names_are_any_bytes(void **state)
{
	uint8_t name[RECORD_NAME_MAX + 1];
	(void)state;

	memset(name, 0, sizeof(name));
	assert_true(records_create(&records, name, 1) >= 0);
	assert_true(records_create(&records, name, 2) >= 0);
	assert_true(records_create(&records, name, RECORD_NAME_MAX) >= 0);
	assert_int_equal(records_create(&records, name, RECORD_NAME_MAX + 1), RECORDS_FULL);
	assert_int_equal(records_create(&records, name, 0), RECORDS_FULL);
	records_grace_start(&records);
	assert_int_equal(count(), 3);
}

static void a_full_table_says_so_and_room_comes_back(void **state)
{
	char name[24];
	int made = 0;
	(void)state;

	for (; made < 1000; made++) {
		snprintf(name, sizeof(name), "client%d", made);
		if (create(name) == RECORDS_FULL)
			break;
	}
	assert_int_equal(made, RECORDS_SLOTS - 2);
	assert_true(drop("client7") >= 0);
	assert_true(create("another") >= 0);
	records_grace_start(&records);
	assert_int_equal(create("new"), RECORDS_FULL);
	records_grace_done(&records);
	assert_true(create("new") >= 0);
}

static void what_is_no_such_file_is_refused(void **state)
{
	struct records other;
	(void)state;

	memset(disk, 0, sizeof(disk));
	assert_false(records_open(&other, disk));
	memset(disk, 0xff, sizeof(disk));
	assert_false(records_open(&other, disk));
	/* A damaged client is free; two damaged pictures of the epochs are the end. */
	create("php1");
	records_grace_start(&records);
	memcpy(disk, file, sizeof(disk));
	disk[2 * RECORDS_SLOT_BYTES + 40] ^= 1;
	assert_true(records_open(&other, disk));
	assert_false(records_may_reclaim(&other, (const uint8_t *)"php1", 4));
	disk[100] ^= 1;
	disk[RECORDS_SLOT_BYTES + 100] ^= 1;
	assert_false(records_open(&other, disk));
}

/*
 * Any sequence of operations, the machine dying in the middle of any write: what was acknowledged
 * before is there afterwards. The model holds, for each of few clients, whether it is in the
 * present epoch and in the one that may reclaim.
 */
#define CLIENTS 6

static void put_slot(int slot, unsigned kept)
{
	memcpy(disk + (size_t)slot * RECORDS_SLOT_BYTES, file + (size_t)slot * RECORDS_SLOT_BYTES,
	       kept);
}

static void check(const bool *expected, int unsure, unsigned seed)
{
	char name[2] = "a";

	for (int i = 0; i < CLIENTS; i++) {
		name[0] = (char)('a' + i);
		if (i != unsure && may_reclaim(name) != expected[i])
			fail_msg("seed %u: client %s is %s", seed, name,
				 expected[i] ? "lost" : "there again");
	}
}

static void one_life(unsigned seed)
{
	bool present[CLIENTS] = {false}, before[CLIENTS] = {false}, grace = false;
	unsigned random = seed * 2654435761u + 1;

	records_make(disk);
	for (int step = 0; step < 400; step++) {
		random = random * 1664525u + 1013904223u;
		unsigned what = random >> 28, who = (random >> 16) % CLIENTS;
		unsigned kept = (random >> 4) % (RECORDS_SLOT_BYTES + 1);
		bool dies = (random >> 24) % 8 == 0;
		char name[2] = {(char)('a' + who), 0};
		int slot;

		if (step == 0 || what < 2) {
			/* The server starts: from the disk. */
			memcpy(file, disk, sizeof(file));
			assert_true(records_open(&records, file));
			slot = records_grace_start(&records);
			if (dies) {
				put_slot(slot, kept); /* acknowledged nothing; starts again */
				memcpy(file, disk, sizeof(file));
				assert_true(records_open(&records, file));
				slot = records_grace_start(&records);
			}
			put_slot(slot, RECORDS_SLOT_BYTES);
			if (!grace)
				memcpy(before, present, sizeof(before));
			memset(present, 0, sizeof(present));
			grace = true;
			check(before, -1, seed);
			continue;
		}
		if (what < 4 && grace) {
			/* Never acknowledged halfway: a death here leaves grace on, or over. */
			slot = records_grace_done(&records);
			put_slot(slot, RECORDS_SLOT_BYTES);
			grace = false;
			continue;
		}
		slot = what % 3 != 0 ? create(name) : drop(name);
		if (slot < 0)
			continue;
		if (!dies) {
			put_slot(slot, RECORDS_SLOT_BYTES);
			present[who] = what % 3 != 0;
			continue;
		}
		put_slot(slot, kept);
		memcpy(file, disk, sizeof(file));
		assert_true(records_open(&records, file));
		slot = records_grace_start(&records);
		put_slot(slot, RECORDS_SLOT_BYTES);
		if (!grace) {
			memcpy(before, present, sizeof(before));
			check(before, (int)who, seed);
			before[who] = may_reclaim(name);
		} else {
			check(before, -1, seed);
		}
		memset(present, 0, sizeof(present));
		grace = true;
	}
}

static void a_death_at_any_moment_loses_no_acknowledged_client(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 30; seed++)
		one_life(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nobody_may_reclaim_at_first, set_up),
		cmocka_unit_test_setup(who_was_there_may_reclaim_after_a_restart, set_up),
		cmocka_unit_test_setup(who_did_not_come_back_in_time_is_forgotten, set_up),
		cmocka_unit_test_setup(a_restart_during_grace_forgets_nobody, set_up),
		cmocka_unit_test_setup(names_are_any_bytes, set_up),
		cmocka_unit_test_setup(a_full_table_says_so_and_room_comes_back, set_up),
		cmocka_unit_test_setup(what_is_no_such_file_is_refused, set_up),
		cmocka_unit_test(a_death_at_any_moment_loses_no_acknowledged_client),
	};

	return cmocka_run_group_tests_name("NFS clients' records", tests, NULL, NULL);
}
