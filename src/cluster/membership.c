#include "src/cluster/membership.h"

#include <string.h>

/*
 * With all at their default, for a member killed the moment after it was last heard: others are
 * asked at 0.4 s, it is suspect at 0.7 s and, three others agreeing, dead at 1.0 s. docs/GOSSIP.md
 * has the reasons.
 */
const struct membership_timers membership_timers_default = {
	.tick_ms = 200,
	.ask_ms = 400,
	.suspect_ms = 700,
	.suspicion_min_ms = 300,
	.suspicion_max_ms = 2000,
	.fresh_ms = 1000,
	.spread_ms = 1200,
	.digest_ticks = 5,
	.leave_ms = 800,
};

/* Room is kept for both kinds of action, so that neither pushes the other out. */
#define SENDS_MAX   160
#define CHANGES_MAX (MEMBERSHIP_ACTIONS_MAX - SENDS_MAX - 1)

struct step {
	struct membership *m;
	struct membership_actions *actions;
	size_t sends, changes;
	uint64_t now;
};

static bool is_active(const struct member *x)
{
	return x->state == MEMBER_ALIVE || x->state == MEMBER_SUSPECT;
}

static bool is_mesh(const struct membership *m)
{
	return m->count <= MEMBERSHIP_MESH_MAX;
}

static uint64_t patience(const struct membership *m, uint32_t ms)
{
	return (uint64_t)ms * (1 + m->health);
}

/* xorshift64*; good enough to spread load, no secret hangs on it. */
static uint32_t random_below(struct membership *m, size_t limit)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return (uint32_t)(((m->random * 0x2545f4914f6cdd1dull) >> 33) % limit);
}

static int compare_lives(uint32_t generation, uint32_t incarnation, const struct member *x)
{
	if (generation != x->generation)
		return generation < x->generation ? -1 : 1;
	if (incarnation != x->incarnation)
		return incarnation < x->incarnation ? -1 : 1;
	return 0;
}

static bool same_status(const struct member_status *a, const struct member_status *b)
{
	return a->ready == b->ready && a->services == b->services &&
	       a->services_ready == b->services_ready && a->services_failed == b->services_failed;
}

static void list_clear(uint16_t list[MEMBERSHIP_HELPERS])
{
	for (size_t i = 0; i < MEMBERSHIP_HELPERS; i++)
		list[i] = MEMBERSHIP_NONE;
}

static void list_add(uint16_t list[MEMBERSHIP_HELPERS], uint16_t index)
{
	for (size_t i = 0; i < MEMBERSHIP_HELPERS; i++) {
		if (list[i] == index)
			return;
		if (list[i] == MEMBERSHIP_NONE) {
			list[i] = index;
			return;
		}
	}
}

static size_t list_count(const uint16_t list[MEMBERSHIP_HELPERS])
{
	size_t count = 0;
	while (count < MEMBERSHIP_HELPERS && list[count] != MEMBERSHIP_NONE)
		count++;
	return count;
}

/* --- actions */

static struct membership_action *find_action(struct step *s, enum membership_action_type type,
					     size_t index)
{
	for (size_t i = 0; i < s->actions->count; i++) {
		struct membership_action *action = &s->actions->action[i];
		if (action->type == type && action->index == index)
			return action;
	}
	return NULL;
}

static struct membership_action *add_action(struct step *s, enum membership_action_type type,
					    size_t index)
{
	struct membership_action *action = &s->actions->action[s->actions->count++];
	memset(action, 0, sizeof(*action));
	action->type = type;
	action->index = (uint16_t)index;
	return action;
}

/* The one heartbeat that this step sends to `index`; NULL when there is no room (the next tick
 * makes up for it). */
static struct membership_action *send_to(struct step *s, size_t index)
{
	struct membership_action *action = find_action(s, MEMBERSHIP_SEND, index);
	if (action)
		return action;
	if (s->sends == SENDS_MAX || s->m->gone || index == s->m->self)
		return NULL;
	s->sends++;
	s->m->member[index].sent_ms = s->now;
	return add_action(s, MEMBERSHIP_SEND, index);
}

static void send_reply_wanted(struct step *s, size_t index)
{
	struct membership_action *action = send_to(s, index);
	if (action)
		action->reply = true;
}

