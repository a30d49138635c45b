/* Who is there: what all nodes come to believe, over many seeds of a simulated network. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/membership_world.h"

#define SEEDS 40
#define SIX   6

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void all_come_up(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		run(w, 300);
		assert_true(world_all_alive(w));
		assert_int_equal(world_deaths(w), 0);
		end_world(w);
	}
}

/* Issue: a killed node shows dead on all others within 5 s; meant: about one. */
static void killed_is_dead_soon(void **state)
{
	(void)state;
	uint64_t took[SEEDS];
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		w->net.loss_permille = (uint32_t)(seed % 3 * 10);
		run(w, 3000 + world_random(w) % 1000);
		world_kill(w, seed % SIX);
		took[seed - 1] = until(w, seed % SIX, MEMBER_DEAD, 5000);
		assert_true(took[seed - 1] != UINT64_MAX);
		run(w, 5000);
		assert_true(world_all_see(w, seed % SIX, MEMBER_DEAD));
		assert_int_equal(world_deaths(w), SIX - 1);
		end_world(w);
	}
	qsort(took, SEEDS, sizeof(took[0]), compare);
	print_message("dead on all others: median %u ms, worst %u ms of %u\n",
		      (unsigned)took[SEEDS / 2], (unsigned)took[SEEDS - 1], SEEDS);
	assert_true(took[SEEDS / 2] <= 1200);
	assert_true(took[SEEDS - 1] <= 2000);
}

static void three_killed_at_once_are_dead(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		run(w, 3000);
		for (size_t i = 0; i < 3; i++)
			world_kill(w, i);
		for (size_t i = 0; i < 3; i++)
			assert_true(until(w, i, MEMBER_DEAD, 3000) != UINT64_MAX);
		end_world(w);
	}
}

static void of_two_one_is_dead(void **state)
{
	(void)state;
	struct world *w = new_world(2, 1);
	run(w, 3000);
	world_kill(w, 0);
	assert_true(until(w, 0, MEMBER_DEAD, 3000) != UINT64_MAX);
	world_boot(w, 0);
	assert_true(until(w, 0, MEMBER_ALIVE, 3000) != UINT64_MAX);
	end_world(w);
}

/* A new boot is a new life, whether its death was seen or not. */
static void restarted_is_alive_again(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		run(w, 3000);
		world_kill(w, 2);
		run(w, seed % 2 == 0 ? 5000 : 300); /* seen dead; or back before anyone noticed */
		world_boot(w, 2);
		run(w, 1000);
		assert_true(world_all_alive(w));
		for (size_t i = 0; i < SIX; i++) {
			assert_int_equal(w->node[i].member[2].boot_id, w->node[2].boot);
			assert_int_equal(w->node[i].member[2].generation, 2);
		}
		run(w, 10000);
		assert_true(world_all_alive(w));
		end_world(w);
	}
}

/* The gossip process alone is replaced: the node was never away, and its statements go on counting.
 */
static void restarted_process_is_no_dead_node(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		run(w, 3000);
		for (unsigned n = 0; n < 3; n++) {
			struct membership_event event = {.type = MEMBERSHIP_STATUS,
							 .status = {.ready = n % 2 == 0}};
			world_step(w, 3, &event);
			run(w, 500);
		}
		uint32_t before = w->node[0].member[3].incarnation;
		assert_int_equal(before, 3);
		world_restart(w, 3, false);
		run(w, 1500);
		assert_true(world_all_alive(w));
		assert_int_equal(world_deaths(w), 0);
		assert_int_equal(w->node[0].member[3].generation, 1);
		assert_true(w->node[0].member[3].incarnation > before);
		assert_false(w->node[0].member[3].status.ready);
		end_world(w);
	}
}

static void leaving_is_no_death(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		w->net.loss_permille = seed % 2 == 0 ? 200 : 0;
		run(w, 3000);
		uint64_t start = w->now;
		world_step(w, 4, &(struct membership_event){.type = MEMBERSHIP_LEAVE});
		run(w, 900);
		uint64_t took = (w->node[4].gone_us - start) / WORLD_MS;
		assert_true(w->node[4].gone_us != 0);
		assert_true(took <= (seed % 2 == 0 ? 810 : 20));
		world_kill(w, 4);
		run(w, 5000);
		assert_true(world_all_see(w, 4, MEMBER_LEFT));
		w->net.loss_permille = 0;
		world_boot(w, 4);
		run(w, 2000);
		assert_true(world_all_alive(w));
		end_world(w);
	}
}

