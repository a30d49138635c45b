/* The graph: who runs when. Lives are played here: GO leads to ready, STOP to idle, one step at a
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/service/graph.h"

#define MAX 12

/* data-like chain: disk <- drbd <- mount <- nfsd, and a log that all come after, and a bystander.
 */
enum { LOG, DISK, DRBD, MOUNT, NFSD, BYSTANDER, COUNT };

static struct graph_node node[MAX];
static struct graph_service service[MAX];
static uint16_t lists[MAX][3];

static void chain(void)
{
	memset(node, 0, sizeof(node));
	memset(service, 0, sizeof(service));
	static const uint16_t log_first[] = {LOG};
	for (size_t i = 0; i < COUNT; i++) {
		node[i].pool = -1;
		service[i].wanted = service[i].conditions_hold = true;
		if (i != LOG) {
			node[i].after = log_first;
			node[i].after_count = 1;
		}
		if (i >= DRBD && i <= NFSD) {
			lists[i][0] = (uint16_t)(i - 1);
			node[i].requires = lists[i];
			node[i].requires_count = 1;
		}
	}
}

/* Carries out one verdict a call, the first found: the slowest possible world. Returns its service,
 * -1 when nothing is to do. */
static int turn(size_t count)
{
	graph_decide(node, service, count);
	for (size_t i = 0; i < count; i++) {
		if (service[i].verdict == GRAPH_STAY)
			continue;
		service[i].life.state = service[i].verdict == GRAPH_GO ? LIFE_READY : LIFE_IDLE;
		return (int)i;
	}
	return -1;
}

static void expect_turns(const int *order, size_t turns)
{
	for (size_t i = 0; i < turns; i++)
		assert_int_equal(turn(COUNT), order[i]);
	assert_int_equal(turn(COUNT), -1);
}

static void all_start_behind_what_they_require(void **state)
{
	(void)state;
	chain();
	const int order[] = {LOG, DISK, DRBD, MOUNT, NFSD, BYSTANDER};
	expect_turns(order, 6);
}

static void shutdown_runs_from_the_dependents_down_and_the_log_goes_last(void **state)
{
	(void)state;
	all_start_behind_what_they_require(NULL);
	for (size_t i = 0; i < COUNT; i++)
		service[i].wanted = false;
	int seen[COUNT], n;
	for (n = 0; n < COUNT; n++)
		seen[n] = turn(COUNT);
	assert_int_equal(turn(COUNT), -1);
	/* Nobody's stop comes before that of those who need it; the exact order of strangers is
	 * free. */
	int at[COUNT];
	for (n = 0; n < COUNT; n++)
		at[seen[n]] = n;
	assert_true(at[NFSD] < at[MOUNT] && at[MOUNT] < at[DRBD] && at[DRBD] < at[DISK]);
	assert_int_equal(seen[COUNT - 1], LOG);
}

static void a_crash_takes_dependents_down_and_back_and_nobody_else(void **state)
{
	(void)state;
	all_start_behind_what_they_require(NULL);
	service[DRBD].life.state = LIFE_BACKOFF;
	const int down[] = {NFSD, MOUNT};
	expect_turns(down, 2);
	assert_int_equal(service[BYSTANDER].life.state, LIFE_READY);
	assert_int_equal(service[DISK].life.state, LIFE_READY);
	service[DRBD].life.state = LIFE_IDLE;
	const int up[] = {DRBD, MOUNT, NFSD};
	expect_turns(up, 3);
}

static void a_crashed_one_waits_for_its_dependents_to_be_gone(void **state)
{
	(void)state;
	all_start_behind_what_they_require(NULL);
	service[DRBD].life.state = LIFE_IDLE;	   /* crashed, backoff over */
	service[MOUNT].life.state = LIFE_STOPPING; /* hangs in its stop */
	service[NFSD].life.state = LIFE_IDLE;
	graph_decide(node, service, COUNT);
	assert_int_equal(service[DRBD].verdict, GRAPH_STAY);
	assert_int_equal(service[DRBD].block, GRAPH_DEPENDENT);
	assert_int_equal(service[DRBD].blocker, MOUNT);
	service[MOUNT].life.state = LIFE_IDLE;
	graph_decide(node, service, COUNT);
	assert_int_equal(service[DRBD].verdict, GRAPH_GO);
}