static void send_about(struct step *s, size_t to, size_t about)
{
	struct membership_action *action = send_to(s, to);
	if (action && action->about_count < MEMBERSHIP_ASKS_MAX)
		action->about[action->about_count++] = (uint16_t)about;
}

static void send_question(struct step *s, size_t to, size_t about)
{
	struct membership_action *action = send_to(s, to);
	if (action && action->ask_count < MEMBERSHIP_ASKS_MAX)
		action->ask[action->ask_count++] = (uint16_t)about;
}

/* Nothing is lost when there is no room: judging stops before that, and a packet holds fewer
 * records. */
static void changed(struct step *s, size_t index)
{
	s->m->member[index].changed_ms = s->now;
	if (find_action(s, MEMBERSHIP_CHANGED, index) || s->changes == CHANGES_MAX)
		return;
	s->changes++;
	add_action(s, MEMBERSHIP_CHANGED, index);
}

static void set_state(struct step *s, size_t index, uint8_t state)
{
	struct member *x = &s->m->member[index];
	if (state != MEMBER_SUSPECT && state != MEMBER_DEAD)
		x->own = false;
	if (state != MEMBER_SUSPECT)
		list_clear(x->confirmer);
	if (state == MEMBER_ALIVE && x->evidence_ms == 0)
		x->evidence_ms = s->now;
	if (x->state == state)
		return;
	x->state = state;
	x->since_ms = s->now;
	if (state != MEMBER_ALIVE && state != MEMBER_SUSPECT)
		list_clear(x->asker);
	changed(s, index);
}

/* Something that all should hear without waiting for the next tick; but a quarrel must not become a
 * storm. */
static void shout(struct step *s, bool reply)
{
	struct membership *m = s->m;
	m->member[m->self].changed_ms = s->now;
	if (m->shouted_ms != 0 && s->now - m->shouted_ms < m->timers.tick_ms / 10)
		return;
	m->shouted_ms = s->now;
	size_t start = random_below(m, m->count), sent = 0;
	for (size_t n = 0; n < m->count; n++) {
		size_t i = (start + n) % m->count;
		if (i == m->self || !is_active(&m->member[i]))
			continue;
		struct membership_action *action = send_to(s, i);
		if (action)
			action->reply |= reply;
		if (++sent == MEMBERSHIP_HELPERS && !is_mesh(m))
			break;
	}
}

static void health_worse(struct membership *m, uint32_t by)
{
	m->good_ticks = 0;
	m->health = m->health + by > MEMBERSHIP_HEALTH_MAX ? MEMBERSHIP_HEALTH_MAX : m->health + by;
}

/* --- judging silence */

/* Since when the member owes a sign of life; 0: it owes none. */
static uint64_t owing_since(const struct membership *m, const struct member *x)
{
	return is_mesh(m) ? x->evidence_ms : x->probe_ms;
}

static bool silent_for(const struct step *s, const struct member *x, uint32_t ms)
{
	uint64_t since = owing_since(s->m, x);
	return since != 0 && s->now - since >= patience(s->m, ms);
}

/* Heard of lately enough that nobody needs to be believed who calls it gone. */
static bool is_vivid(const struct step *s, const struct member *x)
{
	return is_active(x) && x->evidence_ms != 0 &&
	       s->now - x->evidence_ms < patience(s->m, s->m->timers.ask_ms);
}

/* A sign of life at `when`, not after now. */
static void evidence(struct step *s, size_t index, uint64_t when)
{
	struct member *x = &s->m->member[index];
	if (when <= x->evidence_ms)
		return;
	x->evidence_ms = when;
	if (when >= x->probe_ms)
		x->probe_ms = 0;
	if (!silent_for(s, x, s->m->timers.ask_ms))
		x->asked_ms = 0;
	if (x->state == MEMBER_SUSPECT && !silent_for(s, x, s->m->timers.suspect_ms))
		set_state(s, index, MEMBER_ALIVE);
}

/* Others than oneself and the suspect who might agree. */
static size_t possible_confirmers(const struct membership *m, size_t suspect)
{
	size_t count = 0;
	for (size_t i = 0; i < m->count && count < MEMBERSHIP_HELPERS; i++) {
		if (i != m->self && i != suspect && m->member[i].state == MEMBER_ALIVE)
			count++;
	}
	return count;
}

/*
 * Lifeguard: from max down to min with the logarithm of those who agree. With two members nobody
 * can agree, and waiting for it would only be slow: half of the way.
 */