static void readiness_spreads_at_once(void **state)
{
	(void)state;
	struct world *w = new_world(SIX, 7);
	run(w, 3000);
	struct membership_event event = {
		.type = MEMBERSHIP_STATUS,
		.status = {.ready = true, .services = 9, .services_ready = 8, .services_failed = 1},
	};
	world_step(w, 5, &event);
	run(w, 5);
	for (size_t i = 0; i < SIX; i++) {
		assert_true(w->node[i].member[5].status.ready);
		assert_int_equal(w->node[i].member[5].status.services_ready, 8);
	}
	end_world(w);
}

static void loss_kills_nobody(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct world *w = new_world(SIX, seed);
		w->net.loss_permille = 50;
		w->net.jitter_us = 30000;
		run(w, 600000);
		assert_int_equal(world_deaths(w), 0);
		w->net.loss_permille = 250;
		run(w, 60000);
		assert_int_equal(world_deaths(w), 0);
		end_world(w);
	}
}

/* Two that do not hear each other, but the others hear both: gossip is about nodes, not about
 * links. */
static void a_cut_link_kills_nobody(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		run(w, 3000);
		world_cut(w, 0, 1, seed % 2 == 0);
		run(w, 30000);
		assert_int_equal(world_deaths(w), 0);
		assert_true(world_all_alive(w));
		end_world(w);
	}
}

static void a_split_heals(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		size_t left = 1 + seed % 3; /* 1, 2 or 3 on one side */
		run(w, 3000);
		for (size_t a = 0; a < left; a++)
			for (size_t b = left; b < SIX; b++)
				world_cut(w, a, b, true);
		run(w, 5000 + world_random(w) % 1000);
		for (size_t a = 0; a < SIX; a++)
			for (size_t b = 0; b < SIX; b++)
				assert_int_equal(w->node[a].member[b].state,
						 (a < left) == (b < left) ? MEMBER_ALIVE
									  : MEMBER_DEAD);
		world_heal(w);
		/* The absent are probed every second; whoever is, answers at once. */
		run(w, 1050);
		assert_true(world_all_alive(w));
		unsigned deaths = world_deaths(w);
		run(w, 10000);
		assert_int_equal(world_deaths(w), deaths);
		end_world(w);
	}
}

/* It has slept, not the others. */
static void a_paused_node_accuses_nobody(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		run(w, 3000);
		world_sleep(w, 1, WORLD_FOREVER, false);
		run(w, seed % 2 == 0 ? 10000 : 60000);
		assert_true(world_all_see(w, 1, MEMBER_DEAD));
		world_wake(w, 1);
		assert_true(until(w, 1, MEMBER_ALIVE, 300) != UINT64_MAX);
		run(w, 10000);
		assert_int_equal(w->node[1].suspicions, 0);
		assert_true(world_all_alive(w));
		assert_int_equal(w->node[1].deaths, 0);
		assert_int_equal(world_deaths(w), SIX - 1);
		end_world(w);
	}
}

/* Short stalls, as of a virtual machine on a busy host. */
static void stalls_kill_nobody(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct world *w = new_world(SIX, seed);
		w->net.loss_permille = 10;
		run(w, 3000);
		for (unsigned n = 0; n < 500; n++) {
			size_t victim = world_random(w) % SIX;
			world_sleep(w, victim, WORLD_FOREVER, false);
			run(w, world_random(w) % 500);
			world_wake(w, victim);
			run(w, world_random(w) % 500);
		}
		assert_int_equal(world_deaths(w), 0);
		end_world(w);
	}
}

