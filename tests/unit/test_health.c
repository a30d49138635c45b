/* Health: each promise of health.h, by hand for the stories; then every short sequence of events
 * and many long random ones beside a model that only counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/service/health.h"

#define KILL	  HEALTH_DO_KILL_CHECK
#define RUN	  HEALTH_DO_RUN_CHECK
#define UNHEALTHY HEALTH_DO_UNHEALTHY

static const struct health_policy check_policy = {
	.has_check = true, .interval_ms = 1000, .timeout_ms = 300, .retries = 3};
static const struct health_policy watchdog_policy = {.watchdog_ms = 500};

struct story {
	enum health_event event;
	uint64_t at_ms;
	unsigned actions;
	enum health_state state;
	uint64_t deadline_ms;
};

static struct health tell(const struct health_policy *policy, const struct story *story,
			  size_t count)
{
	struct health health = {0};

	for (size_t i = 0; i < count; i++) {
		unsigned actions = health_step(&health, policy, story[i].event, story[i].at_ms);
		if (actions != story[i].actions || health.state != story[i].state ||
		    health.deadline_ms != story[i].deadline_ms)
			fail_msg("line %zu: actions %x, %s, deadline %llu; expected %x, %s, %llu",
				 i, actions, health_state_name(health.state),
				 (unsigned long long)health.deadline_ms, story[i].actions,
				 health_state_name(story[i].state),
				 (unsigned long long)story[i].deadline_ms);
	}
	return health;
}

#define TELL(policy, ...)                                               \
	({                                                              \
		static const struct story told[] = {__VA_ARGS__};       \
		tell((policy), told, sizeof(told) / sizeof((told)[0])); \
	})

static void a_well_service_is_checked_for_ever(void **state)
{
	(void)state;
	TELL(&check_policy, {HEALTH_STARTED, 0, 0, HEALTH_OFF, 0},
	     {HEALTH_READY, 10, 0, HEALTH_WAITING, 1010},
	     {HEALTH_TIMER, 1009, 0, HEALTH_WAITING, 1010},
	     {HEALTH_TIMER, 1010, RUN, HEALTH_CHECKING, 1310},
	     {HEALTH_CHECK_OK, 1020, 0, HEALTH_WAITING, 2020},
	     {HEALTH_TIMER, 2021, RUN, HEALTH_CHECKING, 2321},
	     {HEALTH_CHECK_OK, 2022, 0, HEALTH_WAITING, 3022},
	     {HEALTH_NOT_READY, 2500, 0, HEALTH_OFF, 0}, {HEALTH_TIMER, 9000, 0, HEALTH_OFF, 0});
}

static void three_failures_in_a_row_make_it_unhealthy(void **state)
{
	(void)state;
	struct health health = TELL(&check_policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
				    {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
				    {HEALTH_CHECK_BAD, 1000, 0, HEALTH_WAITING, 2000},
				    {HEALTH_TIMER, 2000, RUN, HEALTH_CHECKING, 2300},
				    {HEALTH_CHECK_BAD, 2000, 0, HEALTH_WAITING, 3000},
				    {HEALTH_TIMER, 3000, RUN, HEALTH_CHECKING, 3300},
				    {HEALTH_CHECK_BAD, 3000, UNHEALTHY, HEALTH_OFF, 0},
				    {HEALTH_TIMER, 4000, 0, HEALTH_OFF, 0});
	assert_int_equal(health.cause, HEALTH_CHECKS_FAILED);
	assert_int_equal(health.failures, 3);
}

static void a_success_forgives_failures(void **state)
{
	(void)state;
	struct health health = TELL(&check_policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
				    {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
				    {HEALTH_CHECK_BAD, 1000, 0, HEALTH_WAITING, 2000},
				    {HEALTH_TIMER, 2000, RUN, HEALTH_CHECKING, 2300},
				    {HEALTH_CHECK_BAD, 2000, 0, HEALTH_WAITING, 3000},
				    {HEALTH_TIMER, 3000, RUN, HEALTH_CHECKING, 3300},
				    {HEALTH_CHECK_OK, 3000, 0, HEALTH_WAITING, 4000},
				    {HEALTH_TIMER, 4000, RUN, HEALTH_CHECKING, 4300},
				    {HEALTH_CHECK_BAD, 4000, 0, HEALTH_WAITING, 5000});
	assert_int_equal(health.failures, 1);
}

static void a_check_that_hangs_is_killed_and_counts(void **state)
{
	(void)state;
	struct health health =
		TELL(&check_policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
		     {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
		     {HEALTH_TIMER, 1300, KILL, HEALTH_KILLING, 1600},
		     {HEALTH_CHECK_BAD, 1305, 0, HEALTH_WAITING, 2305}); /* counted already */
	assert_int_equal(health.failures, 1);
}