static void one_hung_service_delays_nobody_but_its_dependents(void **state)
{
	(void)state;
	chain();
	service[LOG].life.state = LIFE_READY;
	service[DISK].life.state = LIFE_STARTING; /* for ever */
	assert_int_equal(turn(COUNT), BYSTANDER);
	assert_int_equal(turn(COUNT), -1);
	assert_int_equal(service[DRBD].block, GRAPH_REQUIREMENT);
	assert_int_equal(service[DRBD].blocker, DISK);
}

static void order_waits_for_the_undecided_not_for_the_failed(void **state)
{
	(void)state;
	chain();
	service[LOG].life.state = LIFE_STARTING;
	assert_int_equal(turn(COUNT), -1);
	assert_int_equal(service[DISK].block, GRAPH_ORDER);
	service[LOG].life.state = LIFE_BACKOFF;
	assert_int_equal(turn(COUNT), DISK);
}

static void a_condition_that_does_not_hold_keeps_the_dependents_waiting(void **state)
{
	(void)state;
	chain();
	service[MOUNT].conditions_hold = false;
	const int order[] = {LOG, DISK, DRBD, BYSTANDER};
	expect_turns(order, 4);
	assert_int_equal(service[MOUNT].block, GRAPH_CONDITION);
	assert_int_equal(service[NFSD].block, GRAPH_REQUIREMENT);
	assert_int_equal(service[NFSD].blocker, MOUNT);
	service[MOUNT].conditions_hold = true;
	const int more[] = {MOUNT, NFSD};
	expect_turns(more, 2);
	service[MOUNT].conditions_hold = false; /* a lease that is lost */
	const int lost[] = {NFSD, MOUNT};
	expect_turns(lost, 2);
}

static void a_pool_is_ready_while_any_member_is(void **state)
{
	/* 0, 1: members; 2: the pool; 3: requires the pool */
	static const uint16_t pool[] = {2};

	(void)state;
	memset(node, 0, sizeof(node));
	memset(service, 0, sizeof(service));
	for (size_t i = 0; i < 4; i++) {
		node[i].pool = i < 2 ? 2 : -1;
		service[i].wanted = service[i].conditions_hold = true;
	}
	node[2].is_pool = true;
	node[3].requires = pool;
	node[3].requires_count = 1;
	while (turn(4) >= 0)
		;
	assert_int_equal(service[3].life.state, LIFE_READY);
	uint16_t found[MAX];
	assert_int_equal(graph_active_dependents(node, service, 4, 0, false, found, MAX), 0);
	service[0].life.state = LIFE_BACKOFF;
	assert_int_equal(turn(4), -1);
	assert_int_equal(graph_active_dependents(node, service, 4, 1, false, found, MAX), 1);
	assert_int_equal(found[0], 3);
	service[1].life.state = LIFE_BACKOFF;
	assert_int_equal(turn(4), 3);
	assert_int_equal(turn(4), 2);
	assert_int_equal(service[2].block, GRAPH_NO_MEMBER);
}

static void dependents_are_found_through_others(void **state)
{
	uint16_t found[MAX];

	(void)state;
	all_start_behind_what_they_require(NULL);
	assert_int_equal(graph_active_dependents(node, service, COUNT, DISK, false, found, MAX), 3);
	assert_int_equal(graph_active_dependents(node, service, COUNT, DISK, false, found, 1), 3);
	assert_int_equal(graph_active_dependents(node, service, COUNT, NFSD, false, found, MAX), 0);
	node[MOUNT].keeps = true;
	assert_int_equal(graph_active_dependents(node, service, COUNT, DISK, true, found, MAX), 1);
	assert_int_equal(graph_active_dependents(node, service, COUNT, DISK, false, found, MAX), 3);
}

/* Three that have nothing to do with each other. */
static void strangers(void)
{
	memset(node, 0, sizeof(node));
	memset(service, 0, sizeof(service));
	for (size_t i = 0; i < 3; i++) {
		node[i].pool = -1;
		service[i].wanted = service[i].conditions_hold = true;
		node[i].conflicts = lists[i];
	}
}