static void say(struct world *w, size_t from, size_t to, const struct membership_record *record)
{
	struct membership_heartbeat said = {.record_count = 1, .record = {*record}};
	w->lies = true;
	struct membership_event event = {
		.type = MEMBERSHIP_HEARTBEAT,
		.from = (uint16_t)from,
		.boot_id = w->node[from].boot,
		.newest = true,
		.heartbeat = &said,
	};
	world_step(w, to, &event);
}

/* One node whose key was stolen may lie; whoever hears the victim does not believe it, and the
 * victim objects. */
static void a_liar_is_not_believed(void **state)
{
	(void)state;
	struct world *w = new_world(SIX, 3);
	run(w, 3000);
	for (unsigned n = 0; n < 200; n++) {
		const struct member *victim = &w->node[0].member[1];
		struct membership_record lie = {
			.index = 1,
			.state = (uint8_t)(MEMBER_ALIVE + n % 4),
			.own = true,
			.heard_age_ms = MEMBERSHIP_AGE_NEVER,
			.generation = victim->generation,
			.incarnation = victim->incarnation + (n % 4 == 0 ? 1000000 : n % 3),
			.boot_id = victim->boot_id,
		};
		for (size_t to = 0; to < 5; to++) {
			if (to == 1) /* not to its face */
				continue;
			say(w, 5, to, &lie);
			assert_int_equal(w->node[to].member[1].state, MEMBER_ALIVE);
			assert_true(w->node[to].member[1].incarnation < 1000000);
		}
		run(w, 50);
	}
	assert_true(w->node[0].member[1].incarnation > 0);
	assert_int_equal(world_deaths(w), 0);
	end_world(w);
}

/* What took long on its way, or was held back, is no sign of life now. */
static void old_news_is_no_evidence(void **state)
{
	(void)state;
	struct world *w = new_world(2, 3);
	run(w, 2000);
	world_cut(w, 0, 1, false); /* 1 is heard, but never has an answer of 0 to echo */
	run(w, 4000);
	assert_int_equal(w->node[0].member[1].state, MEMBER_DEAD);
	assert_int_equal(w->node[1].member[0].state, MEMBER_DEAD);
	run(w, 10000);
	assert_int_equal(w->node[0].member[1].state, MEMBER_DEAD);
	assert_int_equal(w->node[1].member[0].state, MEMBER_DEAD);
	world_heal(w);
	run(w, 1500);
	assert_true(world_all_alive(w));
	end_world(w);
}

/* A new boot that does not know of the life before is told, and counted on from it. */
static void a_life_follows_the_last(void **state)
{
	(void)state;
	struct world *w = new_world(3, 4);
	run(w, 2000);
	struct membership_record statement = {
		.index = 1, .state = MEMBER_ALIVE, .generation = 1, .boot_id = 55};
	uint64_t boot = w->node[1].boot, sent = w->node[0].packets_out;
	w->node[1].boot = 55;
	say(w, 1, 0, &statement);
	assert_int_equal(w->node[0].member[1].boot_id, boot);
	assert_int_equal(w->node[0].packets_out, sent + 1);
	statement.generation = 2;
	say(w, 1, 0, &statement);
	assert_int_equal(w->node[0].member[1].boot_id, 55);
	/* Gone is gone: only a later statement takes it back. */
	statement.state = MEMBER_LEFT;
	say(w, 1, 0, &statement);
	statement.state = MEMBER_ALIVE;
	say(w, 1, 0, &statement);
	assert_int_equal(w->node[0].member[1].state, MEMBER_LEFT);
	statement.incarnation++;
	say(w, 1, 0, &statement);
	assert_int_equal(w->node[0].member[1].state, MEMBER_ALIVE);
	end_world(w);
}

