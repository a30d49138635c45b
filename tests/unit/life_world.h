/*
 * A small world for the life cycle: one service's processes under a virtual clock, chance decides
 * how they behave. It obeys the actions of life.h and tells only what can happen in it; every step
 * is checked against the promises of life.h. Used by the exhaustive test, by random lives and by
 * random graphs.
 *
 * A sequence is replayed by its seed: RANDOM_SEED=N runs that one alone and tells it line by line,
 * RANDOM_COUNT=N runs so many.
 */
#ifndef TESTS_UNIT_LIFE_WORLD_H
#define TESTS_UNIT_LIFE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/service/life.h"

/* --- chance */

static uint64_t dice_state, dice_seed;
static bool dice_tell;

static void dice_start(uint64_t seed)
{
	dice_seed = seed;
	dice_state = seed * 0x9e3779b97f4a7c15u + 1;
}

/* xorshift64*: Vigna, An experimental exploration of Marsaglia's xorshift generators (2016). */
static uint32_t dice(uint32_t below)
{
	dice_state ^= dice_state >> 12;
	dice_state ^= dice_state << 25;
	dice_state ^= dice_state >> 27;
	return (uint32_t)((dice_state * 0x2545f4914f6cdd1du) >> 32) % below;
}

/* One in `n`. */
static bool chance(uint32_t n)
{
	return dice(n) == 0;
}

/* Runs `play` for each seed. */
static inline void dice_all(void (*play)(void), uint64_t count)
{
	const char *only = getenv("RANDOM_SEED"), *many = getenv("RANDOM_COUNT");
	const char *first = getenv("RANDOM_FIRST");
	uint64_t from = first ? strtoull(first, NULL, 10) : 1;

	if (many)
		count = strtoull(many, NULL, 10);
	dice_tell = only != NULL;
	if (only) {
		dice_start(strtoull(only, NULL, 10));
		play();
		return;
	}
	for (uint64_t seed = from; seed < from + count; seed++) {
		dice_start(seed);
		play();
	}
	print_message("%llu sequences\n", (unsigned long long)count);
}

/* --- a service's processes */

enum command { NOTHING, STARTS, UNDOES, GIVES_UP };

struct world {
	struct life life;
	const struct life_policy *policy;
	unsigned number; /* in a graph */

	enum command command; /* the main process, as long as it is not reaped */
	bool left_over;	      /* others in its cgroup */
	bool undo_owed;	      /* a start was not undone yet */
	bool permitted;	      /* GO came and is not used up; no STOP since */
	bool listens;	      /* its sockets were opened, and nobody said STOP since */
	bool bad;	      /* how the run ended, as far as is known */
	bool killed;	      /* SIGKILL was sent to what runs */
	bool kind;	      /* its commands do what they ought to */

	/* What is going to happen; 0: never by itself. */
	uint64_t exit_ms, ready_ms, empty_ms, demand_ms, other_ms;
	bool exit_good, obeys;

	/* For the sliding window and the backoff. */
	uint32_t failures;
	uint64_t restart_ms[64];
	unsigned restarts;
};

static const char *event_name(enum life_event event)
{
	static const char *const name[LIFE_EVENTS] = {
		"GO",	  "STOP",      "DEMAND",  "BECAME_READY", "RELOAD", "RELOADS", "LEAVES",
		"UNUSED", "UNHEALTHY", "EXIT_OK", "EXIT_BAD",	  "EMPTY",  "TIMER",   "RESET",
	};
	return name[event];
}

#define MUST(condition, what)                                                                    \
	do {                                                                                     \
		if (!(condition))                                                                \
			fail_msg("seed %llu, service %u, %s in %s: now %s, actions %x: %s",      \
				 (unsigned long long)dice_seed, w->number, event_name(event),    \
				 life_state_name(before->state), life_state_name(w->life.state), \
				 actions, what);                                                 \
	} while (0)

static bool at_rest(const struct life *life)
{
	return life->state == LIFE_IDLE || life->state == LIFE_BACKOFF ||
	       life->state == LIFE_ENDED || life->state == LIFE_FAILED;
}