static void exclude(uint16_t a, uint16_t b)
{
	lists[a][node[a].conflicts_count++] = b;
	lists[b][node[b].conflicts_count++] = a;
}

static void of_two_that_exclude_each_other_the_earlier_runs(void **state)
{
	(void)state;
	strangers();
	exclude(0, 1);
	assert_int_equal(turn(3), 0);
	assert_int_equal(turn(3), 2);
	assert_int_equal(turn(3), -1);
	assert_int_equal(service[1].block, GRAPH_CONFLICT);
	service[0].life.state = LIFE_BACKOFF; /* it comes back */
	assert_int_equal(turn(3), -1);
	service[0].life.state = LIFE_FAILED;
	assert_int_equal(turn(3), 1);
}

/* A reload makes them exclude each other while both run. */
static void of_two_that_run_and_must_not_the_later_goes(void **state)
{
	(void)state;
	strangers();
	while (turn(3) >= 0)
		;
	exclude(0, 2);
	assert_int_equal(turn(3), 2);
	assert_int_equal(turn(3), -1);
	assert_int_equal(service[2].block, GRAPH_CONFLICT);
	assert_int_equal(service[0].life.state, LIFE_READY);
}

/* 1 cannot run beside 0; that must not keep 2, which 1 excludes, from running. */
static void who_is_excluded_excludes_nobody(void **state)
{
	(void)state;
	strangers();
	exclude(0, 1);
	exclude(1, 2);
	assert_int_equal(turn(3), 0);
	assert_int_equal(turn(3), 2);
	assert_int_equal(turn(3), -1);
}

/* 1 requires what has failed; 2 does not wait for it. */
static void who_cannot_run_excludes_nobody(void **state)
{
	static const uint16_t first[] = {0};

	(void)state;
	strangers();
	exclude(1, 2);
	node[1].requires = first;
	node[1].requires_count = 1;
	service[0].life.state = LIFE_STARTING;
	assert_int_equal(turn(3), -1);
	service[0].life.state = LIFE_FAILED;
	assert_int_equal(turn(3), 2);
}

/* On demand: its sockets are open, so who requires it stays, and it may listen again. */
static void one_on_demand_comes_back_under_its_dependents(void **state)
{
	static const uint16_t first[] = {0};

	(void)state;
	strangers();
	node[1].requires = first;
	node[1].requires_count = 1;
	service[1].life.state = LIFE_READY;
	service[0].life.state = LIFE_BACKOFF;
	service[0].life.stands = true;
	assert_int_equal(turn(3), 2);
	assert_int_equal(turn(3), -1);
	service[0].life.state = LIFE_IDLE;
	assert_int_equal(turn(3), 0);
	assert_int_equal(service[1].life.state, LIFE_READY);
}

static void one_on_demand_is_stopped_between_two_tries(void **state)
{
	(void)state;
	strangers();
	service[0].life.stands = true;
	service[0].wanted = false;
	graph_decide(node, service, 3);
	assert_int_equal(service[0].verdict, GRAPH_STOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_start_behind_what_they_require),
		cmocka_unit_test(shutdown_runs_from_the_dependents_down_and_the_log_goes_last),
		cmocka_unit_test(a_crash_takes_dependents_down_and_back_and_nobody_else),
		cmocka_unit_test(a_crashed_one_waits_for_its_dependents_to_be_gone),
		cmocka_unit_test(one_hung_service_delays_nobody_but_its_dependents),
		cmocka_unit_test(order_waits_for_the_undecided_not_for_the_failed),
		cmocka_unit_test(a_condition_that_does_not_hold_keeps_the_dependents_waiting),
		cmocka_unit_test(a_pool_is_ready_while_any_member_is),
		cmocka_unit_test(dependents_are_found_through_others),
		cmocka_unit_test(of_two_that_exclude_each_other_the_earlier_runs),
		cmocka_unit_test(of_two_that_run_and_must_not_the_later_goes),
		cmocka_unit_test(who_is_excluded_excludes_nobody),
		cmocka_unit_test(who_cannot_run_excludes_nobody),
		cmocka_unit_test(one_on_demand_comes_back_under_its_dependents),
		cmocka_unit_test(one_on_demand_is_stopped_between_two_tries),
	};
	return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