static uint64_t suspicion_ms(const struct membership *m, size_t suspect)
{
	static const uint32_t permille[MEMBERSHIP_HELPERS + 1][MEMBERSHIP_HELPERS + 1] = {
		{500, 500, 500, 500},
		{0, 1000, 1000, 1000},
		{0, 631, 1000, 1000},
		{0, 500, 792, 1000},
	};
	size_t possible = possible_confirmers(m, suspect);
	size_t agree = list_count(m->member[suspect].confirmer);
	uint64_t span = m->timers.suspicion_max_ms - m->timers.suspicion_min_ms;
	uint64_t ms = m->timers.suspicion_max_ms - span * permille[possible][agree] / 1000;
	return ms * (1 + m->health);
}

static void ask_others(struct step *s, size_t index)
{
	struct membership *m = s->m;
	m->member[index].asked_ms = s->now;
	send_reply_wanted(s, index);
	size_t start = random_below(m, m->count), asked = 0;
	for (size_t n = 0; n < m->count && asked < MEMBERSHIP_HELPERS; n++) {
		size_t i = (start + n) % m->count;
		if (i == m->self || i == index || m->member[i].state != MEMBER_ALIVE)
			continue;
		send_question(s, i, index);
		asked++;
	}
}

static void suspect(struct step *s, size_t index)
{
	struct membership *m = s->m;
	set_state(s, index, MEMBER_SUSPECT);
	m->member[index].own = true;
	m->member[index].changed_ms = s->now;
	ask_others(s, index);
	/* Whoever agrees, or knows better, shall say so before the suspicion runs out. */
	for (size_t i = 0; i < m->count && is_mesh(m); i++) {
		if (i != m->self && i != index && m->member[i].state == MEMBER_ALIVE)
			send_about(s, i, index);
	}
}

static void judge(struct step *s, size_t index)
{
	struct membership *m = s->m;
	struct member *x = &m->member[index];
	if (x->state == MEMBER_ALIVE) {
		if (silent_for(s, x, m->timers.suspect_ms))
			suspect(s, index);
		else if (x->asked_ms == 0 && silent_for(s, x, m->timers.ask_ms))
			ask_others(s, index);
	} else if (x->state == MEMBER_SUSPECT) {
		if (!x->own && silent_for(s, x, m->timers.suspect_ms))
			suspect(s, index);
		if (s->now - x->since_ms >= suspicion_ms(m, index))
			set_state(s, index, MEMBER_DEAD);
	}
}

static void judge_all(struct step *s)
{
	/* What finds no room now has its deadline behind it, and comes with the next step. */
	for (size_t i = 0; i < s->m->count && s->changes < CHANGES_MAX / 2; i++) {
		if (i != s->m->self && is_active(&s->m->member[i]))
			judge(s, i);
	}
}

static uint64_t deadline(const struct membership *m, size_t index)
{
	const struct member *x = &m->member[index];
	uint64_t since = owing_since(m, x), next = UINT64_MAX;
	if (x->state == MEMBER_SUSPECT)
		next = x->since_ms + suspicion_ms(m, index);
	if (since != 0 && !x->own) {
		bool ask = x->state == MEMBER_ALIVE && x->asked_ms == 0;
		uint64_t judged =
			since + patience(m, ask ? m->timers.ask_ms : m->timers.suspect_ms);
		next = judged < next ? judged : next;
	}
	return next;
}

uint64_t membership_next_ms(const struct membership *m)
{
	uint64_t next = m->tick_due_ms;
	for (size_t i = 0; i < m->count; i++) {
		if (i == m->self || !is_active(&m->member[i]))
			continue;
		uint64_t due = deadline(m, i);
		next = due < next ? due : next;
	}
	return next;
}

/* --- the tick */

/* Somebody who was not running saw nobody: the others' clocks of silence stood still, too. */
static void forgive(struct step *s, uint64_t gap)
{
	for (size_t i = 0; i < s->m->count; i++) {
		struct member *x = &s->m->member[i];
		if (i == s->m->self || !is_active(x))
			continue;
		x->evidence_ms = x->evidence_ms + gap > s->now ? s->now : x->evidence_ms + gap;
		if (x->probe_ms != 0)
			x->probe_ms = x->probe_ms + gap > s->now ? s->now : x->probe_ms + gap;
		if (x->state == MEMBER_SUSPECT)
			x->since_ms = x->since_ms + gap > s->now ? s->now : x->since_ms + gap;
	}
}

