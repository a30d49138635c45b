/*
 * Random graphs of services in random worlds (life_world.h), and an operator: what is decided is
 * carried out as the supervising process does it. Checked at each step:
 *
 *   - a GO only when all that is required is up and none that excludes it, and none that stands on
 *     its last run, is active; a STOP only for a reason, and only when none that needs it is
 * active;
 *   - never two active that exclude each other;
 *   - who has to go goes, or waits for one who really is in its way; who waits says for whom;
 *   - decisions come to an end (no livelock).
 *
 * Then one of three ends: the faults stop, and all that can run runs; a crash in such a calm
 * touches those who stand on it and nobody else; a shutdown ends with all at rest.
 */
#include "life_world.h"

#include "src/service/graph.h"

#define GRAPHS	      150000
#define MOST	      9
#define TURNS	      40
#define TURNS_TO_CALM 3000

static struct life_policy policy[MOST];
static struct world world[MOST];
static struct graph_node node[MOST];
static struct graph_service service[MOST];
static uint16_t requires[MOST][4], wants[MOST][3], after[MOST][3], conflicts[MOST][2 * MOST];
static size_t count;
static uint64_t now_ms;

static void show(void);

#define EXPECT(condition, ...)                                                     \
	do {                                                                       \
		if (!(condition)) {                                                \
			show();                                                    \
			print_error("seed %llu: ", (unsigned long long)dice_seed); \
			fail_msg(__VA_ARGS__);                                     \
		}                                                                  \
	} while (0)

/* --- the graph */

static uint32_t some_timeout(void)
{
	return chance(4) ? 0 : 50 + dice(3000);
}

static struct life_policy some_policy(void)
{
	unsigned kind = dice(6);

	return (struct life_policy){
		.on_demand = kind == 1,
		.oneshot = kind == 2 || kind == 3,
		.runs_nothing = kind == 4 && chance(2),
		.has_undo = chance(3),
		.restart = (enum life_restart)(chance(3) ? dice(3) : LIFE_RESTART_ON_FAILURE),
		.reload = (enum life_reload)dice(3),
		.start_timeout_ms = some_timeout(),
		.stop_timeout_ms = some_timeout(),
		.delay_ms = dice(100),
		.delay_max_ms = 100 + dice(1000),
		.healthy_after_ms = dice(2000),
		.limit_restarts = chance(3) ? 1 + dice(4) : 0,
		.limit_window_ms = 200 + dice(5000),
		.on_limit = (enum life_limit)dice(3),
	};
}

static size_t some_earlier(uint16_t *list, size_t most, size_t than)
{
	size_t n = than ? dice((uint32_t)most + 1) : 0;

	for (size_t k = 0; k < n; k++)
		list[k] = (uint16_t)dice((uint32_t)than);
	return n;
}

static bool has(const uint16_t *list, size_t list_count, size_t who)
{
	for (size_t k = 0; k < list_count; k++)
		if (list[k] == who)
			return true;
	return false;
}

static bool depends(size_t i, size_t on)
{
	bool found = i == on;

	for (size_t k = 0; k < node[i].requires_count; k++)
		found |= depends(requires[i][k], on);
	for (size_t m = 0; node[i].is_pool && m < count; m++)
		found |= node[m].pool == (int)i && depends(m, on);
	return found;
}

/* What the configuration refuses: one that requires, however far down, what excludes it. */
static bool is_impossible(void)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < node[i].conflicts_count; k++)
			if (depends(i, conflicts[i][k]))
				return true;
	return false;
}

/* By a reload, while both may have been running. */
static bool newly_excluded[MOST];

static void exclude(size_t a, size_t b)
{
	if (has(conflicts[a], node[a].conflicts_count, b) || depends(a, b) || depends(b, a))
		return;
	conflicts[a][node[a].conflicts_count++] = (uint16_t)b;
	conflicts[b][node[b].conflicts_count++] = (uint16_t)a;
}