/* A new boot is told of the last one even while an accusation waits to be passed on to it. */
static void an_accusation_does_not_hide_the_past(void **state)
{
	(void)state;
	static struct membership_actions actions;
	static struct membership_heartbeat sent;
	struct world *w = new_world(3, 6);
	run(w, 2000);
	struct membership *m = &w->node[0].m;
	uint64_t boot = w->node[1].boot, now = world_clock_us(w, &w->node[0]) / WORLD_MS + 150;
	struct membership_heartbeat said = {.record_count = 1};
	struct membership_event event = {.type = MEMBERSHIP_HEARTBEAT,
					 .from = 2,
					 .boot_id = w->node[2].boot,
					 .newest = true,
					 .heartbeat = &said};
	said.record[0] = (struct membership_record){.index = 1,
						    .state = MEMBER_SUSPECT,
						    .heard_age_ms = MEMBERSHIP_AGE_NEVER,
						    .generation = 1,
						    .incarnation = 5,
						    .boot_id = 77};
	membership_step(m, &event, now, &actions);
	assert_int_equal(m->disbelieved, 1);
	event.from = 1;
	event.boot_id = 77;
	said.record[0].state = MEMBER_ALIVE;
	said.record[0].incarnation = 6;
	membership_step(m, &event, now + 150, &actions);
	assert_int_equal(actions.count, 1);
	membership_fill(m, &actions.action[0], now + 150, &sent);
	assert_int_equal(sent.record_count, 1);
	assert_int_equal(sent.record[0].index, 1);
	assert_true(sent.record[0].boot_id == boot);
	end_world(w);
}

/* Another life in our name: the number after it is ours. */
static void own_past_is_outlived(void **state)
{
	(void)state;
	struct world *w = new_world(3, 5);
	run(w, 2000);
	struct membership_heartbeat told = {.record_count = 1};
	w->lies = true;
	told.record[0] = (struct membership_record){
		.index = 0, .state = MEMBER_DEAD, .generation = 7, .boot_id = 77};
	struct membership_event event = {.type = MEMBERSHIP_HEARTBEAT,
					 .from = 1,
					 .boot_id = w->node[1].boot,
					 .heartbeat = &told};
	world_step(w, 0, &event);
	assert_int_equal(w->node[0].member[0].generation, 8);
	run(w, 50);
	assert_int_equal(w->node[2].member[0].generation, 8);
	assert_true(world_all_alive(w));
	/* A number that leaves no room is not followed. */
	told.record[0].generation = MEMBERSHIP_LIVES_MAX;
	world_step(w, 0, &event);
	assert_int_equal(w->node[0].member[0].generation, 8);
	end_world(w);
}

static void load_is_bounded(void **state)
{
	(void)state;
	struct world *w = new_world(SIX, 9);
	run(w, 5000);
	uint64_t sent = w->node[0].packets_out, steps = w->node[0].steps;
	run(w, 10000);
	/* Five siblings, five times a second, and nothing more when all is well. */
	assert_in_range(w->node[0].packets_out - sent, 250, 260);
	assert_in_range(w->node[0].steps - steps, 300, 320);
	/* In turmoil: cut from one, one dead, one paused. */
	world_cut(w, 0, 1, true);
	world_kill(w, 2);
	world_sleep(w, 3, WORLD_FOREVER, false);
	sent = w->node[0].packets_out;
	run(w, 10000);
	assert_true(w->node[0].packets_out - sent < 800);
	/* Statements by the hundred are not shouted by the hundred. */
	sent = w->node[0].packets_out;
	for (unsigned n = 0; n < 300; n++) {
		struct membership_event event = {.type = MEMBERSHIP_STATUS,
						 .status = {.services = (uint16_t)(n + 1)}};
		world_step(w, 0, &event);
		run(w, n % 3 == 0);
	}
	assert_true(w->node[0].packets_out - sent < 60);
	run(w, 1000);
	assert_int_equal(w->node[4].member[0].status.services, 300);
	end_world(w);
}

/* Beyond nine: shuffled rounds instead of everyone each tick. */
static void larger_cluster(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct world *w = new_world(40, seed);
		run(w, 15000);
		assert_true(world_all_alive(w));
		assert_int_equal(world_deaths(w), 0);
		world_kill(w, 7);
		assert_true(until(w, 7, MEMBER_DEAD, 5000) != UINT64_MAX);
		world_boot(w, 7);
		run(w, 10000);
		assert_true(world_all_alive(w));
		unsigned deaths = world_deaths(w);
		w->net.loss_permille = 50;
		run(w, 60000);
		assert_int_equal(world_deaths(w), deaths);
		uint64_t sent = w->node[0].packets_out;
		w->net.loss_permille = 0;
		run(w, 10000);
		assert_true(w->node[0].packets_out - sent < 1000);
		/* Two that do not hear each other: others ask for them. */
		for (size_t i = 2; i < 12; i++)
			world_cut(w, i, (i * 7) % 40, true);
		unsigned suspicions = world_suspicions(w);
		run(w, 60000);
		assert_int_equal(world_deaths(w), deaths);
		assert_true(world_suspicions(w) - suspicions < 5);
		unsigned moved = 0;
		for (size_t i = 0; i < 40; i++)
			moved += w->node[0].order[i] != i;
		assert_true(moved > 20);
		end_world(w);
	}
}

