/* What packets tell about the way: age, round trip, loss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/gossip/link.h"

#define START 5000000u

/* From `from` to `to` in `way_us`; the other clock is `ahead_us` in front. */
static uint32_t pass(struct link *from, struct link *to, uint64_t now, uint64_t way_us,
		     uint64_t ahead_us)
{
	struct wire_timing timing;
	link_stamp(from, now, &timing);
	return link_take(to, &timing, true, now + way_us + ahead_us);
}

static void round_trips(void **state)
{
	(void)state;
	const uint64_t ahead = 77777777;
	struct link a = {0}, b = {0};
	link_begin(&a, START);
	link_begin(&b, START + ahead);
	/* In a young session a packet without an echo counts as new, later it counts as nothing. */
	assert_int_equal(pass(&a, &b, START, 3000, ahead), 0);
	assert_int_equal(b.rtt_us, 0);
	/* b answers 40 ms later; 5 ms there and back: 40 + 3 + 2 old at most */
	uint32_t age = link_loss_permille(&a);
	struct wire_timing timing;
	link_stamp(&b, START + ahead + 43000, &timing);
	assert_int_equal(timing.held_us, 40000);
	age = link_take(&a, &timing, true, START + 45000);
	assert_int_equal(age, 45);
	assert_int_equal(a.rtt_us, 5000);
	assert_int_equal(a.rtt_min_us, 5000);
	/* Smoothed by an eighth. */
	pass(&a, &b, START + 100000, 1000, ahead);
	link_stamp(&b, START + ahead + 101000, &timing);
	link_take(&a, &timing, true, START + 114000);
	assert_int_equal(a.rtt_last_us, 13000 + 1000);
	assert_int_equal(a.rtt_us, 5000 - 5000 / 8 + 14000 / 8);
	assert_int_equal(a.rtt_min_us, 5000);
	/* No echo, old session. */
	struct link c = {0};
	link_begin(&c, 1);
	link_stamp(&c, START, &timing);
	assert_int_equal(link_take(&a, &timing, true, START + 2000000), LINK_AGE_UNKNOWN);
}

/* Stamps are the low 32 bits of a clock. */
static void stamps_wrap(void **state)
{
	(void)state;
	const uint64_t edge = 0x1fffffff0u;
	struct link a = {0}, b = {0};
	link_begin(&a, edge);
	link_begin(&b, edge);
	pass(&a, &b, edge, 100, 0);
	assert_int_equal(pass(&b, &a, edge + 1000, 100, 0), 1);
	assert_int_equal(a.rtt_us, 200);
}

static void give(struct link *link, uint16_t number, bool newest)
{
	struct wire_timing timing = {.held_us = UINT32_MAX, .number = number, .numbered = true};
	link_take(link, &timing, newest, START);
}

static void losses(void **state)
{
	(void)state;
	struct link link = {0};
	link_begin(&link, START);
	assert_int_equal(link_loss_permille(&link), 0);
	/* Numbers wrap; three are missing, one of them comes late. */
	for (unsigned n = 0; n < 20; n++) {
		uint16_t number = (uint16_t)(65530u + n);
		if (n != 5 && n != 9 && n != 10)
			give(&link, number, true);
	}
	assert_int_equal(link.missed, 3);
	assert_int_equal(link.received, 17);
	assert_int_equal(link_loss_permille(&link), 150);
	give(&link, (uint16_t)(65530u + 9), false);
	assert_int_equal(link.missed, 2);
	assert_int_equal(link_loss_permille(&link), 100);
	/* The window forgets. */
	for (unsigned n = 20; n < 100; n++)
		give(&link, (uint16_t)(65530u + n), true);
	assert_int_equal(link_loss_permille(&link), 0);
	/* Every second one. */
	for (unsigned n = 100; n < 300; n += 2)
		give(&link, (uint16_t)(65530u + n), true);
	assert_in_range(link_loss_permille(&link), 490, 510);
	/* A long silence, all lost. */
	give(&link, (uint16_t)(65530u + 1000), true);
	assert_in_range(link_loss_permille(&link), 980, 999);
	/* Another session counts anew; what was missed stays. */
	uint64_t missed = link.missed;
	link_begin(&link, START);
	give(&link, 1, true);
	assert_int_equal(link.missed, missed);
	assert_int_equal(link_loss_permille(&link), 0);
	/* Those who do not number their packets lose none that we know of. */
	struct wire_timing timing = {.held_us = UINT32_MAX};
	link_take(&link, &timing, true, START);
	assert_int_equal(link_loss_permille(&link), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(stamps_wrap),
		cmocka_unit_test(losses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