/* What the actions may ask for in this world, before they are carried out. */
static void check_actions(const struct world *w, const struct life *before, enum life_event event,
			  unsigned actions)
{
	unsigned runs = actions & (LIFE_DO_LISTEN | LIFE_DO_START | LIFE_DO_UNDO | LIFE_DO_GIVE_UP);

	MUST((runs & (runs - 1)) == 0, "two things at once are begun");
	if (runs)
		MUST(w->command == NOTHING && !w->left_over, "begun over what is left");
	if (actions & (LIFE_DO_START | LIFE_DO_LISTEN))
		MUST(w->permitted, "begun without GO, or after STOP");
	if (actions & LIFE_DO_START) {
		MUST(!w->undo_owed, "started before it was undone");
		MUST(!w->policy->on_demand || (event == LIFE_DEMAND && w->listens),
		     "on demand, but nobody came");
		MUST(w->life.state == LIFE_STARTING, "started, but does not say so");
		MUST(!w->life.reload_again, "the old run's reload is still due");
		MUST(!w->life.bad && !w->life.succeeded && !w->life.timed_out &&
			     !w->life.unhealthy && !w->life.unused && !w->life.given_up,
		     "a new run with the old one's end");
	}
	if (actions & LIFE_DO_LISTEN)
		MUST(w->policy->on_demand && w->life.state == LIFE_LISTENING, "listens");
	if (actions & LIFE_DO_UNDO)
		MUST(w->undo_owed && w->life.state == LIFE_UNDOING, "undone without need");
	if (actions & LIFE_DO_SIGNAL)
		MUST(w->command == STARTS && w->life.state == LIFE_STOPPING, "signal to nobody");
	if (actions & LIFE_DO_RELOAD) {
		bool signal = w->policy->reload == LIFE_RELOAD_SIGNAL;
		MUST(w->command == STARTS && w->policy->reload != LIFE_RELOAD_NONE &&
			     (event == LIFE_RELOAD || before->state == LIFE_RELOADING),
		     "reload of nothing");
		MUST(signal ? w->life.state == before->state : w->life.state == LIFE_RELOADING,
		     "reloads, or does not say so");
	}
	if (actions & LIFE_DO_GIVE_UP)
		MUST(w->policy->on_limit == LIFE_LIMIT_COMMAND && w->life.state == LIFE_GIVING_UP &&
			     w->life.given_up,
		     "gives up");
	if (actions & LIFE_DO_REBOOT)
		MUST(w->policy->on_limit == LIFE_LIMIT_REBOOT && w->life.given_up &&
			     w->life.state == LIFE_FAILED,
		     "reboots");
	MUST((w->life.starts != before->starts) == !!(actions & LIFE_DO_START), "starts counted");
}

static bool is_late(const struct world *w, uint32_t timeout_ms)
{
	return timeout_ms == 0 || w->life.deadline_ms != 0 || w->killed;
}

/* What is true between any two events. */
static void check_state(const struct world *w, const struct life *before, enum life_event event,
			unsigned actions, uint64_t now_ms)
{
	const struct life *life = &w->life;
	bool runs = life->state == LIFE_STARTING || life->state == LIFE_RELOADING ||
		    life->state == LIFE_STOPPING ||
		    (life->state == LIFE_READY && !w->policy->oneshot && !w->policy->runs_nothing);

	MUST(!at_rest(life) || (w->command == NOTHING && !w->left_over), "rests while it runs");
	MUST(!at_rest(life) || !w->undo_owed, "rests and was not undone");
	MUST(life_is_active(life) == !at_rest(life), "active or at rest");
	MUST(runs == (w->command == STARTS), "its main process and its state");
	MUST((life->state == LIFE_UNDOING) == (w->command == UNDOES), "its stop command");
	MUST((life->state == LIFE_GIVING_UP) == (w->command == GIVES_UP), "its last command");
	MUST(life->state != LIFE_STARTING || is_late(w, w->policy->start_timeout_ms),
	     "no deadline for its start");
	MUST(life->state != LIFE_RELOADING || is_late(w, w->policy->start_timeout_ms),
	     "no deadline for its reload");
	MUST((life->state != LIFE_STOPPING && life->state != LIFE_UNDOING &&
	      life->state != LIFE_GIVING_UP) ||
		     is_late(w, w->policy->stop_timeout_ms),
	     "no deadline for its stop");
	MUST((life->state != LIFE_BACKOFF) || life->deadline_ms > life->since_ms, "backoff");
	MUST(life->state == LIFE_STARTING || life->state == LIFE_RELOADING ||
		     life->state == LIFE_STOPPING || life->state == LIFE_UNDOING ||
		     life->state == LIFE_GIVING_UP || life->state == LIFE_BACKOFF ||
		     life->deadline_ms == 0,
	     "a deadline for nothing");
	MUST(life->state != LIFE_CLEARING || w->killed || (w->command == NOTHING && !w->left_over),
	     "waits for what nobody killed");
	MUST(life->since_ms <= now_ms && (life->state == before->state || life->since_ms == now_ms),
	     "since when");
	bool up = life->state == LIFE_READY || life->state == LIFE_RELOADING ||
		  (w->policy->on_demand && w->listens);
	MUST(life_is_up(life) == up, "up, or not");
	MUST(!life->succeeded || w->policy->oneshot, "only a oneshot succeeds");
	MUST(!life->given_up || w->policy->limit_restarts, "given up without a limit");
	if (event == LIFE_STOP)
		MUST(life->stop_asked, "a STOP is forgotten");
}

