/* What silence means: asking others, suspicion, death; and how far one's own ears are trusted. */
#include "src/cluster/step.h"

#include <string.h>

/* Beyond mesh size, deadlines are looked at in one go at most that often, so that the loss of half
 * of a large cluster costs one pass, not one for each. */
#define JUDGE_PAUSE_MS 25

/* --- cases */

void judge_list_clear(uint16_t list[MEMBERSHIP_HELPERS])
{
	for (size_t i = 0; i < MEMBERSHIP_HELPERS; i++)
		list[i] = MEMBERSHIP_NONE;
}

struct membership_case *judge_case(struct membership *m, size_t index, bool make)
{
	struct member *x = &m->member[index];
	if (x->trouble != MEMBERSHIP_NONE)
		return &m->cases[x->trouble];
	if (!make || m->free_case == MEMBERSHIP_NONE)
		return NULL;
	struct membership_case *c = &m->cases[m->free_case];
	x->trouble = m->free_case;
	m->free_case = c->next;
	m->cases_used++;
	memset(c, 0, sizeof(*c));
	c->member = (uint16_t)index;
	judge_list_clear(c->helper);
	judge_list_clear(c->asker);
	return c;
}

void judge_close_case(struct membership *m, size_t index)
{
	struct member *x = &m->member[index];
	if (x->trouble == MEMBERSHIP_NONE)
		return;
	struct membership_case *c = &m->cases[x->trouble];
	c->member = MEMBERSHIP_NONE;
	c->next = m->free_case;
	m->free_case = x->trouble;
	x->trouble = MEMBERSHIP_NONE;
	m->cases_used--;
}

/* --- silence */

/* Since when the member owes a sign of life; 0: it owes none. */
static uint64_t owing_since(const struct membership *m, const struct member *x)
{
	return is_mesh(m) ? x->evidence_ms : x->probe_ms;
}

bool judge_is_silent(const struct step *s, const struct member *x, uint32_t ms)
{
	uint64_t since = owing_since(s->m, x);
	return since != 0 && s->now - since >= patience(s->m, ms);
}

/*
 * Heard of lately enough that nobody needs to be believed who calls it gone. Doubt of oneself makes
 * that longer, but not for one who is suspect here, too: two who both hesitate would contradict
 * each other.
 */
bool judge_is_vivid(const struct step *s, const struct member *x)
{
	uint64_t limit_ms = s->m->timers.ask_ms;
	if (x->state == MEMBER_ALIVE)
		limit_ms = patience(s->m, s->m->timers.ask_ms);
	return (is_active(x) || x->state == MEMBER_UNKNOWN) && x->evidence_ms != 0 &&
	       s->now - x->evidence_ms < limit_ms;
}

/* A sign of life at `when`, not after now. */
void judge_evidence(struct step *s, size_t index, uint64_t when)
{
	struct membership *m = s->m;
	struct member *x = &m->member[index];
	if (when <= x->evidence_ms)
		return;
	x->evidence_ms = when;
	if (when >= x->probe_ms)
		x->probe_ms = 0;
	if (!judge_is_silent(s, x, m->timers.ask_ms)) {
		struct membership_case *c = judge_case(m, index, false);
		x->asked = false;
		if (c && c->asker[0] == MEMBERSHIP_NONE && c->accused_state == 0)
			judge_close_case(m, index);
	}
	if (x->state == MEMBER_SUSPECT && !judge_is_silent(s, x, m->timers.suspect_ms))
		act_state(s, index, MEMBER_ALIVE, MEMBER_CHANGE_NUMBERS);
}

void judge_health_worse(struct membership *m, uint32_t by)
{
	m->good_ticks = 0;
	m->health = m->health + by > MEMBERSHIP_HEALTH_MAX ? MEMBERSHIP_HEALTH_MAX : m->health + by;
}

/* --- suspicion */

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

static size_t confirmers(const struct member *x)
{
	size_t count = (size_t)__builtin_popcount(x->agreed);
	if (x->own && count > 0)
		count--;
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
	size_t agree = confirmers(&m->member[suspect]);
	if (agree > MEMBERSHIP_HELPERS)
		agree = MEMBERSHIP_HELPERS;
	uint64_t span = m->timers.suspicion_max_ms - m->timers.suspicion_min_ms;
	uint64_t ms = m->timers.suspicion_max_ms - span * permille[possible][agree] / 1000;
	return ms * m->scale_permille / 1000 * (1 + m->health);
}

static void ask_others(struct step *s, size_t index)
{
	struct membership *m = s->m;
	struct membership_case *c = judge_case(m, index, true);
	m->member[index].asked = true;
	act_send_reply_wanted(s, index);
	if (c) {
		judge_list_clear(c->helper);
		c->helpers = 0;
	}
	size_t start = random_below(m, m->count), asked = 0;
	for (size_t n = 0; n < m->count && asked < MEMBERSHIP_HELPERS; n++) {
		size_t i = (start + n) % m->count;
		if (i == m->self || i == index || m->member[i].state != MEMBER_ALIVE)
			continue;
		act_send_question(s, i, index);
		asked++;
		if (c && m->member[i].version >= 2 && m->version >= 2)
			c->helper[c->helpers++] = (uint16_t)i;
	}
}

/* Lifeguard's nack: when not one of those who were asked said so much as "no", the fault may well
 * be ours. */