/* In a system call that nothing interrupts, such as on a dead NFS server: that the check cannot be
 * ended must not save the service from what the check would find. */
static void a_check_that_cannot_be_killed_counts_again(void **state)
{
	(void)state;
	TELL(&check_policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
	     {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
	     {HEALTH_TIMER, 1300, KILL, HEALTH_KILLING, 1600},
	     {HEALTH_TIMER, 1600, KILL, HEALTH_KILLING, 1900},
	     {HEALTH_TIMER, 1900, KILL | UNHEALTHY, HEALTH_LEAVING, 0},
	     {HEALTH_STARTED, 2000, 0, HEALTH_LEAVING, 0},
	     {HEALTH_READY, 2500, 0, HEALTH_KILLING, 2800}, /* no second one beside it */
	     {HEALTH_CHECK_BAD, 2600, 0, HEALTH_WAITING, 3600});
}

static void what_a_killed_check_says_counts_for_nothing(void **state)
{
	(void)state;
	struct health health = TELL(&check_policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
				    {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
				    {HEALTH_TIMER, 1300, KILL, HEALTH_KILLING, 1600},
				    {HEALTH_CHECK_OK, 1301, 0, HEALTH_WAITING, 2301});
	assert_int_equal(health.failures, 1);
}

static void a_check_that_could_not_be_run_says_nothing(void **state)
{
	(void)state;
	struct health health = TELL(&check_policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
				    {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
				    {HEALTH_CHECK_BAD, 1000, 0, HEALTH_WAITING, 2000},
				    {HEALTH_TIMER, 2000, RUN, HEALTH_CHECKING, 2300},
				    {HEALTH_CHECK_LOST, 2000, 0, HEALTH_WAITING, 3000});
	assert_int_equal(health.failures, 1);
}

static void failures_of_the_start_period_do_not_count(void **state)
{
	(void)state;
	struct health_policy policy = check_policy;

	policy.start_period_ms = 2500;
	policy.retries = 1;
	TELL(&policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
	     {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
	     {HEALTH_CHECK_BAD, 1000, 0, HEALTH_WAITING, 2000},
	     {HEALTH_TIMER, 2000, RUN, HEALTH_CHECKING, 2300},
	     {HEALTH_TIMER, 2300, KILL, HEALTH_KILLING, 2600},
	     {HEALTH_CHECK_BAD, 2301, 0, HEALTH_WAITING, 3301},
	     {HEALTH_TIMER, 3301, RUN, HEALTH_CHECKING, 3601},
	     {HEALTH_CHECK_BAD, 3302, UNHEALTHY, HEALTH_OFF, 0});
}

static void a_success_ends_the_start_period(void **state)
{
	(void)state;
	struct health_policy policy = check_policy;

	policy.start_period_ms = 60000;
	policy.retries = 1;
	TELL(&policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
	     {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
	     {HEALTH_CHECK_OK, 1000, 0, HEALTH_WAITING, 2000},
	     {HEALTH_TIMER, 2000, RUN, HEALTH_CHECKING, 2300},
	     {HEALTH_CHECK_BAD, 2000, UNHEALTHY, HEALTH_OFF, 0});
}

static void a_check_of_a_service_that_stops_is_killed(void **state)
{
	(void)state;
	TELL(&check_policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
	     {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
	     {HEALTH_NOT_READY, 1100, KILL, HEALTH_LEAVING, 0},
	     {HEALTH_TIMER, 5000, 0, HEALTH_LEAVING, 0},
	     {HEALTH_CHECK_BAD, 5001, 0, HEALTH_OFF, 0});
}

static void a_missed_ping_makes_it_unhealthy(void **state)
{
	(void)state;
	struct health health = TELL(
		&watchdog_policy, {HEALTH_STARTED, 0, 0, HEALTH_OFF, 0},
		{HEALTH_PING, 0, 0, HEALTH_OFF, 0}, {HEALTH_READY, 100, 0, HEALTH_WAITING, 600},
		{HEALTH_PING, 400, 0, HEALTH_WAITING, 900},
		{HEALTH_TIMER, 600, 0, HEALTH_WAITING, 900},
		{HEALTH_TIMER, 900, UNHEALTHY, HEALTH_OFF, 0}, {HEALTH_PING, 901, 0, HEALTH_OFF, 0},
		{HEALTH_TIMER, 2000, 0, HEALTH_OFF, 0});
	assert_int_equal(health.cause, HEALTH_NO_PING);
	health_step(&health, &watchdog_policy, HEALTH_READY, 3000);
	assert_int_equal(health.cause, HEALTH_FINE);
}

/* After a suspend nobody has run for hours, and the pings wait behind the timer. */
static void who_overslept_blames_nobody(void **state)
{
	(void)state;
	TELL(&watchdog_policy, {HEALTH_STARTED, 0, 0, HEALTH_OFF, 0},
	     {HEALTH_READY, 100, 0, HEALTH_WAITING, 600},
	     {HEALTH_TIMER, 3600000, 0, HEALTH_WAITING, 3600500},
	     {HEALTH_TIMER, 3600999, UNHEALTHY, HEALTH_OFF, 0});
	TELL(&watchdog_policy, {HEALTH_STARTED, 0, 0, HEALTH_OFF, 0},
	     {HEALTH_READY, 100, 0, HEALTH_WAITING, 600},
	     {HEALTH_TIMER, 1099, UNHEALTHY, HEALTH_OFF, 0});
	TELL(&watchdog_policy, {HEALTH_STARTED, 0, 0, HEALTH_OFF, 0},
	     {HEALTH_READY, 100, 0, HEALTH_WAITING, 600},
	     {HEALTH_TIMER, 1100, 0, HEALTH_WAITING, 1600});
}

static void a_service_may_ask_for_it(void **state)
{
	(void)state;
	struct health health = TELL(&check_policy, {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
				    {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1300},
				    {HEALTH_TRIGGER, 1100, KILL | UNHEALTHY, HEALTH_LEAVING, 0},
				    {HEALTH_CHECK_OK, 1200, 0, HEALTH_OFF, 0});
	assert_int_equal(health.cause, HEALTH_TRIGGERED);
}

static void a_service_sets_its_own_watchdog_for_one_run(void **state)
{
	struct health health = {0};

	(void)state;
	health_step(&health, &watchdog_policy, HEALTH_STARTED, 0);
	health_set_watchdog(&health, &watchdog_policy, 2000, 10); /* before it is ready */
	assert_int_equal(health.deadline_ms, 0);
	health_step(&health, &watchdog_policy, HEALTH_READY, 100);
	assert_int_equal(health.deadline_ms, 2100);
	health_set_watchdog(&health, &watchdog_policy, 50, 200);
	assert_int_equal(health.deadline_ms, 250);
	health_set_watchdog(&health, &watchdog_policy, 0, 220);
	assert_int_equal(health.deadline_ms, 0);
	health_step(&health, &watchdog_policy, HEALTH_NOT_READY, 300);
	health_step(&health, &watchdog_policy, HEALTH_READY, 400); /* back from a reload */
	assert_int_equal(health.deadline_ms, 0);
	health_step(&health, &watchdog_policy, HEALTH_NOT_READY, 500);
	health_step(&health, &watchdog_policy, HEALTH_STARTED, 600);
	health_step(&health, &watchdog_policy, HEALTH_READY, 700);
	assert_int_equal(health.deadline_ms, 1200);
}

static void the_earlier_deadline_counts(void **state)
{
	(void)state;
	struct health_policy policy = check_policy;

	policy.watchdog_ms = 1100;
	TELL(&policy, {HEALTH_STARTED, 0, 0, HEALTH_OFF, 0},
	     {HEALTH_READY, 0, 0, HEALTH_WAITING, 1000},
	     {HEALTH_TIMER, 1000, RUN, HEALTH_CHECKING, 1100},
	     {HEALTH_PING, 1050, 0, HEALTH_CHECKING, 1300},
	     {HEALTH_CHECK_OK, 1060, 0, HEALTH_WAITING, 2060},
	     {HEALTH_TIMER, 2060, RUN, HEALTH_CHECKING, 2150},
	     {HEALTH_TIMER, 2150, KILL | UNHEALTHY, HEALTH_LEAVING, 0});
}

static void a_service_without_check_and_watchdog_wakes_nobody(void **state)
{
	static const struct health_policy none = {.interval_ms = 1000, .timeout_ms = 100};

	(void)state;
	TELL(&none, {HEALTH_STARTED, 0, 0, HEALTH_OFF, 0}, {HEALTH_READY, 0, 0, HEALTH_WAITING, 0},
	     {HEALTH_PING, 5, 0, HEALTH_WAITING, 0}, {HEALTH_TIMER, 99999, 0, HEALTH_WAITING, 0});
}

/* The promises again, as one who only counts sees them. */
struct model {
	bool watched, check_there, check_killed;
	uint32_t failures, watchdog_ms;
	uint64_t lenient_ms, check_since_ms, next_check_ms, pinged_ms;
	unsigned long unhealthy, runs, kills;
};

static bool model_counts(struct model *m, const struct health_policy *policy, uint64_t now_ms)
{
	if (now_ms < m->lenient_ms)
		return false;
	m->failures++;
	return m->failures >= policy->retries;
}

static bool model_missed(const struct model *m, uint64_t now_ms)
{
	return m->watched && m->watchdog_ms && now_ms >= m->pinged_ms + m->watchdog_ms;
}

static bool model_overslept(const struct model *m, uint64_t now_ms)
{
	return model_missed(m, now_ms) && now_ms >= m->pinged_ms + 2 * (uint64_t)m->watchdog_ms;
}

/* What the machine has to do; also keeps the count. */
static unsigned model_step(struct model *m, const struct health_policy *policy,
			   enum health_event event, uint64_t now_ms)
{
	bool bad = false;
	unsigned expected = 0;

	switch (event) {
	case HEALTH_STARTED:
		if (!m->watched)
			m->watchdog_ms = policy->watchdog_ms;
		break;
	case HEALTH_READY:
		if (m->watched)
			break;
		m->watched = true;
		m->failures = 0;
		m->pinged_ms = m->check_since_ms = now_ms;
		m->next_check_ms = now_ms + policy->interval_ms;
		m->lenient_ms = now_ms + policy->start_period_ms;
		break;
	case HEALTH_NOT_READY:
		if (m->watched && m->check_there && !m->check_killed)
			expected |= KILL;
		m->watched = false;
		break;
	case HEALTH_CHECK_OK:
	case HEALTH_CHECK_BAD:
	case HEALTH_CHECK_LOST:
		m->check_there = false;
		m->next_check_ms = now_ms + policy->interval_ms;
		if (!m->watched || m->check_killed)
			break;
		if (event == HEALTH_CHECK_OK)
			m->failures = 0, m->lenient_ms = 0;
		else if (event == HEALTH_CHECK_BAD)
			bad = model_counts(m, policy, now_ms);
		break;
	case HEALTH_PING:
	case HEALTH_SET_WATCHDOG:
		m->pinged_ms = now_ms;
		break;
	case HEALTH_TRIGGER:
		bad = m->watched;
		break;
	default: /* TIMER */
		if (model_overslept(m, now_ms)) {
			m->pinged_ms = now_ms;
		} else if (model_missed(m, now_ms)) {
			bad = true;
		} else if (m->watched && m->check_there) {
			if (now_ms < m->check_since_ms + policy->timeout_ms)
				break;
			m->check_since_ms = now_ms;
			expected |= KILL;
			m->check_killed = true;
			bad = model_counts(m, policy, now_ms);
		} else if (m->watched && policy->has_check && now_ms >= m->next_check_ms) {
			expected |= RUN;
		}
	}
	if (bad) {
		m->watched = false;
		expected |= UNHEALTHY;
		if (m->check_there && !m->check_killed)
			expected |= KILL;
	}
	return expected;
}

static void obey(struct model *m, unsigned actions, uint64_t now_ms)
{
	if (actions & KILL) {
		assert_true(m->check_there);
		m->check_killed = true;
		m->kills++;
	}
	if (actions & RUN) {
		assert_false(m->check_there);
		assert_true(m->watched);
		m->check_there = true;
		m->check_killed = false;
		m->check_since_ms = now_ms;
		m->runs++;
	}
	m->unhealthy += (actions & UNHEALTHY) != 0;
}

static uint64_t model_deadline(const struct model *m, const struct health_policy *policy)
{
	if (!m->watched)
		return 0;
	uint64_t check_ms = m->check_there	? m->check_since_ms + policy->timeout_ms
			    : policy->has_check ? m->next_check_ms
						: UINT64_MAX;
	uint64_t ping_ms = m->watchdog_ms ? m->pinged_ms + m->watchdog_ms : UINT64_MAX;
	uint64_t first_ms = check_ms < ping_ms ? check_ms : ping_ms;
	return first_ms == UINT64_MAX ? 0 : first_ms;
}

static bool possible(const struct model *m, enum health_event event)
{
	return m->check_there || (event != HEALTH_CHECK_OK && event != HEALTH_CHECK_BAD &&
				  event != HEALTH_CHECK_LOST);
}

/* One event to both. The text of a failure is enough to tell it again. */
static void both(struct health *health, struct model *m, const struct health_policy *policy,
		 enum health_event event, uint32_t watchdog_ms, uint64_t now_ms)
{
	struct health before = *health;
	unsigned actions = 0;

	unsigned expected;
	if (event == HEALTH_SET_WATCHDOG) {
		m->watchdog_ms = watchdog_ms;
		expected = model_step(m, policy, event, now_ms);
		health_set_watchdog(health, policy, watchdog_ms, now_ms);
	} else {
		expected = model_step(m, policy, event, now_ms);
		actions = health_step(health, policy, event, now_ms);
	}
	obey(m, actions, now_ms);
	if (actions != expected || health->deadline_ms != model_deadline(m, policy) ||
	    health_has_check(health) != m->check_there ||
	    (m->watched && health->failures != m->failures))
		fail_msg("%s, event %d at %llu: actions %x, %s, deadline %llu, failures %u; "
			 "expected %x, deadline %llu, failures %u",
			 health_state_name(before.state), event, (unsigned long long)now_ms,
			 actions, health_state_name(health->state),
			 (unsigned long long)health->deadline_ms, health->failures, expected,
			 (unsigned long long)model_deadline(m, policy), m->failures);
}

/* All that can come in from outside: every event but the machine's own two. */
#define OUTSIDE (HEALTH_TIMER + 1)

static unsigned long sequences;

static void explore(struct health health, struct model m, const struct health_policy *policy,
		    uint64_t now_ms, int depth)
{
	sequences++;
	if (depth == 0)
		return;
	for (int event = 0; event < OUTSIDE; event++) {
		struct health next = health;
		struct model next_m = m;
		/* At once, and, for the timer, when it is due. */
		uint64_t then_ms = event == HEALTH_TIMER && health.deadline_ms > now_ms
					   ? health.deadline_ms
					   : now_ms;
		if (!possible(&m, (enum health_event)event))
			continue;
		both(&next, &next_m, policy, (enum health_event)event, 40, then_ms);
		explore(next, next_m, policy, then_ms, depth - 1);
	}
}

static void every_short_sequence_keeps_the_promises(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 8; variant++) {
		struct health_policy policy = {
			.has_check = variant & 1,
			.interval_ms = 10,
			.timeout_ms = 5,
			.retries = variant & 2 ? 2 : 1,
			.start_period_ms = variant & 4 ? 20 : 0,
			.watchdog_ms = 30,
		};
		explore((struct health){0}, (struct model){0}, &policy, 1000, 6);
	}
	print_message("%lu sequences of up to 6 events\n", sequences);
}

static void long_random_sequences_keep_the_promises(void **state)
{
	unsigned long unhealthy = 0, runs = 0, kills = 0;

	(void)state;
	for (unsigned seed = 1; seed <= 20000; seed++) {
		struct health_policy policy = {
			.has_check = seed % 4 != 0,
			.interval_ms = 1 + seed % 1000,
			.timeout_ms = 1 + seed / 3 % 500,
			.retries = 1 + seed % 5,
			.start_period_ms = seed % 3 ? 0 : 5000,
			.watchdog_ms = seed % 2 ? 0 : 1 + seed % 3000,
		};
		struct health health = {0};
		struct model m = {0};
		uint64_t now_ms = 1;
		unsigned random = seed * 2654435761u;

		for (int i = 0; i < 300; i++) {
			random = random * 1664525u + 1013904223u;
			unsigned choice = random >> 20;
			enum health_event event = (enum health_event)(choice % OUTSIDE);
			/* NOT_READY and TRIGGER more seldom, else no check ever runs. */
			if ((event == HEALTH_NOT_READY || event == HEALTH_TRIGGER) && choice & 1024)
				event = HEALTH_TIMER;
			if (event == HEALTH_TIMER && choice & 512 && health.deadline_ms > now_ms)
				now_ms = health.deadline_ms;
			else
				now_ms += random >> 8 & 255;
			if (possible(&m, event))
				both(&health, &m, &policy, event, choice & 1023, now_ms);
		}
		unhealthy += m.unhealthy;
		runs += m.runs;
		kills += m.kills;
	}
	/* They went somewhere. */
	assert_true(unhealthy > 20000 && runs > 100000 && kills > 20000);
}

/* Whatever came before: if no check ever succeeds, it is found unhealthy in time that the policy
 * gives. */
static void a_service_that_never_answers_is_found_out_in_time(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 2000; seed++) {
		struct health_policy policy = check_policy;
		struct health health = {0};
		struct model m = {0};
		unsigned random = seed * 2654435761u;
		uint64_t now_ms = 7;

		policy.start_period_ms = seed % 2 ? 0 : 3000;
		both(&health, &m, &policy, HEALTH_READY, 0, now_ms);
		uint64_t last_ms = now_ms + policy.start_period_ms +
				   (policy.retries + 1) * (policy.interval_ms + policy.timeout_ms);
		while (m.unhealthy == 0) {
			random = random * 1664525u + 1013904223u;
			bool ends = m.check_there && random >> 30; /* by itself, or killed */
			if (!ends)
				now_ms = health.deadline_ms;
			both(&health, &m, &policy, ends ? HEALTH_CHECK_BAD : HEALTH_TIMER, 0,
			     now_ms);
			assert_true(now_ms <= last_ms);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_well_service_is_checked_for_ever),
		cmocka_unit_test(three_failures_in_a_row_make_it_unhealthy),
		cmocka_unit_test(a_success_forgives_failures),
		cmocka_unit_test(a_check_that_hangs_is_killed_and_counts),
		cmocka_unit_test(a_check_that_cannot_be_killed_counts_again),
		cmocka_unit_test(what_a_killed_check_says_counts_for_nothing),
		cmocka_unit_test(a_check_that_could_not_be_run_says_nothing),
		cmocka_unit_test(failures_of_the_start_period_do_not_count),
		cmocka_unit_test(a_success_ends_the_start_period),
		cmocka_unit_test(a_check_of_a_service_that_stops_is_killed),
		cmocka_unit_test(a_missed_ping_makes_it_unhealthy),
		cmocka_unit_test(who_overslept_blames_nobody),
		cmocka_unit_test(a_service_may_ask_for_it),
		cmocka_unit_test(a_service_sets_its_own_watchdog_for_one_run),
		cmocka_unit_test(the_earlier_deadline_counts),
		cmocka_unit_test(a_service_without_check_and_watchdog_wakes_nobody),
		cmocka_unit_test(every_short_sequence_keeps_the_promises),
		cmocka_unit_test(long_random_sequences_keep_the_promises),
		cmocka_unit_test(a_service_that_never_answers_is_found_out_in_time),
	};
	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
