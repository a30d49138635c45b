/* The beginning, the tick, and which rule an event is for. */
#include "src/cluster/membership.h"

#include <string.h>

#include "src/cluster/step.h"

/*
 * With all at their default, for a member killed the moment after it was last heard: others are
 * asked at 0.42 s, it is suspect at 0.6 s and, three others agreeing, dead at 0.85 s.
 * docs/GOSSIP.md has the reasons.
 */
const struct membership_timers membership_timers_default = {
	.tick_ms = 200,
	.ask_ms = 420,
	.suspect_ms = 600,
	.suspicion_min_ms = 250,
	.suspicion_max_ms = 2000,
	.fresh_ms = 1000,
	.spread_ticks = 6,
	.digest_ticks = 5,
	.leave_ms = 800,
};

/* Probes that got no answer are repeated each tick, so many of them. */
#define REPEATS 16

/* --- the tick */

static void probe_one(struct step *s, size_t index)
{
	struct membership *m = s->m;
	struct member *x = &m->member[index];
	struct membership_action *action = act_send(s, index);
	if (!action)
		return;
	bool mesh = is_mesh(m);
	action->digest = !mesh || (m->tick + index) % m->timers.digest_ticks == 0;
	action->reply = !mesh || (is_active(x) && judge_is_silent(s, x, m->timers.ask_ms));
	if (!mesh && is_active(x) && x->probe_ms == 0) {
		x->probe_ms = s->now;
		judge_watch(m, index);
	}
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

/* A lost packet is no lost member: whom we wait for is asked again. */
static void probe_unanswered(struct step *s)
{
	struct membership *m = s->m;
	size_t repeats = 0;
	for (size_t i = m->watch_first; i != MEMBERSHIP_NONE && repeats < REPEATS;
	     i = m->member[i].watch_next) {
		const struct member *x = &m->member[i];
		if (x->state == MEMBER_ALIVE && x->probe_ms != 0) {
			act_send_reply_wanted(s, i);
			repeats++;
		}
	}
}

/* Rounds in an order that is new each time; of the absent ones, which answer nothing, one a tick.
 */
static void probe_round(struct step *s)
{
	struct membership *m = s->m;
	size_t probed = 0, absent = 0;
	probe_unanswered(s);
	for (size_t n = 0; n < 4 * MEMBERSHIP_PROBES && probed < MEMBERSHIP_PROBES; n++) {
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
	bool all_told = is_mesh(m);
	for (size_t i = 0; i < m->count && is_mesh(m); i++) {
		if (i == m->self || !is_active(&m->member[i]) || m->member[i].told)
			continue;
		all_told = false;
		if (repeat)
			act_send_reply_wanted(s, i);
	}
	/* Beyond mesh size some are told, and the rumour does the rest. */
	for (size_t n = 0; n < 2 * MEMBERSHIP_PROBES && repeat && !is_mesh(m); n++) {
		size_t i = random_below(m, m->count);
		if (i != m->self && is_active(&m->member[i]))
			act_send_reply_wanted(s, i);
	}
	if (all_told || s->now - m->leaving_ms >= m->timers.leave_ms)
		act_gone(s);
}

static void tick(struct step *s)
{
	struct membership *m = s->m;
	uint64_t late = s->now - m->tick_due_ms;
	m->tick++;
	if (late > m->timers.tick_ms / 2) {
		m->late_ticks++;
		judge_health_worse(m, 1);
	} else if (++m->good_ticks % m->timers.digest_ticks == 0 && m->health > 0) {
		m->health--;
	}
	if (late >= m->timers.tick_ms)
		judge_forgive(s, late);
	m->tick_due_ms += m->timers.tick_ms;
	if (m->tick_due_ms <= s->now)
		m->tick_due_ms = s->now + m->timers.tick_ms;

	if (m->gone)
		return;
	if (m->leaving_ms != 0) {
		say_goodbye(s, true);
		return;
	}
	if (is_mesh(m))
		probe_mesh(s);
	else
		probe_round(s);
}

/* --- events */

static void on_time(struct step *s, const struct membership_event *event)
{
	struct membership *m = s->m;
	bool due = is_mesh(m) || s->now >= m->judge_due_ms || s->now >= m->tick_due_ms;
	m->random ^= event->random;
	if (m->random == 0)
		m->random = 1;
	if (s->now >= m->tick_due_ms)
		tick(s);
	if (due)
		judge_all(s);
}

static bool set_own_tags(struct membership *m, const struct member_tags *tags)
{
	struct member *self = &m->member[m->self];
	if (!tags || !m->tags)
		return false;
	uint32_t hash = membership_tags_hash(tags->text, tags->bytes);
	if (hash == self->tags_hash)
		return false;
	m->tags[m->self] = *tags;
	self->tags_hash = hash;
	self->tags_missing = false;
	return true;
}

static void on_status(struct step *s, const struct membership_event *event)
{
	struct membership *m = s->m;
	struct member *self = &m->member[m->self];
	if (m->leaving_ms != 0)
		return;
	bool tags = set_own_tags(m, event->tags);
	if (same_status(&self->status, &event->status) && !tags)
		return;
	self->status = event->status;
	self->news_tags |= tags;
	if (self->incarnation < MEMBERSHIP_LIVES_MAX)
		self->incarnation++;
	act_changed(s, m->self, MEMBER_CHANGE_UPDATED);
	act_shout(s, false);
}

static void on_leave(struct step *s)
{
	struct membership *m = s->m;
	if (m->leaving_ms != 0)
		return;
	m->leaving_ms = s->now;
	for (size_t i = 0; i < m->count; i++)
		m->member[i].told = false;
	act_state(s, m->self, MEMBER_LEFT, MEMBER_CHANGE_NUMBERS);
	m->shouted_ms = 0;
	act_shout(s, true);
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
			hear_contact(&s, event);
		break;
	case MEMBERSHIP_HEARTBEAT:
		if (event->from < m->count && event->from != m->self)
			hear_heartbeat(&s, event);
		break;
	case MEMBERSHIP_STATUS:
		on_status(&s, event);
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

/* --- the beginning */

static uint32_t log2_up(size_t n)
{
	uint32_t log = 0;
	while (log < 16 && ((size_t)1 << log) < n)
		log++;
	return log;
}

static void set_sizes(struct membership *m)
{
	uint32_t log = log2_up(m->count);
	if (is_mesh(m)) {
		m->scale_permille = 1000;
		m->news_limit = (uint8_t)(m->timers.spread_ticks * (m->count - 1));
	} else {
		m->scale_permille = 1000 * log / 3;
		m->news_limit = (uint8_t)(4 * log);
	}
}

void membership_init(struct membership *m, const struct membership_config *config, uint64_t now_ms)
{
	memset(m, 0, sizeof(*m));
	memset(config->member, 0, sizeof(*config->member) * config->count);
	memset(config->cases, 0, sizeof(*config->cases) * config->case_count);
	if (config->tags)
		memset(config->tags, 0, sizeof(*config->tags) * config->count);
	m->timers = *config->timers;
	m->member = config->member;
	m->order = config->order;
	m->tags = config->tags;
	m->cases = config->cases;
	m->case_count = config->case_count;
	m->version = config->version;
	m->count = config->count;
	m->self = config->self;
	m->cursor = config->count;
	m->watch_first = m->news_first = m->news_last = m->free_case = MEMBERSHIP_NONE;
	m->tick_due_ms = m->judge_due_ms = now_ms;
	m->random = 1 + config->self;
	m->digest_cursor = (uint16_t)config->self;
	set_sizes(m);
	for (size_t i = 0; i < m->count; i++) {
		struct member *x = &m->member[i];
		m->order[i] = (uint16_t)i;
		x->since_ms = now_ms;
		x->trouble = x->watch_next = x->news_next = MEMBERSHIP_NONE;
	}
	for (size_t i = m->case_count; i-- > 0;) {
		m->cases[i].member = MEMBERSHIP_NONE;
		m->cases[i].next = m->free_case;
		m->free_case = (uint16_t)i;
	}
	struct member *self = &m->member[m->self];
	self->state = MEMBER_ALIVE;
	self->generation = 1;
	self->boot_id = config->boot_id;
	self->version = m->version;
	act_news(m, m->self);
}

void membership_keep(struct membership *m, size_t index, const struct member *known,
		     const struct member_tags *tags)
{
	struct member *x = &m->member[index];
	if (index == m->self && known->boot_id != x->boot_id)
		return;
	struct member fresh = *x;
	*x = *known;
	/* Indices in these are the old table's. */
	x->trouble = fresh.trouble;
	x->watched = fresh.watched;
	x->watch_next = fresh.watch_next;
	x->news = fresh.news;
	x->news_next = fresh.news_next;
	x->news_left = 0;
	x->agreed = 0;
	x->asked = false;
	if (m->tags && tags && tags->bytes <= MEMBERSHIP_TAGS_MAX)
		m->tags[index] = *tags;
	else
		x->tags_missing = m->tags && x->tags_hash != 0;
	if (index == m->self)
		act_news(m, index);
	else if (is_active(x))
		judge_watch(m, index);
}

void membership_restore(struct membership *m, const struct membership_record *known,
			const struct member_tags *tags, uint64_t now_ms)
{
	if (known->index >= m->count || known->boot_id == 0 || known->state == MEMBER_UNKNOWN ||
	    known->state > MEMBER_LEFT || known->generation > MEMBERSHIP_LIVES_MAX ||
	    known->incarnation >= MEMBERSHIP_LIVES_MAX)
		return;
	struct member *x = &m->member[known->index];
	if (known->index == m->self) {
		if (known->boot_id != x->boot_id)
			return;
		x->generation = known->generation;
		x->incarnation = known->incarnation + 1;
		x->status = known->status;
		if (tags && tags->bytes <= MEMBERSHIP_TAGS_MAX)
			set_own_tags(m, tags);
		return;
	}
	x->boot_id = known->boot_id;
	x->generation = known->generation;
	x->incarnation = known->incarnation;
	x->status = known->status;
	x->state = known->state;
	x->since_ms = now_ms;
	x->tags_hash = known->tags_hash;
	x->tags_missing = m->tags && known->tags_hash != 0;
	if (m->tags && tags && tags->bytes <= MEMBERSHIP_TAGS_MAX &&
	    membership_tags_hash(tags->text, tags->bytes) == known->tags_hash) {
		m->tags[known->index] = *tags;
		x->tags_missing = false;
	}
	if (is_active(x)) {
		x->evidence_ms = now_ms;
		judge_watch(m, known->index);
	}
}