/* A pool stands right behind its members, as the configuration puts it. */
static void make_pool(size_t at)
{
	size_t members = 1 + dice(3);

	if (at < members)
		return;
	for (size_t m = at - members; m < at; m++)
		if (node[m].is_pool || node[m].pool >= 0 || policy[m].runs_nothing)
			return;
	for (size_t m = at - members; m < at; m++)
		node[m].pool = (int)at;
	node[at].is_pool = true;
	policy[at].runs_nothing = true;
	policy[at].oneshot = policy[at].on_demand = policy[at].has_undo = false;
}

static void make_graph(void)
{
	count = 2 + dice(MOST - 1);
	memset(node, 0, sizeof(node));
	memset(service, 0, sizeof(service));
	memset(newly_excluded, 0, sizeof(newly_excluded));
	for (size_t i = 0; i < count; i++) {
		policy[i] = some_policy();
		node[i] = (struct graph_node){
			.requires = requires[i],
			.wants = wants[i],
			.after = after[i],
			.conflicts = conflicts[i],
			.requires_count = some_earlier(requires[i], chance(2) ? 1 : 3, i),
			.wants_count = chance(3) ? some_earlier(wants[i], 2, i) : 0,
			.after_count = chance(3) ? some_earlier(after[i], 2, i) : 0,
			.keeps = chance(4),
			.pool = -1,
		};
		service[i].wanted = !chance(8);
		service[i].conditions_hold = !chance(8);
		if (chance(6))
			make_pool(i);
	}
	for (size_t n = chance(2) ? 0 : dice(4); n > 0; n--) {
		size_t a = dice((uint32_t)count), b = dice((uint32_t)count);
		if (a != b && !node[a].is_pool && !node[b].is_pool)
			exclude(a, b);
	}
	for (size_t i = 0; i < count; i++) {
		world[i] = (struct world){
			.policy = &policy[i], .number = (unsigned)i, .kind = chance(3)};
		world[i].life.random = dice(1000);
	}
}

static void show_list(const char *what, const uint16_t *list, size_t list_count)
{
	if (list_count)
		print_message(" %s", what);
	for (size_t k = 0; k < list_count; k++)
		print_message(" %u", list[k]);
}

static void show(void)
{
	for (size_t i = 0; dice_tell && i < count; i++) {
		const struct graph_service *s = &service[i];
		print_message("%zu: %s%s%s%s%s, block %d by %u, pool %d%s%s;", i,
			      life_state_name(world[i].life.state), s->wanted ? " wanted" : "",
			      s->conditions_hold ? "" : " no condition", s->renew ? " renew" : "",
			      s->held_up ? " held" : "", s->block, s->blocker, node[i].pool,
			      node[i].is_pool ? " a pool" : "", node[i].keeps ? " keeps" : "");
		show_list("requires", requires[i], node[i].requires_count);
		show_list("wants", wants[i], node[i].wants_count);
		show_list("after", after[i], node[i].after_count);
		show_list("conflicts", conflicts[i], node[i].conflicts_count);
		print_message("\n");
	}
}

/* --- facts, from the lives alone */

static bool active(size_t i)
{
	return life_is_active(&world[i].life);
}

static bool runs(size_t i)
{
	enum life_state state = world[i].life.state;

	return state == LIFE_LISTENING || state == LIFE_STARTING || state == LIFE_READY ||
	       state == LIFE_RELOADING;
}

/* … or is between two tries, and its sockets are open. */
static bool is_there(size_t i)
{
	return active(i) || world[i].life.stands;
}

static bool up(size_t i)
{
	return life_is_up(&world[i].life);
}

static bool must_go(size_t i);

static bool is_excluded(size_t i)
{
	const struct graph_service *s = &service[i];

	for (size_t k = 0; active(i) && k < node[i].conflicts_count; k++)
		if (conflicts[i][k] < i && active(conflicts[i][k]) && !must_go(conflicts[i][k]))
			return true;
	return !active(i) &&
	       (s->block == GRAPH_CONFLICT || (s->block == GRAPH_DEPENDENT && !s->held_up &&
					       !s->comes_back && node[i].conflicts_count));
}

static bool must_go(size_t i);
static bool had_to_go[MOST]; /* when the round was decided */