/* An event that has no business in this state does no harm: at most the end of the main process is
 * under way, or its reload. */
static void check_harmless(const struct world *w, const struct life *before, enum life_event event,
			   unsigned actions)
{
	bool about_itself = event == LIFE_RELOAD || event == LIFE_RELOADS || event == LIFE_LEAVES ||
			    event == LIFE_UNUSED || event == LIFE_UNHEALTHY;

	if (about_itself)
		MUST(w->life.state == before->state || w->life.state == LIFE_STOPPING ||
			     w->life.state == LIFE_RELOADING,
		     "of no harm");
	if (about_itself && w->command != STARTS)
		MUST(memcmp(before, &w->life, sizeof(*before)) == 0 && actions == 0,
		     "no process, no change");
	if ((event == LIFE_GO && before->state != LIFE_IDLE) ||
	    (event == LIFE_RESET && !at_rest(before)) ||
	    (event == LIFE_DEMAND && before->state != LIFE_LISTENING))
		MUST(memcmp(before, &w->life, sizeof(*before)) == 0 && actions == 0, "no change");
	if (event == LIFE_RESET)
		MUST(at_rest(before) ? w->life.state == LIFE_IDLE : true,
		     "a failed one starts anew");
}

/* Where a run leads that is over, undone and was not asked to end: restart policy and limit. */
static void check_come_back(const struct world *w, const struct life *before, enum life_event event,
			    unsigned actions)
{
	const struct life *life = &w->life;
	const struct life_policy *policy = w->policy;
	bool once_more = policy->restart == LIFE_RESTART_ALWAYS ||
			 (policy->restart == LIFE_RESTART_ON_FAILURE && w->bad);

	if (event != LIFE_EMPTY || before->state != LIFE_CLEARING || w->command == UNDOES)
		return;
	if (before->stop_asked)
		MUST(life->state == LIFE_IDLE, "asked to stop, and went on");
	else if (before->given_up)
		MUST(life->state == LIFE_FAILED, "given up");
	else if (policy->oneshot && !w->bad)
		MUST(life->state == LIFE_READY, "done");
	else if (before->unused)
		MUST(life->state == LIFE_LISTENING, "unused: listens again");
	else if (policy->on_demand && !w->bad)
		MUST(life->state == LIFE_BACKOFF && life->failures == 0, "its work is done");
	else if (!once_more)
		MUST(life->state == (w->bad ? LIFE_FAILED : LIFE_ENDED), "over");
	else
		MUST(life->state == LIFE_BACKOFF || life->given_up, "comes back");
}

/* --- how it behaves */

static uint64_t soon(uint64_t now_ms)
{
	return now_ms + 1 + dice(chance(4) ? 3000 : 40);
}

static void run_command(struct world *w, enum command command, uint64_t now_ms)
{
	w->command = command;
	w->killed = false;
	w->left_over = !w->kind && chance(3);
	w->exit_ms = w->ready_ms = w->other_ms = 0;
	w->obeys = w->kind || !chance(4);
	w->exit_good = w->kind || !chance(3);
	if (w->kind && command == STARTS && !w->policy->oneshot) {
		w->ready_ms = soon(now_ms);
		return;
	}
	if (w->kind || !chance(4))
		w->exit_ms = soon(now_ms);
	if (!w->kind && command == STARTS && !chance(4)) {
		w->ready_ms = soon(now_ms);
		if (chance(3) && !w->policy->oneshot)
			w->exit_ms = 0; /* stays */
		w->other_ms = soon(now_ms);
	}
}

static void obey(struct world *w, unsigned actions, uint64_t now_ms)
{
	if (actions & LIFE_DO_SIGNAL && w->obeys)
		w->exit_ms = soon(now_ms);
	if (actions & LIFE_DO_KILL) {
		w->killed = true;
		if (w->command != NOTHING) {
			w->exit_ms = soon(now_ms);
			w->exit_good = false;
		}
		w->empty_ms = soon(now_ms);
	}
	if (actions & LIFE_DO_LISTEN) {
		w->listens = true;
		w->demand_ms = w->kind || chance(3) ? 0 : soon(now_ms);
	}
	if (actions & LIFE_DO_START) {
		if (!w->policy->on_demand)
			w->permitted = false;
		w->undo_owed = w->policy->has_undo;
		w->bad = false;
		run_command(w, STARTS, now_ms);
	}
	if (actions & LIFE_DO_UNDO) {
		w->undo_owed = false;
		run_command(w, UNDOES, now_ms);
	}
	if (actions & LIFE_DO_GIVE_UP)
		run_command(w, GIVES_UP, now_ms);
}