/* A fleet that is up while others come and go, cut and heal at random: once it stops, all agree
 * with the truth. */
static void views_converge(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, 1000 + seed);
		w->net.loss_permille = (uint32_t)(seed % 10 * 10);
		w->net.jitter_us = (uint32_t)(seed * 7 % 90 * WORLD_MS);
		for (unsigned n = 0; n < 100; n++) {
			size_t a = world_random(w) % SIX, b = world_random(w) % SIX;
			switch (world_random(w) % 6) {
			case 0:
				world_kill(w, a);
				break;
			case 1:
				world_boot(w, a);
				break;
			case 2:
				if (w->node[a].asleep)
					world_wake(w, a);
				else
					world_sleep(w, a, WORLD_FOREVER, n % 3 == 0);
				break;
			case 3:
				world_cut(w, a, b, n % 2 == 0);
				break;
			case 4:
				world_heal(w);
				break;
			case 5:
				if (w->node[a].up)
					world_restart(w, a, n % 2 == 0);
				break;
			}
			run(w, world_random(w) % 800);
		}
		world_heal(w);
		w->net.loss_permille = 0;
		for (size_t i = 0; i < SIX; i++)
			world_wake(w, i);
		run(w, 15000);
		for (size_t i = 0; i < SIX; i++) {
			if (w->node[i].up)
				assert_true(world_all_see(w, i, MEMBER_ALIVE));
			for (size_t j = 0; j < SIX && !w->node[i].up; j++)
				assert_true(!w->node[j].up ||
					    w->node[j].member[i].state == MEMBER_DEAD ||
					    w->node[j].member[i].state == MEMBER_UNKNOWN);
		}
		end_world(w);
	}
}

/* Numbers that leave their holder no room are not believed of anybody who is known. */
static void hearsay_does_not_leap(void **state)
{
	(void)state;
	struct world *w = new_world(4, 11);
	run(w, 2000);
	world_kill(w, 2);
	run(w, 3000);
	assert_int_equal(w->node[0].member[2].state, MEMBER_DEAD);
	struct membership_record lie = {
		.index = 2,
		.state = MEMBER_ALIVE,
		.heard_age_ms = MEMBERSHIP_AGE_NEVER,
		.generation = w->node[0].member[2].generation,
		.incarnation = 1u << 21,
		.boot_id = w->node[2].boot,
	};
	say(w, 1, 0, &lie);
	assert_int_equal(w->node[0].member[2].state, MEMBER_DEAD);
	lie.generation += 1u << 21;
	say(w, 1, 0, &lie);
	assert_int_equal(w->node[0].member[2].state, MEMBER_DEAD);
	lie.generation = w->node[0].member[2].generation;
	lie.incarnation = w->node[0].member[2].incarnation + 5;
	say(w, 1, 0, &lie);
	assert_int_equal(w->node[0].member[2].state, MEMBER_ALIVE);
	end_world(w);
}

static void see_tags(struct world *w, size_t of, const char *text)
{
	for (size_t i = 0; i < w->count; i++) {
		const struct member_tags *tags = &w->node[i].tags[of];
		assert_int_equal(tags->bytes, strlen(text));
		assert_memory_equal(tags->text, text, tags->bytes);
	}
}