/* It may not be there now, but is on its way back. */
static bool is_on_its_way(size_t i)
{
	enum life_state state = world[i].life.state;
	bool member = false;

	if (!service[i].wanted || !service[i].conditions_hold || state == LIFE_FAILED ||
	    state == LIFE_ENDED || is_excluded(i))
		return false;
	for (size_t k = 0; k < node[i].requires_count; k++) {
		size_t r = requires[i][k];
		bool carried = (is_there(i) && node[i].keeps && is_on_its_way(r)) ||
			       (up(r) && !must_go(r));
		if (!carried && !is_on_its_way(r))
			return false;
	}
	for (size_t m = 0; node[i].is_pool && m < count; m++)
		member |= node[m].pool == (int)i && is_on_its_way(m);
	return member || !node[i].is_pool;
}

/* There is a reason why it may not run. */
static bool must_go(size_t i)
{
	bool member = false;

	if (!service[i].wanted || !service[i].conditions_hold || service[i].renew)
		return true;
	if (is_excluded(i))
		return true;
	for (size_t k = 0; k < node[i].requires_count; k++) {
		size_t r = requires[i][k];
		if (is_there(i) && node[i].keeps && is_on_its_way(r))
			continue;
		if (!up(r) || must_go(r))
			return true;
	}
	for (size_t m = 0; node[i].is_pool && m < count; m++)
		member |= node[m].pool == (int)i && up(m) && !must_go(m);
	return node[i].is_pool && !member;
}

/* --- what is decided is right */

static void check_go(size_t i)
{
	EXPECT(!must_go(i), "GO for %zu, which has to go", i);
	for (size_t k = 0; k < node[i].requires_count; k++) {
		size_t r = requires[i][k];
		EXPECT(world[i].life.stands || (up(r) && world[r].life.state != LIFE_RELOADING),
		       "GO for %zu, but %zu, which it requires, is %s", i, r,
		       life_state_name(world[r].life.state));
	}
	for (size_t k = 0; k < node[i].conflicts_count; k++)
		EXPECT(!active(conflicts[i][k]), "GO for %zu beside %u", i, conflicts[i][k]);
	for (size_t d = 0; d < count; d++)
		EXPECT(!active(d) || node[d].keeps || up(i) ||
			       !has(requires[d], node[d].requires_count, i),
		       "GO for %zu while %zu, which requires it, is active", i, d);
	for (size_t k = 0; k < node[i].wants_count + node[i].after_count; k++) {
		size_t o =
			k < node[i].wants_count ? wants[i][k] : after[i][k - node[i].wants_count];
		EXPECT(world[o].life.state != LIFE_STARTING || world[o].life.stands,
		       "GO for %zu before %zu has settled", i, o);
	}
}

static void check_stop(size_t i)
{
	EXPECT(had_to_go[i], "STOP for %zu in %s without a reason", i,
	       life_state_name(world[i].life.state));
	if (!runs(i))
		return;
	for (size_t d = 0; d < count; d++) {
		bool keeps = node[d].keeps && is_on_its_way(i);
		EXPECT(!active(d) || keeps || !has(requires[d], node[d].requires_count, i),
		       "STOP for %zu while %zu, which requires it, is active", i, d);
		bool later = has(wants[d], node[d].wants_count, i) ||
			     has(after[d], node[d].after_count, i);
		EXPECT(!later || !active(d) || !must_go(d),
		       "STOP for %zu before %zu, which comes after it and goes too", i, d);
	}
}