static void probe_one(struct step *s, size_t index)
{
	struct membership *m = s->m;
	struct member *x = &m->member[index];
	struct membership_action *action = send_to(s, index);
	if (!action)
		return;
	bool mesh = is_mesh(m);
	action->full = (m->tick + index) % m->timers.digest_ticks == 0;
	action->reply = !mesh || (is_active(x) && silent_for(s, x, m->timers.ask_ms));
	if (!mesh && is_active(x) && x->probe_ms == 0)
		x->probe_ms = s->now;
}

static void probe_mesh(struct step *s)
{
	struct membership *m = s->m;
	for (size_t i = 0; i < m->count; i++) {
		bool turn = m->tick == 1 || (m->tick + i) % m->timers.digest_ticks == 0;
		if (i != m->self && (turn || is_active(&m->member[i])))
			probe_one(s, i);
	}
}

static void shuffle(struct membership *m)
{
	for (size_t i = m->count - 1; i > 0; i--) {
		size_t j = random_below(m, i + 1);
		uint16_t swapped = m->order[i];
		m->order[i] = m->order[j];
		m->order[j] = swapped;
	}
}

/* Rounds in an order that is new each time; of the absent ones, which answer nothing, one a tick.
 */
static void probe_round(struct step *s)
{
	struct membership *m = s->m;
	size_t probed = 0, absent = 0;
	for (size_t n = 0; n < m->count && probed < MEMBERSHIP_PROBES; n++) {
		if (m->cursor >= m->count) {
			m->cursor = 0;
			shuffle(m);
		}
		size_t i = m->order[m->cursor++];
		if (i == m->self || (!is_active(&m->member[i]) && absent++ > 0))
			continue;
		probe_one(s, i);
		probed++;
	}
}

/* `repeat`: tell those again that have not confirmed. */
static void say_goodbye(struct step *s, bool repeat)
{
	struct membership *m = s->m;
	bool all_told = true;
	for (size_t i = 0; i < m->count; i++) {
		if (i == m->self || !is_active(&m->member[i]) || m->member[i].told)
			continue;
		all_told = false;
		if (repeat)
			send_reply_wanted(s, i);
	}
	if (all_told || s->now - m->leaving_ms >= m->timers.leave_ms) {
		m->gone = true;
		add_action(s, MEMBERSHIP_GONE, m->self);
	}
}

static void tick(struct step *s)
{
	struct membership *m = s->m;
	uint64_t late = s->now - m->tick_due_ms;
	m->tick++;
	if (late > m->timers.tick_ms / 2) {
		m->late_ticks++;
		health_worse(m, 1);
	} else if (++m->good_ticks % m->timers.digest_ticks == 0 && m->health > 0) {
		m->health--;
	}
	if (late >= m->timers.tick_ms)
		forgive(s, late);
	m->tick_due_ms += m->timers.tick_ms;
	if (m->tick_due_ms <= s->now)
		m->tick_due_ms = s->now + m->timers.tick_ms;

	if (m->gone)
		return;
	if (m->leaving_ms != 0)
		say_goodbye(s, true);
	else if (is_mesh(m))
		probe_mesh(s);
	else
		probe_round(s);
}

static void on_time(struct step *s, const struct membership_event *event)
{
	s->m->random ^= event->random;
	if (s->m->random == 0)
		s->m->random = 1;
	if (s->now >= s->m->tick_due_ms)
		tick(s);
	judge_all(s);
}

/* --- what is heard */

/* What others say of us. */
static void on_own_record(struct step *s, size_t from, const struct membership_record *r)
{
	struct membership *m = s->m;
	struct member *self = &m->member[m->self];
	int newer = compare_lives(r->generation, r->incarnation, self);

	if (r->boot_id != self->boot_id) {
		/* Our last life, most likely. This one comes after it. */
		if (r->generation < self->generation || r->generation >= MEMBERSHIP_LIVES_MAX)
			return;
		m->conflicts++;
		self->generation = r->generation + 1;
		self->incarnation = 0;
	} else if (m->leaving_ms != 0) {
		if (r->state == MEMBER_LEFT && newer >= 0)
			m->member[from].told = true;
		return;
	} else if (newer > 0 || (newer == 0 && r->state != MEMBER_ALIVE)) {
		/* Newer than what we know of ourselves: said by the process of this boot that we
		 * replace. */
		if (r->incarnation >= MEMBERSHIP_LIVES_MAX)
			return;
		self->generation = r->generation;
		self->incarnation = r->incarnation + 1;
		if (r->state == MEMBER_SUSPECT)
			health_worse(m, 1);
	} else {
		return;
	}
	changed(s, m->self);
	shout(s, false);
}

