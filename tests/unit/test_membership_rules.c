/* Single rules of the membership, seen from inside: digests, who is told what. */
#include <string.h>

#include "src/cluster/step.h"
#include "tests/unit/membership_world.h"

/* Whatever one may know and another not, a digest shows. */
static void digests_show_every_difference(void **state)
{
	(void)state;
	struct world *w = new_world(20, 12);
	run(w, 5000);
	struct membership *m = &w->node[0].m;
	struct member *x = &m->member[3];
	const struct member kept = *x;
	uint64_t before = tell_digest(m, 0), second = tell_digest(m, 1);
	for (unsigned n = 0; n < 10; n++) {
		*x = kept;
		x->boot_id += n == 0;
		x->generation += n == 1;
		x->incarnation += n == 2;
		x->state = n == 3 ? MEMBER_DEAD : x->state;
		x->status.ready ^= n == 4;
		x->status.services = (uint16_t)(kept.status.services + (n == 5));
		x->status.services_ready = (uint16_t)(kept.status.services_ready + (n == 6));
		x->status.services_failed = (uint16_t)(kept.status.services_failed + (n == 7));
		x->tags_hash += n == 8;
		x->tags_missing ^= n == 9;
		if (tell_digest(m, 0) == before)
			fail_msg("difference %u does not show", n);
		assert_true(tell_digest(m, 1) == second);
	}
	*x = kept;
	assert_true(tell_digest(m, 0) == before);
	end_world(w);
}

static void hear(struct world *w, const struct membership_heartbeat *said, uint64_t later_ms,
		 struct membership_actions *actions)
{
	struct membership_event event = {.type = MEMBERSHIP_HEARTBEAT,
					 .from = 1,
					 .boot_id = w->node[1].boot,
					 .newest = true,
					 .heartbeat = said};
	uint64_t now_ms = world_clock_us(w, &w->node[0]) / WORLD_MS + later_ms;
	membership_step(&w->node[0].m, &event, now_ms, actions);
}

/* Of two segments that differ each gets its turn. */
static void each_segment_gets_its_turn(void **state)
{
	(void)state;
	static struct membership_actions actions;
	static struct membership_heartbeat said;
	struct world *w = new_world(20, 13);
	unsigned seen[2] = {0};
	run(w, 5000);
	said.digest_count = 2;
	for (uint16_t i = 0; i < 2; i++)
		said.digest[i] = (struct membership_digest){.segment = i,
							    .hash = tell_digest(&w->node[0].m, i)};
	hear(w, &said, 0, &actions);
	assert_int_equal(actions.count, 0);
	for (uint64_t n = 0; n < 40; n++) {
		said.digest[0].hash = said.digest[1].hash = n;
		hear(w, &said, n, &actions);
		assert_int_equal(actions.count, 1);
		assert_in_range(actions.action[0].segment, 0, 1);
		seen[actions.action[0].segment]++;
	}
	assert_true(seen[0] > 5 && seen[1] > 5);
	end_world(w);
}

/* Old accusations, again and again: the accuser is told better, but not each time. */
static void contradiction_is_no_storm(void **state)
{
	(void)state;
	static struct membership_actions actions;
	static struct membership_heartbeat said;
	struct world *w = new_world(6, 14);
	run(w, 3000);
	world_status(w, 2, (struct member_status){.ready = true}, NULL);
	run(w, 500);
	said.record_count = 1;
	said.record[0] = (struct membership_record){.index = 2,
						    .state = MEMBER_SUSPECT,
						    .heard_age_ms = MEMBERSHIP_AGE_NEVER,
						    .generation = 1,
						    .boot_id = w->node[2].boot};
	unsigned sent = 0;
	for (uint64_t n = 0; n < 300; n++) {
		hear(w, &said, n, &actions);
		sent += actions.count > 0;
	}
	assert_in_range(sent, 2, 3);
	end_world(w);
}

/* What was said last by one that is gone is the same on all, too. */
static void tags_of_the_dead_are_taken(void **state)
{
	(void)state;
	static struct membership_actions actions;
	static struct membership_heartbeat said;
	struct world *w = new_world(6, 15);
	run(w, 3000);
	world_kill(w, 2);
	run(w, 3000);
	const struct member *x = &w->node[0].member[2];
	assert_int_equal(x->state, MEMBER_DEAD);
	said.record_count = 1;
	said.text_bytes = 6;
	memcpy(said.text, "zone=z", 6);
	said.record[0] = (struct membership_record){.index = 2,
						    .state = MEMBER_DEAD,
						    .heard_age_ms = MEMBERSHIP_AGE_NEVER,
						    .generation = x->generation,
						    .incarnation = x->incarnation,
						    .boot_id = x->boot_id,
						    .tagged = true,
						    .tags_hash = membership_tags_hash("zone=z", 6),
						    .tags_bytes = 6};
	hear(w, &said, 0, &actions);
	assert_int_equal(w->node[0].tags[2].bytes, 6);
	assert_memory_equal(w->node[0].tags[2].text, "zone=z", 6);
	assert_int_equal(actions.action[0].change.what, MEMBER_CHANGE_UPDATED);
	end_world(w);
}

/* Who gets to run too seldom knows it by his own clock, and takes his time with the others. */
static void late_ticks_make_patient(void **state)
{
	(void)state;
	struct world *w = new_world(1, 16); /* with nobody to tell it */
	run(w, 3000);
	assert_int_equal(w->node[0].m.health, 0);
	world_starve(w, 0, 90, WORLD_SECOND);
	run(w, 10000);
	assert_true(w->node[0].m.health >= 3);
	assert_true(w->node[0].m.late_ticks >= 3);
	world_starve(w, 0, 0, 0);
	run(w, 12000);
	assert_int_equal(w->node[0].m.health, 0);
	end_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digests_show_every_difference),
		cmocka_unit_test(each_segment_gets_its_turn),
		cmocka_unit_test(contradiction_is_no_storm),
		cmocka_unit_test(tags_of_the_dead_are_taken),
		cmocka_unit_test(late_ticks_make_patient),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