/* Whoever waits says for whom, and that is true. */
static void check_block(size_t i)
{
	const struct graph_service *s = &service[i];
	uint16_t b = s->blocker;

	switch (s->block) {
	case GRAPH_REQUIREMENT:
		EXPECT(has(requires[i], node[i].requires_count, b) &&
			       (!up(b) || must_go(b) || world[b].life.state == LIFE_RELOADING ||
				world[b].life.state == LIFE_IDLE),
		       "%zu says that it lacks %u", i, b);
		break;
	case GRAPH_ORDER:
		EXPECT(has(wants[i], node[i].wants_count, b) ||
			       has(after[i], node[i].after_count, b),
		       "%zu says that it comes after %u", i, b);
		break;
	case GRAPH_DEPENDENT:
		EXPECT(active(b) && (has(requires[b], node[b].requires_count, i) ||
				     has(wants[b], node[b].wants_count, i) ||
				     has(after[b], node[b].after_count, i)),
		       "%zu says that %u has to stop first", i, b);
		break;
	case GRAPH_CONFLICT:
		EXPECT(has(conflicts[i], node[i].conflicts_count, b) &&
			       (active(b) || (b < i && service[b].wanted)),
		       "%zu says that %u excludes it", i, b);
		break;
	case GRAPH_NOT_WANTED:
		EXPECT(!s->wanted, "%zu says that it is not wanted", i);
		break;
	case GRAPH_CONDITION:
		EXPECT(!s->conditions_hold, "%zu says that a condition does not hold", i);
		break;
	case GRAPH_RENEW:
		EXPECT(s->renew, "%zu says that it is being restarted", i);
		break;
	case GRAPH_NO_MEMBER:
		EXPECT(node[i].is_pool, "%zu says that it has no member", i);
		break;
	case GRAPH_FREE:
		break;
	}
}

/* Nothing is to be decided any more. */
static void check_settled(void)
{
	for (size_t i = 0; i < count; i++) {
		check_block(i);
		if (runs(i))
			EXPECT(!must_go(i) || service[i].block == GRAPH_DEPENDENT,
			       "%zu is %s, has to go, and does not", i,
			       life_state_name(world[i].life.state));
		bool ends = world[i].life.state == LIFE_STOPPING ||
			    world[i].life.state == LIFE_CLEARING ||
			    world[i].life.state == LIFE_UNDOING;
		EXPECT(!ends || !must_go(i) || world[i].life.stop_asked,
		       "%zu ends, has to stay so, and was not told", i);
		if (world[i].life.state == LIFE_IDLE)
			EXPECT(service[i].block != GRAPH_FREE, "%zu is down for no reason", i);
		if (world[i].life.stands && !active(i))
			EXPECT(!must_go(i) || service[i].block == GRAPH_DEPENDENT ||
				       world[i].life.state == LIFE_BACKOFF,
			       "%zu is down, and its sockets take clients", i);
		for (size_t k = 0; active(i) && k < node[i].conflicts_count; k++)
			EXPECT(!active(conflicts[i][k]) || newly_excluded[i],
			       "%zu and %u exclude each other", i, conflicts[i][k]);
	}
}

/* --- the supervising process */

/* False: it came to nothing, and the rest of the round was decided on other grounds. */
static bool carry_out(size_t i)
{
	struct world *w = &world[i];

	if (service[i].verdict == GRAPH_GO)
		check_go(i);
	else
		check_stop(i);
	world_event(w, service[i].verdict == GRAPH_GO ? LIFE_GO : LIFE_STOP, now_ms);
	if (w->life.state == LIFE_LISTENING && service[i].verdict == GRAPH_GO && !w->kind &&
	    chance(4)) {
		world_event(w, LIFE_EXIT_BAD, now_ms); /* could not listen */
		return false;
	}
	return true;
}

static bool settle_once(void)
{
	bool moved = false;

	for (size_t i = 0; i < count; i++) {
		if (world[i].life.state == LIFE_CLEARING && world_is_empty(&world[i])) {
			world_event(&world[i], LIFE_EMPTY, now_ms);
			moved = true;
		}
		if (service[i].renew && !active(i)) {
			service[i].renew = false;
			world_event(&world[i], LIFE_RESET, now_ms);
		}
		service[i].life = world[i].life;
	}
	graph_decide(node, service, count);
	for (size_t i = 0; i < count; i++)
		had_to_go[i] = must_go(i);
	for (size_t i = 0; i < count; i++) {
		if (service[i].verdict == GRAPH_STAY)
			continue;
		moved = true;
		if (!carry_out(i))
			break;
	}
	return moved;
}

static void settle(void)
{
	for (size_t round = 0; settle_once(); round++)
		EXPECT(round < 8 * count + 8, "decisions without end");
	check_settled();
}