static void adopt(struct step *s, size_t index, const struct membership_record *r, bool direct)
{
	struct member *x = &s->m->member[index];
	bool news = compare_lives(r->generation, r->incarnation, x) != 0 ||
		    x->boot_id != r->boot_id || !same_status(&x->status, &r->status);
	x->generation = r->generation;
	x->incarnation = r->incarnation;
	x->boot_id = r->boot_id;
	x->status = r->status;
	x->direct = direct;
	if (compare_lives(x->accused_generation, x->accused_incarnation, x) < 0)
		x->accused_state = 0;
	if (news)
		changed(s, index);
}

/* What a member says of itself: nobody knows better. `fresh`: and it hears us. */
static void on_statement(struct step *s, size_t from, const struct membership_event *event,
			 const struct membership_record *r, bool fresh)
{
	struct member *x = &s->m->member[from];
	if (r->boot_id != event->boot_id || !event->newest ||
	    (r->state != MEMBER_ALIVE && r->state != MEMBER_LEFT))
		return;

	int newer = compare_lives(r->generation, r->incarnation, x);
	bool known = x->state != MEMBER_UNKNOWN;
	if (known && x->boot_id != r->boot_id && r->generation <= x->generation &&
	    x->generation < MEMBERSHIP_LIVES_MAX) {
		/* It does not know of its last life yet. Told, it takes the number after it. */
		send_about(s, from, from);
		return;
	}
	if (known && x->boot_id == r->boot_id && newer < 0 && x->direct) {
		send_about(s, from, from);
		return;
	}
	if (x->state == MEMBER_LEFT && x->boot_id == r->boot_id && newer <= 0)
		return;

	adopt(s, from, r, true);
	if (r->state == MEMBER_LEFT) {
		set_state(s, from, MEMBER_LEFT);
	} else if (fresh || newer > 0 || !known) {
		if (!is_active(x) || newer > 0)
			x->evidence_ms = s->now;
		set_state(s, from, MEMBER_ALIVE);
	}
}

static void on_accusation(struct step *s, size_t from, size_t index,
			  const struct membership_record *r)
{
	struct member *x = &s->m->member[index];
	int newer = compare_lives(r->generation, r->incarnation, x);
	if (newer < 0) {
		if (s->now - s->m->member[from].sent_ms >= s->m->timers.tick_ms / 2)
			send_about(s, from, index);
		return;
	}
	if (is_vivid(s, x)) {
		/* Not believed; but it shall know, and object. */
		bool again =
			x->accused_state == r->state && x->accused_incarnation == r->incarnation;
		x->accused_state = r->state;
		x->accused_generation = r->generation;
		x->accused_incarnation = r->incarnation;
		x->accused_boot_id = r->boot_id;
		if (!again || s->now - x->sent_ms >= s->m->timers.tick_ms / 2)
			send_to(s, index);
		send_about(s, from, index);
		return;
	}
	if (newer > 0 || r->state > x->state) {
		bool was_own = x->own;
		adopt(s, index, r, false);
		set_state(s, index, r->state);
		x->own = was_own && is_active(x);
		if (r->state == MEMBER_SUSPECT) {
			send_reply_wanted(s, index);
			if (!is_mesh(s->m) && x->probe_ms == 0)
				x->probe_ms = s->now;
		}
	}
	if (x->state == MEMBER_SUSPECT && r->own)
		list_add(x->confirmer, (uint16_t)from);
}