static void tags_reach_everybody(void **state)
{
	(void)state;
	char longest[MEMBERSHIP_TAGS_MAX + 1];
	memset(longest, 'x', MEMBERSHIP_TAGS_MAX);
	longest[MEMBERSHIP_TAGS_MAX] = '\0';
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct world *w = new_world(seed % 2 == 0 ? SIX : 20, seed);
		w->net.loss_permille = seed % 3 == 0 ? 200 : 0;
		for (size_t i = 0; i < w->count; i++)
			world_status(w, i, (struct member_status){0}, longest);
		run(w, 15000);
		for (size_t i = 0; i < w->count; i++)
			see_tags(w, i, longest);
		world_status(w, 1, (struct member_status){0}, "role=php zone=a");
		run(w, 5000);
		see_tags(w, 1, "role=php zone=a");
		world_status(w, 1, (struct member_status){0}, "");
		run(w, 5000);
		see_tags(w, 1, "");
		/* Who comes later learns them all. */
		world_kill(w, 0);
		run(w, 3000);
		world_boot(w, 0);
		run(w, 15000);
		see_tags(w, 2, longest);
		end_world(w);
	}
}

/* The next process of the same boot is told what the last one knew: nobody notices a thing, but for
 * the next number. */
static void a_process_with_a_memory(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct world *w = new_world(SIX, seed);
		world_status(w, 3, (struct member_status){.services = 2}, "zone=b");
		run(w, 3000);
		unsigned suspicions = world_suspicions(w);
		uint32_t before = w->node[0].member[3].incarnation;
		world_restart(w, 3, true);
		for (size_t i = 0; i < SIX; i++)
			assert_int_equal(w->node[3].member[i].state, MEMBER_ALIVE);
		run(w, 2000);
		assert_int_equal(world_suspicions(w), suspicions);
		assert_int_equal(w->node[0].member[3].incarnation, before + 1);
		assert_int_equal(w->node[0].member[3].generation, 1);
		see_tags(w, 3, "zone=b");
		end_world(w);
	}
}

struct seen {
	size_t count;
	uint8_t what[32];
};

static void note_change(struct world *w, size_t node, size_t member,
			const struct membership_change *change)
{
	struct seen *seen = w->context;
	if (node == 0 && member == 2 && change->what != MEMBER_CHANGE_NUMBERS && seen->count < 32)
		seen->what[seen->count++] = change->what;
}

static void changes_come_in_order(void **state)
{
	(void)state;
	static const uint8_t expected[] = {
		MEMBER_CHANGE_JOINED, MEMBER_CHANGE_UPDATED, MEMBER_CHANGE_SUSPECT,
		MEMBER_CHANGE_ALIVE,  MEMBER_CHANGE_SUSPECT, MEMBER_CHANGE_DEAD,
		MEMBER_CHANGE_JOINED, MEMBER_CHANGE_LEFT,
	};
	struct seen seen = {0};
	struct world *w = world_new(&(struct world_config){.seed = 5, .nodes = SIX, .apart = true});
	w->context = &seen;
	w->on_change = note_change;
	for (size_t i = 0; i < SIX; i++)
		world_boot(w, i);
	run(w, 2000);
	world_status(w, 2, (struct member_status){.ready = true}, NULL);
	run(w, 1000);
	world_sleep(w, 2, 700 * WORLD_MS, true);
	run(w, 2000);
	world_kill(w, 2);
	run(w, 3000);
	world_boot(w, 2);
	run(w, 1000);
	world_leave(w, 2);
	run(w, 1000);
	/* It came back ready: its status may have come after it. */
	if (seen.count == sizeof(expected) + 1)
		memmove(&seen.what[7], &seen.what[8], 1);
	else
		assert_int_equal(seen.count, sizeof(expected));
	assert_memory_equal(seen.what, expected, sizeof(expected));
	end_world(w);
}

/* It hears nobody, and nobody says so much as no: the fault is its own, and it takes its time. */
static void a_deaf_node_doubts_itself(void **state)
{
	(void)state;
	struct world *w = new_world(SIX, 8);
	run(w, 5000);
	for (size_t i = 1; i < SIX; i++)
		world_cut(w, i, 0, false);
	run(w, 800);
	assert_true(w->node[0].m.unhelped > 0);
	assert_true(w->node[0].m.health > 0);
	run(w, 500);
	for (size_t i = 1; i < SIX; i++)
		assert_int_not_equal(w->node[0].member[i].state, MEMBER_DEAD);
	end_world(w);
	/* Of a real death the others say no, and nobody doubts himself. */
	w = new_world(SIX, 8);
	run(w, 5000);
	world_kill(w, 3);
	run(w, 2000);
	for (size_t i = 0; i < SIX; i++)
		assert_int_equal(w->node[i].m.unhelped, 0);
	end_world(w);
}

