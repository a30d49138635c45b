/*
 * The life cycle, exhaustively: for every policy, every state that any sequence of events can lead
 * to, and in each of them every event, early and late. Times and counters are reduced to what the
 * machine can tell apart: a deadline is set or not, failures and restarts are counted up to three.
 * The promises of life.h are checked at every step (life_world.h); from every state found, a STOP
 * leads to rest if SIGKILL is obeyed, and a GO to readiness if the service does its part.
 */
#include "life_world.h"

#define NOW_MS	   1000000u
#define LATE_MS	   (NOW_MS + 100000000u)
#define TIMEOUT_MS 5000u
#define SEEN_BITS  28
#define QUEUE_MAX  100000

/* What chance does in other tests is tried in full here. */
enum { FORKS = LIFE_EVENTS, LEFT_OVER_GOES, MOVES };

static uint8_t seen[1 << (SEEN_BITS - 3)];
static struct world queue[QUEUE_MAX];
static uint32_t keys[QUEUE_MAX];
static size_t queued;
static uint64_t steps, states;
static bool reached[LIFE_STATES];

static uint32_t up_to_three(uint32_t n)
{
	return n < 3 ? n : 3;
}

static uint32_t key_of(const struct world *w)
{
	const struct life *l = &w->life;
	const bool flags[] = {l->stop_asked, l->undo_due,     l->bad,	      l->succeeded,
			      l->timed_out,  l->unhealthy,    l->unused,      l->given_up,
			      l->stands,     l->reload_again, l->deadline_ms, w->left_over,
			      w->undo_owed,  w->permitted,    w->listens,     w->bad,
			      w->killed};
	uint32_t key = (uint32_t)l->state;

	for (size_t i = 0; i < sizeof(flags); i++)
		key = key << 1 | flags[i];
	key = key << 2 | up_to_three(l->restarts);
	return (key << 2 | (uint32_t)w->command) & ((1u << SEEN_BITS) - 1);
}

/* The same state, with the times and counters of all states like it. */
static void normalize(struct world *w)
{
	struct life *l = &w->life;

	l->failures = up_to_three(l->failures);
	l->restarts = up_to_three(l->restarts);
	for (size_t i = 0; i < LIFE_RESTARTS_MAX; i++)
		l->restart_ms[i] = NOW_MS;
	l->starts = 7;
	l->since_ms = l->ready_ms = NOW_MS;
	l->deadline_ms = l->deadline_ms ? NOW_MS + TIMEOUT_MS : 0;
	w->exit_ms = w->ready_ms = w->empty_ms = w->demand_ms = w->other_ms = 0;
}

static void add(struct world *w)
{
	normalize(w);
	uint32_t key = key_of(w);
	if (seen[key >> 3] & 1u << (key & 7))
		return;
	seen[key >> 3] |= (uint8_t)(1u << (key & 7));
	assert_true(queued < QUEUE_MAX);
	keys[queued] = key;
	queue[queued++] = *w;
	reached[w->life.state] = true;
}

static bool can_happen(const struct world *w, int move)
{
	switch (move) {
	case LIFE_EXIT_OK:
		return w->command != NOTHING;
	case LIFE_EXIT_BAD:
		return w->command != NOTHING || w->life.state == LIFE_LISTENING;
	case LIFE_EMPTY: /* in no other state does anybody ask */
		return w->life.state == LIFE_CLEARING && world_is_empty(w);
	case FORKS:
		return w->command != NOTHING && !w->left_over;
	case LEFT_OVER_GOES:
		return w->left_over;
	default:
		return true;
	}
}

static void try(const struct world *from, int move, uint64_t now_ms)
{
	struct world w = *from;

	if (!can_happen(&w, move))
		return;
	steps++;
	if (move == FORKS)
		w.left_over = true;
	else if (move == LEFT_OVER_GOES)
		w.left_over = false;
	else
		world_event(&w, (enum life_event)move, now_ms);
	add(&w);
}