static void on_rumour(struct step *s, size_t from, const struct membership_record *r, bool fresh)
{
	size_t index = r->index;
	struct member *x = &s->m->member[index];
	if (r->state != MEMBER_ALIVE) {
		on_accusation(s, from, index, r);
		return;
	}
	int newer = compare_lives(r->generation, r->incarnation, x);
	bool witness = fresh && r->heard_age_ms != MEMBERSHIP_AGE_NEVER;
	uint64_t when = s->now > r->heard_age_ms ? s->now - r->heard_age_ms : 1;

	if (newer > 0) {
		bool hears = is_active(x) && x->direct && x->heard_ms != 0 &&
			     s->now - x->heard_ms < patience(s->m, s->m->timers.ask_ms);
		if (hears)
			return; /* it tells us itself */
		adopt(s, index, r, false);
		x->evidence_ms = s->now;
		x->probe_ms = 0;
		set_state(s, index, MEMBER_ALIVE);
		if (witness && s->now - x->heard_ms > patience(s->m, s->m->timers.ask_ms))
			send_reply_wanted(s, index);
	} else if (newer == 0 && witness && r->boot_id == x->boot_id && is_active(x)) {
		evidence(s, index, when);
	}
}

static void on_question(struct step *s, size_t from, size_t index)
{
	struct member *x = &s->m->member[index];
	if (index == s->m->self || !is_active(x)) {
		send_about(s, from, index);
		return;
	}
	if (x->heard_ms != 0 && s->now - x->heard_ms <= s->m->timers.tick_ms * 3 / 2) {
		send_about(s, from, index);
		return;
	}
	list_add(x->asker, (uint16_t)from);
	send_reply_wanted(s, index);
}

/* One that was called dead comes back by its own word (on_statement): it is told, and objects. */
static void heard(struct step *s, size_t from)
{
	struct member *x = &s->m->member[from];
	x->heard_ms = s->now;
	evidence(s, from, s->now);
	for (size_t i = 0; i < list_count(x->asker); i++)
		send_about(s, x->asker[i], from);
	list_clear(x->asker);
}

static void on_heartbeat(struct step *s, const struct membership_event *event)
{
	struct membership *m = s->m;
	const struct membership_heartbeat *hb = event->heartbeat;
	size_t from = event->from;
	bool fresh = event->age_ms <= patience(m, m->timers.fresh_ms);
	if (fresh)
		heard(s, from);

	for (size_t i = 0; i < hb->record_count; i++) {
		const struct membership_record *r = &hb->record[i];
		if (r->index >= m->count || r->state == MEMBER_UNKNOWN || r->boot_id == 0)
			continue;
		if (r->index == m->self)
			on_own_record(s, from, r);
		else if (r->index == from)
			on_statement(s, from, event, r, fresh);
		else
			on_rumour(s, from, r, fresh);
	}
	for (size_t i = 0; i < hb->ask_count; i++) {
		if (hb->ask[i] < m->count && hb->ask[i] != from)
			on_question(s, from, hb->ask[i]);
	}
	if (hb->reply)
		send_to(s, from);
}

static void on_contact(struct step *s, const struct membership_event *event)
{
	heard(s, event->from);
	struct membership_action *action = send_to(s, event->from);
	if (action)
		action->full = true;
}

static void on_status(struct step *s, const struct member_status *status)
{
	struct membership *m = s->m;
	struct member *self = &m->member[m->self];
	if (same_status(&self->status, status) || m->leaving_ms != 0)
		return;
	self->status = *status;
	if (self->incarnation < MEMBERSHIP_LIVES_MAX)
		self->incarnation++;
	changed(s, m->self);
	shout(s, false);
}

static void on_leave(struct step *s)
{
	struct membership *m = s->m;
	if (m->leaving_ms != 0)
		return;
	m->leaving_ms = s->now;
	for (size_t i = 0; i < m->count; i++)
		m->member[i].told = false;
	set_state(s, m->self, MEMBER_LEFT);
	m->shouted_ms = 0;
	shout(s, true);
}

/* --- from outside */

void membership_init(struct membership *m, const struct membership_timers *timers,
		     struct member *table, uint16_t *order, size_t count, size_t self,
		     uint64_t boot_id, uint64_t now_ms)
{
	memset(m, 0, sizeof(*m));
	memset(table, 0, sizeof(*table) * count);
	m->timers = *timers;
	m->member = table;
	m->order = order;
	m->count = count;
	m->self = self;
	m->cursor = count;
	m->tick_due_ms = now_ms;
	m->random = 1;
	for (size_t i = 0; i < count; i++) {
		order[i] = (uint16_t)i;
		list_clear(table[i].confirmer);
		list_clear(table[i].asker);
		table[i].since_ms = now_ms;
	}
	table[self].state = MEMBER_ALIVE;
	table[self].generation = 1;
	table[self].boot_id = boot_id;
	table[self].changed_ms = now_ms;
}