/* From the oldest version to the newest, node by node, while the cluster works. */
static void a_rolling_upgrade(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct world *w = world_new(&(struct world_config){
			.seed = seed, .nodes = SIX, .old_every = 1, .tags = true});
		w->net.loss_permille = 20;
		run(w, 2000);
		for (size_t i = 0; i < SIX; i++) {
			w->node[i].version = MEMBERSHIP_VERSION;
			world_status(w, i, (struct member_status){.services = 1}, "zone=c");
			if (seed % 2 == 0) {
				world_leave(w, i);
				run(w, 1000);
				world_kill(w, i);
				world_boot(w, i);
			} else {
				world_restart(w, i, seed % 3 == 0);
			}
			run(w, 3000);
			assert_true(world_all_alive(w));
			assert_int_equal(world_deaths(w), 0);
		}
		run(w, 5000);
		for (size_t i = 0; i < SIX; i++) {
			see_tags(w, i, "zone=c");
			assert_int_equal(w->node[0].member[i].version, MEMBERSHIP_VERSION);
		}
		assert_true(world_converged(w, NULL, 0));
		end_world(w);
	}
}

/* What a node of a large cluster does must not depend on how large. */
static void load_is_flat(void **state)
{
	(void)state;
	uint64_t bytes[2] = {0};
	for (size_t k = 0; k < 2; k++) {
		struct world *w = world_new(&(struct world_config){
			.seed = 3, .nodes = k == 0 ? 20 : 200, .settled = true});
		run(w, 2000);
		for (size_t i = 0; i < w->count; i++)
			bytes[k] -= w->node[i].bytes_out;
		run(w, 4000);
		for (size_t i = 0; i < w->count; i++)
			bytes[k] += w->node[i].bytes_out;
		bytes[k] /= w->count * 4;
		end_world(w);
	}
	print_message("bytes a second and node: %u of 20, %u of 200\n", (unsigned)bytes[0],
		      (unsigned)bytes[1]);
	assert_true(bytes[1] < bytes[0] * 12 / 10);
	assert_true(bytes[1] < 4000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_come_up),
		cmocka_unit_test(killed_is_dead_soon),
		cmocka_unit_test(three_killed_at_once_are_dead),
		cmocka_unit_test(of_two_one_is_dead),
		cmocka_unit_test(restarted_is_alive_again),
		cmocka_unit_test(restarted_process_is_no_dead_node),
		cmocka_unit_test(leaving_is_no_death),
		cmocka_unit_test(readiness_spreads_at_once),
		cmocka_unit_test(loss_kills_nobody),
		cmocka_unit_test(a_cut_link_kills_nobody),
		cmocka_unit_test(a_split_heals),
		cmocka_unit_test(a_paused_node_accuses_nobody),
		cmocka_unit_test(stalls_kill_nobody),
		cmocka_unit_test(a_liar_is_not_believed),
		cmocka_unit_test(old_news_is_no_evidence),
		cmocka_unit_test(a_life_follows_the_last),
		cmocka_unit_test(an_accusation_does_not_hide_the_past),
		cmocka_unit_test(own_past_is_outlived),
		cmocka_unit_test(load_is_bounded),
		cmocka_unit_test(larger_cluster),
		cmocka_unit_test(views_converge),
		cmocka_unit_test(hearsay_does_not_leap),
		cmocka_unit_test(tags_reach_everybody),
		cmocka_unit_test(a_process_with_a_memory),
		cmocka_unit_test(changes_come_in_order),
		cmocka_unit_test(a_deaf_node_doubts_itself),
		cmocka_unit_test(a_rolling_upgrade),
		cmocka_unit_test(load_is_flat),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
