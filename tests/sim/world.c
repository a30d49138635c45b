/* Virtual time, machines and network. See world.h. */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_PACKET     UINT32_MAX
#define HELLO_US      200000u
#define COOKIE_US     4000000u
#define CASES	      64
#define PAIR_RATE_MAX 64 /* what the seal lets one sibling send in a second */

enum { EVENT_WAKE, EVENT_TIMER, EVENT_PACKET, EVENT_SLICE };
enum { HELLO, CHALLENGE, ANSWER, HEARTBEAT };

struct sim_packet {
	uint32_t next; /* in a list */
	uint8_t kind;
	uint8_t version;
	uint16_t bytes;
	uint32_t from, to;
	uint64_t from_boot, to_boot, sequence;
	uint64_t process, made_us; /* handshake: of the one who asked to be answered */
	uint8_t content[WIRE_CONTENT_MAX_BYTES];
};

/* --- chance */

uint64_t world_random(struct world *w)
{
	/* splitmix64 */
	uint64_t z = w->random += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t world_below(struct world *w, uint64_t limit)
{
	return limit == 0 ? 0 : world_random(w) % limit;
}

static bool happens(struct world *w, uint32_t permille)
{
	return permille != 0 && world_below(w, 1000) < permille;
}

static void *must_alloc(size_t count, size_t bytes)
{
	void *memory = calloc(count > 0 ? count : 1, bytes);
	if (!memory) {
		perror("simulator: memory");
		exit(1);
	}
	return memory;
}

/* --- the queue: what happens next */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
	return a->time_us != b->time_us ? a->time_us < b->time_us : a->order < b->order;
}

/* At one time wakes come before timers, and these before packets: a process looks at its clock
 * first. */
