/*
 * The view machine under random schedules: two nodes, a connection that breaks and comes back,
 * messages that are late, reboots that lose everything. The prototype of this code once let a node
 * start a lockspace alone for 1.5 ms beside a running peer, because of a stale wish; these
 * schedules find that kind of error in seconds.
 *
 * Safety, after each single step: two kernels never run a lockspace with different members.
 * Liveness: when the faults stop, the members are exactly those that want to be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/dlm/view.h"

#define QUEUE_MAX 512
#define SCHEDULES 3000
#define STEPS	  400

enum kernel { KERNEL_OUT, KERNEL_JOINING, KERNEL_IN, KERNEL_LEAVING };

struct packet {
	bool confirm; /* the first of a connection, with the boot id */
	unsigned boot;
	struct view view;
	bool want, halted;
};

struct node {
	struct view_machine machine;
	unsigned boot, peer_boot; /* peer_boot 0: never met */
	enum kernel kernel;
	bool running;
	uint8_t members;
	bool linked; /* its end of the connection is up, the machine may not know it yet */
	struct packet in[QUEUE_MAX];
	size_t in_first, in_count;
};

struct world {
	struct node node[2];
	uint64_t random;
	unsigned next_boot;
	unsigned joins, deaths;
};

static uint32_t roll(struct world *w, uint32_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (uint32_t)(w->random >> 33) % n;
}

static void post(struct world *w, int to, struct packet packet)
{
	struct node *n = &w->node[to];
	if (!n->linked)
		return; /* lost with the connection */
	assert_true(n->in_count < QUEUE_MAX);
	n->in[(n->in_first + n->in_count++) % QUEUE_MAX] = packet;
}

static void perform(struct world *w, int at, const struct view_actions *actions)
{
	struct node *n = &w->node[at];

	assert_true(actions->count < VIEW_ACTIONS_MAX);
	for (size_t i = 0; i < actions->count; i++) {
		switch (actions->action[i].what) {
		case VIEW_DO_STOP:
			assert_true(n->running);
			n->running = false;
			break;
		case VIEW_DO_START:
			assert_true(n->kernel != KERNEL_OUT);
			assert_false(n->running);
			assert_true(actions->action[i].members & n->machine.self);
			n->running = true;
			n->members = actions->action[i].members;
			break;
		case VIEW_DO_JOINED:
			assert_int_equal(n->kernel, KERNEL_JOINING);
			n->kernel = KERNEL_IN;
			w->joins++;
			break;
		case VIEW_DO_LEFT:
			assert_int_equal(n->kernel, KERNEL_LEAVING);
			n->kernel = KERNEL_OUT;
			n->running = false;
			n->members = 0;
			break;
		case VIEW_DO_SEND:
			if (n->machine.connected)
				post(w, !at,
				     (struct packet){.view = n->machine.view,
						     .want = n->machine.want,
						     .halted = view_is_halted(&n->machine)});
			break;
		case VIEW_DO_FORGET_PEER:
			assert_false(n->running);
			w->deaths++;
			break;
		case VIEW_DO_EXCLUDED:
		case VIEW_DO_BREAK:
			fail_msg("node %d: a view that cannot be (action %d)", at,
				 (int)actions->action[i].what);
		}
	}
}

static void boot(struct world *w, int at)
{
	struct node *n = &w->node[at];

	memset(n, 0, sizeof(*n));
	n->boot = ++w->next_boot;
	view_init(&n->machine, at == 0 ? VIEW_LOW : VIEW_HIGH, at == 0 ? VIEW_HIGH : VIEW_LOW);
}

static void unlink_end(struct world *w, int at);

/* The control process ends and is started again: the kernel halts, what was saved comes back. */
static void restart_process(struct world *w, int at)
{
	struct node *n = &w->node[at];
	struct view_actions actions = {0};
	const struct view_machine saved = n->machine;

	unlink_end(w, at);
	/* What disconnection made it do was done and saved, too; or not, if it ended before. */
	const struct view_machine last =
		roll(w, 2) && n->machine.view.number == saved.view.number ? saved : n->machine;
	n->running = false;
	view_init(&n->machine, last.self, last.peer);
	view_resume(&n->machine, &last.view, last.want);
	assert_int_equal(n->machine.member, n->kernel == KERNEL_IN || n->kernel == KERNEL_LEAVING);
	view_disconnected(&n->machine, &actions);
	perform(w, at, &actions);
}

/* This end notices that the connection is over. */
static void unlink_end(struct world *w, int at)
{
	struct view_actions actions = {0};
	struct node *n = &w->node[at];

	n->linked = false;
	n->in_count = 0;
	if (n->machine.connected)
		view_disconnected(&n->machine, &actions);
	perform(w, at, &actions);
}