void membership_keep(struct membership *m, size_t index, const struct member *known)
{
	uint64_t boot_id = m->member[index].boot_id;
	if (index == m->self && known->boot_id != boot_id)
		return;
	m->member[index] = *known;
	/* Indices in these are the old table's. */
	list_clear(m->member[index].confirmer);
	list_clear(m->member[index].asker);
}

void membership_step(struct membership *m, const struct membership_event *event, uint64_t now_ms,
		     struct membership_actions *actions)
{
	struct step s = {.m = m, .actions = actions, .now = now_ms};
	actions->count = 0;
	switch (event->type) {
	case MEMBERSHIP_TIME:
		on_time(&s, event);
		break;
	case MEMBERSHIP_CONTACT:
		if (event->from < m->count && event->from != m->self)
			on_contact(&s, event);
		break;
	case MEMBERSHIP_HEARTBEAT:
		if (event->from < m->count && event->from != m->self)
			on_heartbeat(&s, event);
		break;
	case MEMBERSHIP_STATUS:
		on_status(&s, &event->status);
		break;
	case MEMBERSHIP_LEAVE:
		on_leave(&s);
		break;
	}
	/* All may know by now: no need to wait for the tick. */
	if (m->leaving_ms != 0 && !m->gone && event->type != MEMBERSHIP_TIME &&
	    event->type != MEMBERSHIP_LEAVE)
		say_goodbye(&s, false);
}

static void add_record(const struct membership *m, size_t index, size_t to, uint64_t now_ms,
		       struct membership_heartbeat *hb)
{
	const struct member *x = &m->member[index];
	if (x->state == MEMBER_UNKNOWN || hb->record_count == MEMBERSHIP_RECORDS_MAX)
		return;
	for (size_t i = 0; i < hb->record_count; i++) {
		if (hb->record[i].index == index)
			return;
	}
	struct membership_record *r = &hb->record[hb->record_count++];
	*r = (struct membership_record){
		.index = (uint16_t)index,
		.state = x->state,
		.own = x->own,
		.heard_age_ms = MEMBERSHIP_AGE_NEVER,
		.generation = x->generation,
		.incarnation = x->incarnation,
		.boot_id = x->boot_id,
		.status = x->status,
	};
	if (index == m->self)
		r->heard_age_ms = 0;
	else if (x->heard_ms != 0 && now_ms - x->heard_ms < MEMBERSHIP_AGE_NEVER)
		r->heard_age_ms = (uint16_t)(now_ms - x->heard_ms);
	if (index == to && x->accused_state != 0) {
		r->state = x->accused_state;
		r->own = false;
		r->generation = x->accused_generation;
		r->incarnation = x->accused_incarnation;
		r->boot_id = x->accused_boot_id;
	}
}

void membership_fill(const struct membership *m, const struct membership_action *send,
		     uint64_t now_ms, struct membership_heartbeat *hb)
{
	size_t to = send->index;
	const struct member *receiver = &m->member[to];
	memset(hb, 0, sizeof(*hb));
	hb->reply = send->reply;
	hb->ask_count = send->ask_count;
	memcpy(hb->ask, send->ask, sizeof(hb->ask));

	if (receiver->state != MEMBER_ALIVE || receiver->accused_state != 0 || m->leaving_ms != 0)
		add_record(m, to, to, now_ms, hb);
	if (send->full || m->leaving_ms != 0 || receiver->state != MEMBER_ALIVE)
		add_record(m, m->self, to, now_ms, hb);
	for (size_t i = 0; i < send->about_count; i++)
		add_record(m, send->about[i], to, now_ms, hb);
	size_t start = m->count > MEMBERSHIP_RECORDS_MAX ? (m->tick * 8 + to) % m->count : 0;
	for (size_t n = 0; n < m->count; n++) {
		size_t i = (start + n) % m->count;
		uint64_t changed_ms = m->member[i].changed_ms;
		if (changed_ms != 0 && now_ms - changed_ms < m->timers.spread_ms)
			add_record(m, i, to, now_ms, hb);
	}
	for (size_t n = 0; n < m->count && send->full; n++)
		add_record(m, (start + n) % m->count, to, now_ms, hb);
}