static bool forward(void)
{
	uint64_t next_ms = 0;

	for (size_t i = 0; i < count; i++)
		next_ms = first_of(next_ms, world_next(&world[i]));
	if (next_ms == 0)
		return false;
	now_ms = next_ms > now_ms ? next_ms : now_ms;
	for (size_t i = 0; i < count; i++)
		world_turn(&world[i], now_ms);
	settle();
	return true;
}

/* --- the operator */

static void want(size_t i, bool wanted)
{
	service[i].wanted = wanted;
	for (size_t m = 0; m < count; m++)
		if (node[m].pool == (int)i)
			service[m].wanted = wanted;
}

static void start(size_t i)
{
	want(i, true);
	world_event(&world[i], LIFE_RESET, now_ms);
	for (size_t k = 0; k < node[i].requires_count; k++)
		start(requires[i][k]);
}

/* What a reload changes without a restart. Two that exclude each other from now on may both run:
 * the later one has to go. */
static void reload(size_t i, size_t other)
{
	node[i].keeps = chance(4);
	policy[i].restart = (enum life_restart)dice(3);
	if (chance(3) && !node[i].is_pool) {
		node[i].requires_count = some_earlier(requires[i], 3, i);
		if (is_impossible())
			node[i].requires_count = 0;
	}
	if (chance(2) || i == other || node[i].is_pool || node[other].is_pool)
		return;
	exclude(i, other);
	newly_excluded[i] = newly_excluded[other] = true;
}

static void operator_does_something(void)
{
	static const enum life_event asked[] = {LIFE_RELOAD, LIFE_RELOADS,   LIFE_LEAVES,
						LIFE_UNUSED, LIFE_UNHEALTHY, LIFE_BECAME_READY};
	size_t i = dice((uint32_t)count);

	switch (dice(8)) {
	case 0:
		want(i, false);
		break;
	case 1:
		start(i);
		break;
	case 2:
		start(i);
		for (size_t m = 0; m < count; m++)
			service[m].renew |= m == i || node[m].pool == (int)i;
		break;
	case 3:
		service[i].conditions_hold = !service[i].conditions_hold;
		break;
	case 4:
		world_event(&world[i], asked[dice(6)], now_ms);
		break;
	case 5:
		if (world[i].command != NOTHING)
			world[i].exit_ms = now_ms; /* killed */
		break;
	case 6:
		reload(i, dice((uint32_t)count));
		break;
	default:
		break;
	}
	settle();
}

/* --- the ends */

/* From now on it does its part, and what it is at comes to an end. */
static void calm_down(struct world *w)
{
	w->kind = true;
	w->other_ms = w->demand_ms = 0;
	if (w->command == NOTHING)
		return;
	w->obeys = true;
	bool stays = w->life.state == LIFE_READY ||
		     (w->life.state == LIFE_STARTING && !policy[w->number].oneshot) ||
		     w->life.state == LIFE_RELOADING;
	w->exit_ms = stays ? 0 : soon(now_ms);
	w->ready_ms = stays && w->life.state != LIFE_READY ? soon(now_ms) : 0;
}

static void until_calm(void)
{
	for (int turn = 0;; turn++) {
		for (size_t i = 0; i < count; i++)
			if (world[i].command != NOTHING && !world_next(&world[i]) &&
			    world[i].life.state != LIFE_READY)
				world[i].exit_ms = soon(now_ms); /* no deadline */
		if (!forward())
			return;
		EXPECT(turn < TURNS_TO_CALM, "no fault any more, and no calm");
	}
}

/* All wanted, all calm: what does not run is kept from it by a fact. */
static void has_to_converge(void)
{
	for (size_t i = 0; i < count; i++) {
		want(i, true);
		service[i].conditions_hold = true;
		policy[i].restart = LIFE_RESTART_ALWAYS;
		policy[i].limit_restarts = 0;
		policy[i].start_timeout_ms = 0;
		world[i].life.given_up = false;
		calm_down(&world[i]);
	}
	settle();
	until_calm();
	for (size_t i = 0; i < count; i++)
		if (!active(i))
			world_event(&world[i], LIFE_RESET, now_ms);
	settle();
	until_calm();
	for (size_t i = 0; i < count; i++) {
		bool excused = up(i) || node[i].is_pool;
		for (size_t k = 0; k < node[i].requires_count; k++)
			excused |= !up(requires[i][k]);
		for (size_t k = 0; k < node[i].conflicts_count; k++)
			excused |= active(conflicts[i][k]);
		for (size_t m = 0; node[i].is_pool && m < count; m++)
			EXPECT(up(i) || node[m].pool != (int)i || !up(m) || node[i].requires_count,
			       "pool %zu is down with a member up", i);
		for (size_t k = 0; active(i) && k < node[i].conflicts_count; k++)
			EXPECT(!active(conflicts[i][k]), "%zu and %u run in the end", i,
			       conflicts[i][k]);
		EXPECT(excused, "%zu could run and is %s", i, life_state_name(world[i].life.state));
	}
}