static void push(struct world *w, uint64_t time_us, uint32_t kind, uint32_t what)
{
	if (w->heap_count == w->heap_room) {
		w->heap_room = w->heap_room * 2 + 64;
		w->heap = realloc(w->heap, w->heap_room * sizeof(*w->heap));
		if (!w->heap)
			exit(1);
	}
	struct sim_event event = {.time_us = time_us > w->now ? time_us : w->now,
				  .order = (uint64_t)kind << 60 | ++w->order,
				  .kind = kind,
				  .what = what};
	size_t i = w->heap_count++;
	while (i > 0 && earlier(&event, &w->heap[(i - 1) / 2])) {
		w->heap[i] = w->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	w->heap[i] = event;
}

static struct sim_event pop(struct world *w)
{
	struct sim_event first = w->heap[0], last = w->heap[--w->heap_count];
	size_t i = 0;
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= w->heap_count)
			break;
		if (child + 1 < w->heap_count && earlier(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!earlier(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = last;
	return first;
}

/* --- clocks */

static uint64_t clock_at(const struct sim_node *n, uint64_t now)
{
	uint64_t ran = now - n->frozen_us;
	return n->offset_us + ran * (uint64_t)(1000000 + n->rate_ppm) / 1000000;
}

uint64_t world_clock_us(const struct world *w, const struct sim_node *n)
{
	return clock_at(n, w->now);
}

static void set_timer(struct world *w, size_t i)
{
	struct sim_node *n = &w->node[i];
	uint64_t due = membership_next_ms(&n->m) * WORLD_MS, local = world_clock_us(w, n);
	uint64_t at = w->now;
	if (due > local) {
		uint64_t wait = due - local;
		at += (uint64_t)((int64_t)wait - (int64_t)wait / 1000 * n->rate_ppm / 1000);
		while (clock_at(n, at) < due)
			at += 20;
	}
	/* An earlier one that is under way sees for itself that it is too early. */
	if (n->timer_us <= at)
		return;
	n->timer_us = at;
	push(w, at, EVENT_TIMER, (uint32_t)i);
}

/* --- the network */

static bool is_cut(const struct world *w, size_t from, size_t to)
{
	return (w->cut && w->cut[from * w->count + to]) ||
	       (w->split && w->side[from] != w->side[to]);
}

static struct sim_packet *new_packet(struct world *w, uint32_t *index)
{
	if (w->packet_free == NO_PACKET) {
		size_t room = w->packet_count * 2 + 256;
		w->packet = realloc(w->packet, room * sizeof(*w->packet));
		if (!w->packet)
			exit(1);
		for (size_t i = room; i-- > w->packet_count;) {
			w->packet[i].next = w->packet_free;
			w->packet_free = (uint32_t)i;
		}
		w->packet_count = room;
	}
	*index = w->packet_free;
	struct sim_packet *p = &w->packet[*index];
	w->packet_free = p->next;
	p->next = NO_PACKET;
	return p;
}

static void free_packet(struct world *w, uint32_t index)
{
	w->packet[index].next = w->packet_free;
	w->packet_free = index;
}

static uint64_t travel_us(struct world *w)
{
	uint64_t us = w->net.delay_us + world_below(w, w->net.jitter_us + 1);
	if (happens(w, w->net.slow_permille))
		us += world_below(w, w->net.slow_us + 1);
	return us;
}

/* Takes the packet over: it is lost, comes late, comes twice. */
static void send_packet(struct world *w, uint32_t index)
{
	struct sim_packet *p = &w->packet[index];
	struct sim_node *n = &w->node[p->from];
	n->packets_out++;
	n->bytes_out += WORLD_OVERHEAD + p->bytes;
	w->packets++;
	if (is_cut(w, p->from, p->to) || happens(w, w->net.loss_permille)) {
		free_packet(w, index);
		return;
	}
	if (happens(w, w->net.duplicate_permille)) {
		uint32_t twin;
		struct sim_packet *copy = new_packet(w, &twin);
		p = &w->packet[index];
		memcpy(copy, p, offsetof(struct sim_packet, content) + p->bytes);
		copy->next = NO_PACKET;
		push(w, w->now + travel_us(w), EVENT_PACKET, twin);
	}
	push(w, w->now + travel_us(w), EVENT_PACKET, index);
}

/* --- sessions */

static size_t pairs_of(const struct world *w)
{
	return w->count <= WORLD_SESSIONS_MAX ? w->count : WORLD_SESSIONS_LARGE;
}

static struct pair *pair_of(struct world *w, size_t i, size_t peer)
{
	struct sim_node *n = &w->node[i];
	struct pair *pair = &n->pair[peer % pairs_of(w)];
	if (pair->used && pair->peer == peer)
		return pair;
	memset(pair, 0, sizeof(*pair));
	pair->used = true;
	pair->peer = (uint32_t)peer;
	/* A large world forgets sessions that real nodes keep. */
	if (w->count > WORLD_SESSIONS_MAX && n->member[peer].state != MEMBER_UNKNOWN &&
	    n->member[peer].boot_id == w->node[peer].boot)
		pair->known_boot = w->node[peer].boot;
	return pair;
}

static void send_handshake(struct world *w, size_t from, size_t to, uint8_t kind, uint64_t to_boot,
			   uint64_t process)
{
	uint32_t index;
	struct sim_packet *p = new_packet(w, &index);
	*p = (struct sim_packet){.next = NO_PACKET,
				 .kind = kind,
				 .version = w->node[from].version,
				 .bytes = WIRE_HANDSHAKE_BYTES,
				 .from = (uint32_t)from,
				 .to = (uint32_t)to,
				 .from_boot = w->node[from].boot,
				 .to_boot = to_boot,
				 .sequence = ++w->order,
				 .process = process,
				 .made_us = w->now};
	send_packet(w, index);
}

static void send_heartbeat(struct world *w, size_t from, const struct membership_action *action)
{
	static struct membership_heartbeat hb;
	struct sim_node *n = &w->node[from];
	size_t to = action->index;
	struct pair *pair = pair_of(w, from, to);
	if ((pair->known_boot == 0 || pair->stranger) &&
	    (pair->hello_us == 0 || w->now - pair->hello_us >= HELLO_US)) {
		pair->hello_us = w->now;
		send_handshake(w, from, to, HELLO, 0, n->process);
	}
	if (pair->known_boot == 0)
		return;
	if (pair->second != w->now / WORLD_SECOND)
		pair->in_second = 0;
	pair->second = w->now / WORLD_SECOND;
	if (++pair->in_second > PAIR_RATE_MAX)
		world_fail(w, "node %zu sends node %zu more than %u packets in a second", from, to,
			   PAIR_RATE_MAX);
	struct wire_timing timing;
	uint64_t local = world_clock_us(w, n);
	link_stamp(&pair->link, local, &timing);
	membership_fill(&n->m, action, local / WORLD_MS, &hb);
	check_heartbeat(w, &hb);
	uint32_t index;
	struct sim_packet *p = new_packet(w, &index);
	p->kind = HEARTBEAT;
	p->version = n->version;
	p->from = (uint32_t)from;
	p->to = (uint32_t)to;
	p->from_boot = n->boot;
	p->to_boot = pair->known_boot;
	p->sequence = ++w->order;
	uint8_t version = wire_common_version(n->version, n->member[to].version);
	p->bytes = (uint16_t)wire_put_heartbeat(p->content, &w->table, version, &timing, &hb);
	if (p->bytes > WIRE_CONTENT_MAX_BYTES)
		world_fail(w, "a packet of %u bytes", p->bytes);
	send_packet(w, index);
}

void world_step(struct world *w, size_t i, const struct membership_event *event)
{
	static struct membership_actions actions;
	struct sim_node *n = &w->node[i];
	n->steps++;
	membership_step(&n->m, event, world_clock_us(w, n) / WORLD_MS, &actions);
	check_step(w, i, event, &actions);
	for (size_t a = 0; a < actions.count; a++) {
		const struct membership_action *action = &actions.action[a];
		if (action->type == MEMBERSHIP_SEND)
			send_heartbeat(w, i, action);
		else if (action->type == MEMBERSHIP_GONE)
			n->gone_us = w->now;
	}
	set_timer(w, i);
}

static void begin_session(struct world *w, size_t i, size_t with, uint64_t boot, uint8_t version,
			  uint64_t floor)
{
	struct pair *pair = pair_of(w, i, with);
	pair->stranger = false;
	if (pair->known_boot == boot)
		return;
	pair->known_boot = boot;
	pair->floor = floor;
	memset(pair->window, 0, sizeof(pair->window));
	link_begin(&pair->link, world_clock_us(w, &w->node[i]));
	struct membership_event event = {.type = MEMBERSHIP_CONTACT,
					 .from = (uint16_t)with,
					 .boot_id = boot,
					 .version = version};
	check_heard(w, i, with, boot, 0);
	world_step(w, i, &event);
}

static void take_handshake(struct world *w, const struct sim_packet *p)
{
	struct sim_node *n = &w->node[p->to];
	switch (p->kind) {
	case HELLO:
		send_handshake(w, p->to, p->from, CHALLENGE, p->from_boot, n->process);
		break;
	case CHALLENGE:
		if (p->to_boot != n->boot || w->now - p->made_us > 2 * WORLD_SECOND)
			break;
		begin_session(w, p->to, p->from, p->from_boot, p->version, p->sequence);
		send_handshake(w, p->to, p->from, ANSWER, p->from_boot, p->process);
		break;
	default:
		/* The cookie is one of this very process. */
		if (p->to_boot == n->boot && p->process == n->process &&
		    w->now - p->made_us < COOKIE_US)
			begin_session(w, p->to, p->from, p->from_boot, p->version, p->sequence);
		break;
	}
}

/* True if it was seen before, or is older than all that are remembered. */
static bool is_replay(struct pair *pair, uint64_t sequence, bool *newest)
{
	size_t at = 0;
	if (sequence <= pair->floor)
		return true;
	while (at < WORLD_WINDOW && pair->window[at] > sequence)
		at++;
	if (at == WORLD_WINDOW || pair->window[at] == sequence)
		return true;
	memmove(&pair->window[at + 1], &pair->window[at],
		(WORLD_WINDOW - 1 - at) * sizeof(pair->window[0]));
	pair->window[at] = sequence;
	*newest = at == 0;
	return false;
}

static void take_heartbeat(struct world *w, const struct sim_packet *p)
{
	static struct membership_heartbeat hb;
	struct sim_node *n = &w->node[p->to];
	struct pair *pair = pair_of(w, p->to, p->from);
	struct wire_timing timing;
	bool newest = false;
	if (p->to_boot != n->boot)
		return;
	if (p->from_boot != pair->known_boot) {
		pair->stranger = true;
		return;
	}
	if (is_replay(pair, p->sequence, &newest))
		return;
	/* Byte 15 is the version of the content (0: the first); an old node cannot read a newer
	 * one.
	 */
	if (p->content[15] > n->version)
		return;
	if (!wire_get_heartbeat(p->content, p->bytes, &w->table, &timing, &hb)) {
		world_fail(w, "a packet of node %u to node %u cannot be read", p->from, p->to);
		return;
	}
	uint32_t age_ms = link_take(&pair->link, &timing, newest, world_clock_us(w, n));
	struct membership_event event = {
		.type = MEMBERSHIP_HEARTBEAT,
		.from = (uint16_t)p->from,
		.boot_id = p->from_boot,
		.version = p->version,
		.newest = newest,
		.age_ms = age_ms,
		.heartbeat = &hb,
	};
	check_heard(w, p->to, p->from, p->from_boot, age_ms);
	world_step(w, p->to, &event);
}

static void take_packet(struct world *w, uint32_t index)
{
	static struct sim_packet p;
	memcpy(&p, &w->packet[index],
	       offsetof(struct sim_packet, content) + w->packet[index].bytes);
	free_packet(w, index);
	if (!w->node[p.to].up)
		return;
	if (p.kind == HEARTBEAT)
		take_heartbeat(w, &p);
	else
		take_handshake(w, &p);
}

static void deliver(struct world *w, uint32_t index)
{
	struct sim_packet *p = &w->packet[index];
	struct sim_node *n = &w->node[p->to];
	if (!n->up || !n->asleep) {
		take_packet(w, index);
		return;
	}
	if (n->inbox_count == WORLD_INBOX) {
		free_packet(w, index);
		return;
	}
	p->next = NO_PACKET;
	if (n->inbox_first == NO_PACKET)
		n->inbox_first = index;
	else
		w->packet[n->inbox_last].next = index;
	n->inbox_last = index;
	n->inbox_count++;
}

/* --- machines */

static void run_timer(struct world *w, size_t i)
{
	struct sim_node *n = &w->node[i];
	n->timer_us = WORLD_FOREVER;
	if (!n->up || n->asleep)
		return;
	/* One judgement may make another one due, but time handled is time past: no caller spins.
	 */
	for (unsigned again = 0; world_clock_us(w, n) / WORLD_MS >= membership_next_ms(&n->m);
	     again++) {
		struct membership_event event = {.type = MEMBERSHIP_TIME,
						 .random = world_random(w)};
		world_step(w, i, &event);
		if (again > w->count + 8) {
			world_fail(w, "node %zu spins", i);
			return;
		}
		if (w->failure[0] != '\0')
			return;
	}
	set_timer(w, i);
}

void world_wake(struct world *w, size_t i)
{
	struct sim_node *n = &w->node[i];
	if (!n->asleep)
		return;
	n->asleep = false;
	if (n->frozen)
		n->frozen_us += w->now - n->slept_us;
	if (!n->up)
		return;
	run_timer(w, i);
	while (n->inbox_first != NO_PACKET && w->failure[0] == '\0') {
		uint32_t index = n->inbox_first;
		n->inbox_first = w->packet[index].next;
		n->inbox_count--;
		take_packet(w, index);
	}
	set_timer(w, i);
}

static void on_wake(struct world *w, size_t i)
{
	/* An older plan to wake must not end a newer sleep. */
	if (w->node[i].asleep && w->node[i].slept_us <= w->now && w->node[i].timer_us <= w->now) {
		w->node[i].timer_us = WORLD_FOREVER;
		world_wake(w, i);
	}
}

void world_sleep(struct world *w, size_t i, uint64_t us, bool frozen)
{
	struct sim_node *n = &w->node[i];
	if (n->asleep || !n->up)
		return;
	n->asleep = true;
	n->frozen = frozen;
	n->slept_us = w->now;
	n->timer_us = us == WORLD_FOREVER ? WORLD_FOREVER : w->now + us;
	if (us != WORLD_FOREVER)
		push(w, n->timer_us, EVENT_WAKE, (uint32_t)i);
}

/* It runs a little, sleeps much, and its clock goes on. */
static void on_slice(struct world *w, size_t i)
{
	struct sim_node *n = &w->node[i];
	if (n->starved_percent == 0)
		return;
	uint64_t turn = n->starve_period_us / 8 + world_below(w, n->starve_period_us * 7 / 8 + 1);
	uint64_t sleeps = turn * n->starved_percent / 100;
	world_sleep(w, i, sleeps, false);
	push(w, w->now + turn, EVENT_SLICE, (uint32_t)i);
}

void world_starve(struct world *w, size_t i, uint32_t percent, uint64_t period_us)
{
	struct sim_node *n = &w->node[i];
	bool was = n->starved_percent != 0;
	n->starved_percent = percent;
	n->starve_period_us = period_us;
	if (!was && percent != 0)
		push(w, w->now, EVENT_SLICE, (uint32_t)i);
}

static void start_process(struct world *w, size_t i)
{
	struct sim_node *n = &w->node[i];
	for (uint32_t index = n->inbox_first; index != NO_PACKET;) {
		uint32_t next = w->packet[index].next;
		free_packet(w, index);
		index = next;
	}
	n->inbox_first = NO_PACKET;
	n->inbox_count = 0;
	n->process = ++w->processes;
	n->asleep = false;
	n->up = true;
	n->gone_us = 0;
	n->changes = 0;
	n->timer_us = WORLD_FOREVER;
	memset(n->pair, 0, sizeof(*n->pair) * pairs_of(w));
	struct membership_config config = {
		.timers = &membership_timers_default,
		.count = w->count,
		.self = i,
		.boot_id = n->boot,
		.version = n->version,
		.member = n->member,
		.order = n->order,
		.tags = n->version >= 2 ? n->tags : NULL,
		.cases = n->cases,
		.case_count = CASES,
	};
	membership_init(&n->m, &config, world_clock_us(w, n) / WORLD_MS);
	check_forget(w, i);
}

/* What the supervising process says to a gossip process first. */
static void tell_status(struct world *w, size_t i)
{
	struct membership_event event = {.type = MEMBERSHIP_STATUS,
					 .status = w->node[i].status,
					 .tags = &w->node[i].own_tags};
	world_step(w, i, &event);
}

void world_boot(struct world *w, size_t i)
{
	struct sim_node *n = &w->node[i];
	n->boot = (++w->boots << 20) + 0x1234;
	n->frozen_us = 0;
	n->rate_ppm = w->config.rate_ppm == 0
			      ? 0
			      : (int64_t)world_below(w, (uint64_t)w->config.rate_ppm * 2 + 1) -
					w->config.rate_ppm;
	n->offset_us = 0;
	/* A machine's clock begins anew at each boot. */
	uint64_t start = WORLD_SECOND + world_below(w, 5 * WORLD_SECOND);
	n->offset_us = start - clock_at(n, w->now);
	start_process(w, i);
	tell_status(w, i);
}

void world_kill(struct world *w, size_t i)
{
	w->node[i].up = false;
	w->node[i].asleep = false;
}

void world_restart(struct world *w, size_t i, bool restore)
{
	struct sim_node *n = &w->node[i];
	struct member *known = must_alloc(w->count, sizeof(*known));
	struct member_tags *tags = must_alloc(w->count, sizeof(*tags));
	memcpy(known, n->member, w->count * sizeof(*known));
	if (n->m.tags)
		memcpy(tags, n->m.tags, w->count * sizeof(*tags));
	start_process(w, i);
	for (size_t j = 0; j < w->count && restore; j++) {
		struct membership_record r = {
			.index = (uint16_t)j,
			.state = known[j].state,
			.generation = known[j].generation,
			.incarnation = known[j].incarnation,
			.boot_id = known[j].boot_id,
			.status = known[j].status,
			.tagged = true,
			.tags_hash = known[j].tags_hash,
		};
		membership_restore(&n->m, &r, &tags[j], world_clock_us(w, n) / WORLD_MS);
	}
	check_forget(w, i);
	free(known);
	free(tags);
	tell_status(w, i);
}

void world_leave(struct world *w, size_t i)
{
	struct membership_event event = {.type = MEMBERSHIP_LEAVE};
	world_step(w, i, &event);
}

void world_status(struct world *w, size_t i, struct member_status status, const char *tags)
{
	struct sim_node *n = &w->node[i];
	n->status = status;
	if (tags) {
		n->own_tags.bytes = (uint8_t)strnlen(tags, MEMBERSHIP_TAGS_MAX);
		memcpy(n->own_tags.text, tags, n->own_tags.bytes);
	}
	if (n->up && !n->asleep)
		tell_status(w, i);
}

/* --- cuts */

void world_cut(struct world *w, size_t from, size_t to, bool both)
{
	if (!w->cut || from == to)
		return;
	w->cut[from * w->count + to] = 1;
	if (both)
		w->cut[to * w->count + from] = 1;
}

void world_split(struct world *w, size_t sides)
{
	w->split = true;
	for (size_t i = 0; i < w->count; i++)
		w->side[i] = (uint32_t)world_below(w, sides);
}

void world_heal(struct world *w)
{
	w->split = false;
	if (w->cut)
		memset(w->cut, 0, w->count * w->count);
}

/* --- the run */

bool world_run(struct world *w, uint64_t us)
{
	uint64_t end = w->now + us;
	while (w->failure[0] == '\0' && w->heap_count > 0 && w->heap[0].time_us <= end) {
		struct sim_event event = pop(w);
		struct sim_node *n = &w->node[event.kind == EVENT_PACKET ? 0 : event.what];
		w->now = event.time_us;
		w->events++;
		switch (event.kind) {
		case EVENT_WAKE:
			on_wake(w, event.what);
			break;
		case EVENT_TIMER:
			if (n->timer_us == event.time_us && !n->asleep)
				run_timer(w, event.what);
			break;
		case EVENT_PACKET:
			deliver(w, event.what);
			break;
		case EVENT_SLICE:
			on_slice(w, event.what);
			break;
		}
	}
	w->now = end;
	return w->failure[0] == '\0';
}

static const uint64_t *sort_ids;

static int by_id(const void *a, const void *b)
{
	uint64_t x = sort_ids[*(const uint16_t *)a], y = sort_ids[*(const uint16_t *)b];
	return x < y ? -1 : x > y;
}

static void make_table(struct world *w)
{
	w->id = must_alloc(w->count, sizeof(*w->id));
	w->by_id = must_alloc(w->count, sizeof(*w->by_id));
	for (size_t i = 0; i < w->count; i++) {
		w->id[i] = (i + 1) * 0x9e3779b97f4a7c15ull;
		w->by_id[i] = (uint16_t)i;
	}
	sort_ids = w->id;
	qsort(w->by_id, w->count, sizeof(*w->by_id), by_id);
	w->table = (struct wire_table){.count = (uint16_t)w->count, .id = w->id, .by_id = w->by_id};
}

/* Everybody knows everybody, as after a long time without any event. */
static void settle(struct world *w)
{
	for (size_t i = 0; i < w->count; i++) {
		struct sim_node *n = &w->node[i];
		for (size_t j = 0; j < w->count; j++) {
			struct member *x = &n->member[j];
			const struct member *truth = &w->node[j].member[j];
			if (i == j)
				continue;
			struct membership_record r = {.index = (uint16_t)j,
						      .state = MEMBER_ALIVE,
						      .generation = truth->generation,
						      .incarnation = truth->incarnation,
						      .boot_id = w->node[j].boot,
						      .status = truth->status,
						      .tagged = true};
			membership_restore(&n->m, &r, NULL, world_clock_us(w, n) / WORLD_MS);
			x->version = w->node[j].version;
			x->direct = true;
			if (w->count <= WORLD_SESSIONS_MAX)
				pair_of(w, i, j)->known_boot = w->node[j].boot;
		}
		check_forget(w, i);
	}
}

static void make_node(struct world *w, size_t i)
{
	struct sim_node *n = &w->node[i];
	n->member = must_alloc(w->count, sizeof(*n->member));
	n->order = must_alloc(w->count, sizeof(*n->order));
	n->cases = must_alloc(CASES, sizeof(*n->cases));
	n->pair = must_alloc(pairs_of(w), sizeof(*n->pair));
	if (w->config.tags && w->count <= WORLD_SHADOW_MAX)
		n->tags = must_alloc(w->count, sizeof(*n->tags));
	if (w->count <= WORLD_SHADOW_MAX)
		n->shadow = must_alloc(w->count, sizeof(*n->shadow));
	n->inbox_first = NO_PACKET;
	n->timer_us = WORLD_FOREVER;
	n->version = MEMBERSHIP_VERSION;
	if (w->config.old_every != 0 && i % w->config.old_every == 0)
		n->version = MEMBERSHIP_VERSION_MIN;
}

struct world *world_new(const struct world_config *config)
{
	struct world *w = must_alloc(1, sizeof(*w));
	w->config = *config;
	w->count = config->nodes;
	w->now = WORLD_SECOND;
	w->random = config->seed;
	w->packet_free = NO_PACKET;
	w->net = (struct world_network){.delay_us = 300, .jitter_us = 2000};
	w->node = must_alloc(w->count, sizeof(*w->node));
	w->side = must_alloc(w->count, sizeof(*w->side));
	w->killed = must_alloc(w->count, sizeof(*w->killed));
	w->newest_life = must_alloc(w->count, sizeof(*w->newest_life));
	if (w->count <= WORLD_SHADOW_MAX)
		w->cut = must_alloc(w->count, w->count);
	make_table(w);
	for (size_t i = 0; i < w->count; i++)
		make_node(w, i);
	for (size_t i = 0; i < w->count && !config->apart; i++) {
		if (!config->settled || w->count <= 64)
			world_run(w, world_below(w, 200 * WORLD_MS / (w->count / 8 + 1)));
		world_boot(w, i);
	}
	if (config->settled)
		settle(w);
	/* Their ticks shall not coincide. */
	for (size_t i = 0; i < w->count && config->settled; i++)
		w->node[i].m.tick_due_ms += world_below(w, 200);
	return w;
}

void world_free(struct world *w)
{
	for (size_t i = 0; i < w->count; i++) {
		struct sim_node *n = &w->node[i];
		free(n->member);
		free(n->order);
		free(n->tags);
		free(n->cases);
		free(n->pair);
		free(n->shadow);
	}
	free(w->node);
	free(w->side);
	free(w->killed);
	free(w->newest_life);
	free(w->cut);
	free(w->id);
	free(w->by_id);
	free(w->heap);
	free(w->packet);
	free(w);
}