/* Whatever happened: it obeys SIGKILL at least, and signals if there is no deadline. */
static void check_it_can_stop(const struct world *from, unsigned policy)
{
	struct world w = *from;

	world_event(&w, LIFE_STOP, NOW_MS);
	for (int i = 0; i < 12 && w.life.state != LIFE_IDLE; i++) {
		bool dies = w.killed || w.life.deadline_ms == 0;
		if (w.command != NOTHING && dies)
			world_event(&w, LIFE_EXIT_BAD, NOW_MS);
		else if (w.life.deadline_ms)
			world_event(&w, LIFE_TIMER, LATE_MS);
		w.left_over = w.left_over && !w.killed;
		normalize(&w);
		if (w.life.state == LIFE_CLEARING && world_is_empty(&w))
			world_event(&w, LIFE_EMPTY, NOW_MS);
		normalize(&w);
	}
	if (w.life.state != LIFE_IDLE)
		fail_msg("policy %u: after STOP in %s it stays %s", policy,
			 life_state_name(from->life.state), life_state_name(w.life.state));
}

static void check_it_can_start(const struct world *from, unsigned policy)
{
	static const enum life_event next[LIFE_STATES] = {
		[LIFE_IDLE] = LIFE_GO,		 [LIFE_LISTENING] = LIFE_DEMAND,
		[LIFE_STARTING] = LIFE_EXIT_OK,	 [LIFE_RELOADING] = LIFE_BECAME_READY,
		[LIFE_STOPPING] = LIFE_EXIT_OK,	 [LIFE_CLEARING] = LIFE_EMPTY,
		[LIFE_UNDOING] = LIFE_EXIT_OK,	 [LIFE_BACKOFF] = LIFE_TIMER,
		[LIFE_GIVING_UP] = LIFE_EXIT_OK, [LIFE_ENDED] = LIFE_RESET,
		[LIFE_FAILED] = LIFE_RESET,
	};
	struct world w = *from;

	for (int i = 0; i < 24 && w.life.state != LIFE_READY; i++) {
		enum life_event event = next[w.life.state];
		if (w.life.state == LIFE_STARTING && !w.policy->oneshot)
			event = LIFE_BECAME_READY;
		if (w.life.state == LIFE_CLEARING)
			w.left_over = false;
		world_event(&w, event, event == LIFE_TIMER ? LATE_MS : NOW_MS);
		normalize(&w);
	}
	if (w.life.state != LIFE_READY)
		fail_msg("policy %u: from %s, doing its part, it gets no further than %s", policy,
			 life_state_name(from->life.state), life_state_name(w.life.state));
}

static void explore(const struct life_policy *policy, unsigned number)
{
	struct world w = {.policy = policy, .kind = true};

	queued = 0;
	add(&w);
	for (size_t at = 0; at < queued; at++) {
		for (int move = 0; move < MOVES; move++) {
			try(&queue[at], move, NOW_MS + 1);
			try(&queue[at], move, LATE_MS);
		}
		check_it_can_stop(&queue[at], number);
		check_it_can_start(&queue[at], number);
	}
	states += queued;
	for (size_t i = 0; i < queued; i++)
		seen[keys[i] >> 3] = 0;
}

/* All policies that differ in what the machine does. */
static struct life_policy policy_number(unsigned n, bool *more)
{
	struct life_policy policy = {.delay_ms = 100,
				     .delay_max_ms = 1000,
				     .limit_window_ms = 1000000000,
				     .healthy_after_ms = 10000};
	unsigned kind = n % 4;

	policy.on_demand = kind == 1;
	policy.oneshot = kind == 2;
	policy.runs_nothing = kind == 3;
	n /= 4;
	policy.has_undo = n % 2;
	n /= 2;
	policy.restart = (enum life_restart)(n % 3);
	n /= 3;
	policy.reload = (enum life_reload)(n % 3);
	n /= 3;
	policy.start_timeout_ms = n % 2 * TIMEOUT_MS;
	n /= 2;
	policy.stop_timeout_ms = n % 2 * TIMEOUT_MS;
	n /= 2;
	policy.limit_restarts = (n + 2) / 3;
	policy.on_limit = (enum life_limit)(n % 3);
	*more = n < 7;
	return policy;
}

static void every_state_and_event_of_every_policy(void **state)
{
	unsigned number = 0;
	bool more = true;

	(void)state;
	for (;; number++) {
		struct life_policy policy = policy_number(number, &more);
		if (!more)
			break;
		dice_start(number);
		explore(&policy, number);
	}
	for (size_t i = 0; i < LIFE_STATES; i++)
		if (!reached[i])
			fail_msg("no sequence leads to %s", life_state_name((enum life_state)i));
	print_message("%u policies, %llu states, %llu steps\n", number, (unsigned long long)states,
		      (unsigned long long)steps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_and_event_of_every_policy),
	};
	return cmocka_run_group_tests_name("life, all of it", tests, NULL, NULL);
}