static void link_both(struct world *w)
{
	for (int at = 0; at < 2; at++)
		unlink_end(w, at);
	for (int at = 0; at < 2; at++)
		w->node[at].linked = true;
	for (int at = 0; at < 2; at++)
		post(w, at, (struct packet){.confirm = true, .boot = w->node[!at].boot});
}

static void deliver(struct world *w, int at)
{
	struct node *n = &w->node[at];
	struct view_actions actions = {0};

	if (!n->linked || n->in_count == 0)
		return;
	const struct packet packet = n->in[n->in_first];
	n->in_first = (n->in_first + 1) % QUEUE_MAX;
	n->in_count--;
	if (packet.confirm) {
		if (n->peer_boot != 0 && n->peer_boot != packet.boot) {
			view_peer_dead(&n->machine, &actions);
			perform(w, at, &actions);
			actions.count = 0;
		}
		n->peer_boot = packet.boot;
		view_connected(&n->machine, &actions);
	} else {
		view_shown(&n->machine, &packet.view, packet.want, packet.halted, &actions);
	}
	perform(w, at, &actions);
}

static void kernel_wish(struct world *w, int at, bool in)
{
	struct node *n = &w->node[at];
	struct view_actions actions = {0};

	if (in ? n->kernel != KERNEL_OUT : n->kernel != KERNEL_IN)
		return;
	n->kernel = in ? KERNEL_JOINING : KERNEL_LEAVING;
	view_want(&n->machine, in, &actions);
	perform(w, at, &actions);
}

static void check_safety(const struct world *w)
{
	const struct node *a = &w->node[0], *b = &w->node[1];

	for (int at = 0; at < 2; at++) {
		const struct node *n = &w->node[at];
		assert_int_equal(n->running, n->machine.running);
	}
	if (a->running && b->running) {
		assert_int_equal(a->members, VIEW_LOW | VIEW_HIGH);
		assert_int_equal(b->members, VIEW_LOW | VIEW_HIGH);
		assert_int_equal(a->machine.view.number, b->machine.view.number);
	}
}

static void random_step(struct world *w)
{
	const int at = (int)roll(w, 2);

	switch (roll(w, 16)) {
	case 0:
		if (roll(w, 4) == 0) { /* a reboot: the other end learns of it later */
			boot(w, at);
			break;
		}
		/* fall through */
	case 1:
		unlink_end(w, at);
		break;
	case 2:
		link_both(w);
		break;
	case 3:
		if (roll(w, 4) == 0) {
			restart_process(w, at);
			break;
		}
		/* fall through */
	case 4:
		kernel_wish(w, at, true);
		break;
	case 5:
		kernel_wish(w, at, false);
		break;
	default:
		deliver(w, at);
	}
	check_safety(w);
}

static void settle(struct world *w)
{
	link_both(w);
	for (int i = 0; i < 2000; i++) {
		deliver(w, (int)roll(w, 2));
		check_safety(w);
	}
	uint8_t wanted = 0;
	for (int at = 0; at < 2; at++) {
		assert_int_equal(w->node[at].in_count, 0);
		if (w->node[at].machine.want)
			wanted |= w->node[at].machine.self;
	}
	for (int at = 0; at < 2; at++) {
		const struct node *n = &w->node[at];
		assert_int_equal(n->machine.view.phase, VIEW_START);
		assert_int_equal(n->machine.view.members, wanted);
		assert_int_equal(n->running, n->machine.want);
		assert_int_equal(n->kernel, n->machine.want ? KERNEL_IN : KERNEL_OUT);
	}
}

static void test_random_schedules(void **state)
{
	unsigned joins = 0, deaths = 0;
	(void)state;

	for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
		static struct world w;
		memset(&w, 0, sizeof(w));
		w.random = seed * 0x9e3779b97f4a7c15u;
		boot(&w, 0);
		boot(&w, 1);
		for (int i = 0; i < STEPS; i++)
			random_step(&w);
		settle(&w);
		for (int at = 0; at < 2; at++)
			kernel_wish(&w, at, false);
		settle(&w);
		joins += w.joins;
		deaths += w.deaths;
	}
	/* The schedules did what they are for. */
	assert_true(joins > SCHEDULES && deaths > SCHEDULES / 4);
}

static struct view_actions together(struct view_machine *m, const struct view *view, bool want)
{
	struct view_actions actions = {0};
	view_connected(m, &actions);
	actions.count = 0;
	view_shown(m, view, want, false, &actions);
	return actions;
}

static bool has(const struct view_actions *actions, enum view_do what)
{
	for (size_t i = 0; i < actions->count; i++)
		if (actions->action[i].what == what)
			return true;
	return false;
}

/* A mount before the peer has shown itself must wait: the peer might hold locks. */
static void test_no_join_without_the_peer(void **state)
{
	struct view_machine m;
	struct view_actions actions = {0};
	(void)state;

	view_init(&m, VIEW_LOW, VIEW_HIGH);
	view_want(&m, true, &actions);
	assert_false(has(&actions, VIEW_DO_START));
	view_peer_dead(&m, &actions);
	assert_true(has(&actions, VIEW_DO_START));
}