static void doubt_own_ears(struct step *s, size_t index)
{
	struct membership_case *c = judge_case(s->m, index, false);
	if (!c || c->helpers == 0)
		return;
	for (size_t i = 0; i < c->helpers; i++) {
		if (c->helper[i] == MEMBERSHIP_NONE)
			return;
	}
	/* Once for all who fell silent together. */
	s->m->unhelped++;
	if (s->m->doubted_ms != 0 && s->now - s->m->doubted_ms < s->m->timers.fresh_ms)
		return;
	s->m->doubted_ms = s->now;
	judge_health_worse(s->m, 1);
}

static void suspect(struct step *s, size_t index)
{
	struct membership *m = s->m;
	struct member *x = &m->member[index];
	m->suspicions++;
	doubt_own_ears(s, index);
	x->own = true;
	x->agreed |= (uint16_t)(1u << m->self % 16);
	act_state(s, index, MEMBER_SUSPECT, MEMBER_CHANGE_NUMBERS);
	act_news(m, index);
	ask_others(s, index);
	/* Whoever agrees, or knows better, shall say so before the suspicion runs out. */
	for (size_t i = 0; i < m->count && is_mesh(m); i++) {
		if (i != m->self && i != index && m->member[i].state == MEMBER_ALIVE)
			act_send_about(s, i, index);
	}
}

static void judge(struct step *s, size_t index)
{
	struct membership *m = s->m;
	struct member *x = &m->member[index];
	if (x->state == MEMBER_ALIVE) {
		if (judge_is_silent(s, x, m->timers.suspect_ms))
			suspect(s, index);
		else if (!x->asked && judge_is_silent(s, x, m->timers.ask_ms))
			ask_others(s, index);
	} else if (x->state == MEMBER_SUSPECT) {
		if (!x->own && judge_is_silent(s, x, m->timers.suspect_ms))
			suspect(s, index);
		if (s->now - x->since_ms >= suspicion_ms(m, index))
			act_state(s, index, MEMBER_DEAD, MEMBER_CHANGE_NUMBERS);
	}
}

/* --- the list of those that may have to be judged */

static bool needs_watch(const struct membership *m, const struct member *x)
{
	return is_active(x) && (is_mesh(m) || x->state == MEMBER_SUSPECT || x->probe_ms != 0);
}

void judge_watch(struct membership *m, size_t index)
{
	struct member *x = &m->member[index];
	if (!x->watched) {
		x->watched = true;
		x->watch_next = m->watch_first;
		m->watch_first = (uint16_t)index;
	}
	judge_soon(m, index);
}

static uint64_t deadline(const struct membership *m, size_t index)
{
	const struct member *x = &m->member[index];
	uint64_t since = owing_since(m, x), next = UINT64_MAX;
	if (x->state == MEMBER_SUSPECT)
		next = x->since_ms + suspicion_ms(m, index);
	if (since != 0 && !x->own) {
		bool ask = x->state == MEMBER_ALIVE && !x->asked;
		uint64_t judged =
			since + patience(m, ask ? m->timers.ask_ms : m->timers.suspect_ms);
		next = judged < next ? judged : next;
	}
	return next;
}

void judge_soon(struct membership *m, size_t index)
{
	if (is_mesh(m) || !is_active(&m->member[index]))
		return;
	uint64_t due = deadline(m, index);
	m->judge_due_ms = due < m->judge_due_ms ? due : m->judge_due_ms;
}

void judge_all(struct step *s)
{
	struct membership *m = s->m;
	uint16_t *link = &m->watch_first;
	uint64_t due = UINT64_MAX;
	while (*link != MEMBERSHIP_NONE) {
		size_t index = *link;
		struct member *x = &m->member[index];
		/* What finds no room now has its deadline behind it, and comes with the next step.
		 */
		if (needs_watch(m, x) && s->changes < STEP_CHANGES_MAX / 2)
			judge(s, index);
		if (!needs_watch(m, x)) {
			*link = x->watch_next;
			x->watched = false;
			continue;
		}
		if (!is_mesh(m)) {
			uint64_t next = deadline(m, index);
			due = next < due ? next : due;
		}
		link = &x->watch_next;
	}
	m->judge_due_ms = due > s->now + JUDGE_PAUSE_MS ? due : s->now + JUDGE_PAUSE_MS;
}

uint64_t membership_next_ms(const struct membership *m)
{
	uint64_t next = m->tick_due_ms;
	if (!is_mesh(m))
		return m->judge_due_ms < next ? m->judge_due_ms : next;
	for (size_t i = 0; i < m->count; i++) {
		if (i == m->self || !is_active(&m->member[i]))
			continue;
		uint64_t due = deadline(m, i);
		next = due < next ? due : next;
	}
	return next;
}

/* Somebody who was not running saw nobody: the others' clocks of silence stood still, too. */
void judge_forgive(struct step *s, uint64_t gap)
{
	struct membership *m = s->m;
	for (size_t i = m->watch_first; i != MEMBERSHIP_NONE; i = m->member[i].watch_next) {
		struct member *x = &m->member[i];
		if (!is_active(x))
			continue;
		x->evidence_ms = x->evidence_ms + gap > s->now ? s->now : x->evidence_ms + gap;
		if (x->probe_ms != 0)
			x->probe_ms = x->probe_ms + gap > s->now ? s->now : x->probe_ms + gap;
		if (x->state == MEMBER_SUSPECT)
			x->since_ms = x->since_ms + gap > s->now ? s->now : x->since_ms + gap;
	}
}