/* What the event itself means in the world, before the machine hears of it. */
static void happens(struct world *w, enum life_event event, uint64_t now_ms)
{
	enum life_state state = w->life.state;
	bool due = w->life.deadline_ms && w->life.deadline_ms <= now_ms;

	if (event == LIFE_GO && state == LIFE_IDLE)
		w->permitted = true;
	if (event == LIFE_STOP)
		w->permitted = w->listens = false;
	if (event == LIFE_EXIT_OK || event == LIFE_EXIT_BAD) {
		if (event == LIFE_EXIT_BAD && w->command != GIVES_UP)
			w->bad = true;
		if (w->command == NOTHING)
			w->listens = false; /* could not even listen */
		w->command = NOTHING;
		w->exit_ms = w->ready_ms = w->other_ms = 0;
	}
	if ((event == LIFE_UNHEALTHY && state == LIFE_READY && w->command == STARTS) ||
	    (event == LIFE_TIMER && state == LIFE_STARTING && due))
		w->bad = true;
}

/* One event, checked, its actions carried out. */
static void world_event(struct world *w, enum life_event event, uint64_t now_ms)
{
	const struct life copy = w->life, *before = &copy;

	happens(w, event, now_ms);
	unsigned actions = life_step(&w->life, w->policy, event, now_ms);
	if (dice_tell)
		print_message("%8llu  %u: %s in %s -> %s, actions %x\n", (unsigned long long)now_ms,
			      w->number, event_name(event), life_state_name(before->state),
			      life_state_name(w->life.state), actions);
	check_actions(w, before, event, actions);
	check_harmless(w, before, event, actions);
	obey(w, actions, now_ms);
	/* Given up or at its end, it takes no clients any more. */
	if (w->life.state == LIFE_FAILED || w->life.state == LIFE_ENDED || w->life.given_up)
		w->listens = false;
	check_state(w, before, event, actions, now_ms);
	check_come_back(w, before, event, actions);
}

static bool world_is_empty(const struct world *w)
{
	return w->command == NOTHING && !w->left_over;
}

static uint64_t first_of(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* When something happens next by itself; 0: never. */
static inline uint64_t world_next(const struct world *w)
{
	uint64_t next_ms = first_of(w->exit_ms, w->ready_ms);

	next_ms = first_of(next_ms, w->left_over ? w->empty_ms : 0);
	next_ms = first_of(next_ms, w->life.state == LIFE_LISTENING ? w->demand_ms : 0);
	next_ms = first_of(next_ms, w->other_ms);
	return first_of(next_ms, w->life.deadline_ms);
}

static bool is_due(uint64_t *at_ms, uint64_t now_ms)
{
	if (*at_ms == 0 || *at_ms > now_ms)
		return false;
	*at_ms = 0;
	return true;
}

/* What it says or does unasked. */
static void something_else(struct world *w, uint64_t now_ms)
{
	static const enum life_event events[] = {LIFE_RELOADS, LIFE_LEAVES,	  LIFE_UNUSED,
						 LIFE_RELOAD,  LIFE_BECAME_READY, LIFE_UNHEALTHY};

	enum life_event event = events[dice(6)];
	world_event(w, event, now_ms);
	if (event == LIFE_LEAVES && w->life.state == LIFE_STOPPING && !chance(3))
		w->exit_ms = soon(now_ms);
	if (w->life.state == LIFE_RELOADING && !chance(4))
		w->ready_ms = soon(now_ms);
	w->other_ms = w->command == STARTS && !chance(4) ? soon(now_ms) : 0;
}

/* All that is due. EMPTY is told by whoever settles. */
static inline void world_turn(struct world *w, uint64_t now_ms)
{
	if (w->life.deadline_ms && w->life.deadline_ms <= now_ms)
		world_event(w, LIFE_TIMER, now_ms);
	if (is_due(&w->ready_ms, now_ms))
		world_event(w, LIFE_BECAME_READY, now_ms);
	if (is_due(&w->other_ms, now_ms))
		something_else(w, now_ms);
	if (is_due(&w->exit_ms, now_ms))
		world_event(w, w->exit_good ? LIFE_EXIT_OK : LIFE_EXIT_BAD, now_ms);
	if (w->left_over && is_due(&w->empty_ms, now_ms))
		w->left_over = false;
	if (w->life.state == LIFE_LISTENING && is_due(&w->demand_ms, now_ms))
		world_event(w, LIFE_DEMAND, now_ms);
}

#endif