static void test_alone_in_the_cluster(void **state)
{
	struct view_machine m;
	struct view_actions actions = {0};
	(void)state;

	view_init(&m, VIEW_LOW, 0);
	view_want(&m, true, &actions);
	assert_true(has(&actions, VIEW_DO_START) && has(&actions, VIEW_DO_JOINED));
	actions.count = 0;
	view_want(&m, false, &actions);
	assert_true(has(&actions, VIEW_DO_LEFT));
}

/* A lost connection by itself releases nothing. */
static void test_lost_connection_is_no_death(void **state)
{
	struct view_machine m;
	struct view_actions actions = {0};
	struct view view = {0, VIEW_START, 0, 0};
	(void)state;

	view_init(&m, VIEW_LOW, VIEW_HIGH);
	view_want(&m, true, &actions);
	actions = together(&m, &view, true); /* both want: STOP 1 */
	view = m.view;
	view_shown(&m, &view, true, false, &actions);
	assert_true(m.running && m.view.members == (VIEW_LOW | VIEW_HIGH));
	actions.count = 0;
	view_disconnected(&m, &actions);
	assert_int_equal(actions.count, 0);
	assert_true(m.running);
	view_peer_dead(&m, &actions);
	assert_true(has(&actions, VIEW_DO_STOP) && has(&actions, VIEW_DO_FORGET_PEER) &&
		    has(&actions, VIEW_DO_START));
	assert_int_equal(m.view.members, VIEW_LOW);
}

/* Told that the cluster went on without it, a node that held locks has to go. */
static void test_excluded(void **state)
{
	struct view_machine m;
	struct view_actions actions = {0};
	struct view view = {0, VIEW_START, 0, 0};
	(void)state;

	view_init(&m, VIEW_LOW, VIEW_HIGH);
	view_want(&m, true, &actions);
	actions = together(&m, &view, true);
	view = m.view;
	view_shown(&m, &view, true, false, &actions);
	view = (struct view){m.view.number + 1, VIEW_START, VIEW_HIGH, VIEW_HIGH};
	actions.count = 0;
	view_shown(&m, &view, true, false, &actions);
	assert_true(has(&actions, VIEW_DO_EXCLUDED));
}

/* A restarted process finds its lockspace halted and gets it going again, with the peer's help or
 * alone. */
static void test_resume(void **state)
{
	struct view_machine m;
	struct view view = {5, VIEW_START, VIEW_LOW | VIEW_HIGH, VIEW_LOW | VIEW_HIGH};
	(void)state;

	view_init(&m, VIEW_LOW, VIEW_HIGH);
	view_resume(&m, &view, true);
	assert_true(m.member && view_is_halted(&m));
	struct view_actions actions = together(&m, &view, true);
	assert_int_equal(m.view.number, 6);
	assert_int_equal(m.view.phase, VIEW_STOP);
	view = m.view;
	actions.count = 0;
	view_shown(&m, &view, true, false, &actions);
	assert_true(has(&actions, VIEW_DO_START) && m.running);
	assert_false(has(&actions, VIEW_DO_JOINED));

	view = (struct view){5, VIEW_START, VIEW_LOW, VIEW_LOW};
	view_init(&m, VIEW_LOW, VIEW_HIGH);
	view_resume(&m, &view, true);
	actions.count = 0;
	view_disconnected(&m, &actions);
	assert_true(has(&actions, VIEW_DO_START) && m.running);
}

/* A peer that believes in a wish this node does not have is not followed. */
static void test_stale_wish(void **state)
{
	struct view_machine m;
	struct view view = {1, VIEW_STOP, VIEW_LOW, VIEW_LOW | VIEW_HIGH};
	(void)state;

	view_init(&m, VIEW_HIGH, VIEW_LOW);
	struct view_actions actions = together(&m, &view, true);
	assert_true(has(&actions, VIEW_DO_BREAK));
	assert_false(has(&actions, VIEW_DO_START));

	view_init(&m, VIEW_HIGH, VIEW_LOW);
	view = (struct view){1, VIEW_START, VIEW_LOW, VIEW_LOW | VIEW_HIGH};
	actions = together(&m, &view, true);
	assert_true(has(&actions, VIEW_DO_BREAK));
	assert_false(has(&actions, VIEW_DO_START));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_schedules),
		cmocka_unit_test(test_no_join_without_the_peer),
		cmocka_unit_test(test_alone_in_the_cluster),
		cmocka_unit_test(test_lost_connection_is_no_death),
		cmocka_unit_test(test_excluded),
		cmocka_unit_test(test_stale_wish),
		cmocka_unit_test(test_resume),
	};
	return cmocka_run_group_tests_name("dlm_view", tests, NULL, NULL);
}