/* Where services exclude each other, a crash may be another one's start, and that of all above. */
static void mark_who_minds(bool *marked, size_t i)
{
	bool conflict = false;

	if (marked[i])
		return;
	marked[i] = true;
	for (size_t k = 0; k < count; k++)
		conflict |= node[k].conflicts_count > 0;
	for (size_t d = 0; d < count; d++)
		if (has(requires[d], node[d].requires_count, i) && (!node[d].keeps || conflict))
			mark_who_minds(marked, d);
	if (node[i].pool >= 0)
		mark_who_minds(marked, (size_t)node[i].pool);
	for (size_t k = 0; k < node[i].conflicts_count; k++)
		mark_who_minds(marked, conflicts[i][k]);
}

/* In a calm, one crashes: strangers do not notice, and all is as before in the end. */
static void a_crash_concerns_its_dependents_alone(void)
{
	bool marked[MOST] = {false}, was_up[MOST];
	uint32_t starts[MOST];
	uint64_t since_ms[MOST];
	size_t i = dice((uint32_t)count);

	has_to_converge();
	if (world[i].command == NOTHING)
		return;
	mark_who_minds(marked, i);
	for (size_t k = 0; k < count; k++) {
		was_up[k] = up(k);
		starts[k] = world[k].life.starts;
		since_ms[k] = world[k].life.since_ms;
	}
	world[i].exit_ms = ++now_ms;
	world[i].exit_good = false;
	until_calm();
	for (size_t k = 0; k < count; k++) {
		if (!marked[k])
			EXPECT(world[k].life.starts == starts[k] &&
				       world[k].life.since_ms == since_ms[k],
			       "%zu has crashed, and %zu was touched", i, k);
		if (node[k].conflicts_count == 0 && node[i].conflicts_count == 0 && was_up[k])
			EXPECT(up(k) || world[k].life.state == LIFE_IDLE,
			       "%zu has crashed, and %zu does not come back", i, k);
	}
	EXPECT(up(i) || node[i].conflicts_count || world[i].life.state == LIFE_IDLE,
	       "%zu does not come back", i);
}

static void has_to_shut_down(void)
{
	for (size_t i = 0; i < count; i++)
		service[i].wanted = false;
	settle();
	for (int turn = 0; turn < TURNS_TO_CALM; turn++) {
		bool all = true;
		for (size_t i = 0; i < count; i++) {
			if (world[i].command != NOTHING && !world_next(&world[i]))
				world[i].exit_ms = soon(now_ms); /* no deadline */
			all &= world[i].life.state == LIFE_IDLE && !world[i].listens;
		}
		if (all)
			return;
		EXPECT(forward(), "shutdown waits for nothing that ever comes");
	}
	EXPECT(false, "shutdown does not end");
}

static void play(void)
{
	static void (*const end[])(void) = {has_to_converge, has_to_shut_down,
					    a_crash_concerns_its_dependents_alone};

	make_graph();
	now_ms = 1 + dice(10);
	settle();
	for (int turn = (int)dice(TURNS); turn > 0; turn--) {
		if (chance(3)) {
			now_ms += dice(30);
			operator_does_something();
		}
		if (!forward())
			now_ms += dice(3000);
	}
	end[dice(3)]();
}

static void random_graphs(void **state)
{
	(void)state;
	dice_all(play, GRAPHS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_graphs),
	};
	return cmocka_run_group_tests_name("graph, at random", tests, NULL, NULL);
}
