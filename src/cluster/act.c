/* What a step asks its caller to do, and the list of what the others shall hear. */
#include "src/cluster/step.h"

#include <string.h>

/* xorshift64*; good enough to spread load, no secret hangs on it. */
uint32_t random_below(struct membership *m, size_t limit)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return (uint32_t)(((m->random * 0x2545f4914f6cdd1dull) >> 33) % limit);
}

/* --- packets */

static struct membership_action *add_action(struct step *s, enum membership_action_type type,
					    size_t index)
{
	struct membership_action *action = &s->actions->action[s->actions->count++];
	memset(action, 0, sizeof(*action));
	action->type = type;
	action->index = (uint16_t)index;
	action->segment = MEMBERSHIP_NONE;
	return action;
}

struct membership_action *act_send(struct step *s, size_t index)
{
	for (size_t i = 0; i < s->actions->count; i++) {
		struct membership_action *action = &s->actions->action[i];
		if (action->type == MEMBERSHIP_SEND && action->index == index)
			return action;
	}
	if (s->sends == STEP_SENDS_MAX || s->m->gone || index == s->m->self)
		return NULL;
	s->sends++;
	s->m->member[index].sent_ms = s->now;
	return add_action(s, MEMBERSHIP_SEND, index);
}

void act_send_reply_wanted(struct step *s, size_t index)
{
	struct membership_action *action = act_send(s, index);
	if (action)
		action->reply = true;
}

void act_send_about(struct step *s, size_t to, size_t about)
{
	struct membership_action *action = act_send(s, to);
	if (action && action->about_count < MEMBERSHIP_ASKS_MAX)
		action->about[action->about_count++] = (uint16_t)about;
}

void act_send_question(struct step *s, size_t to, size_t about)
{
	struct membership_action *action = act_send(s, to);
	if (action && action->ask_count < MEMBERSHIP_ASKS_MAX)
		action->ask[action->ask_count++] = (uint16_t)about;
}

void act_send_nack(struct step *s, size_t to, size_t about)
{
	struct membership_action *action = act_send(s, to);
	if (action && action->nack_count < MEMBERSHIP_ASKS_MAX)
		action->nack[action->nack_count++] = (uint16_t)about;
}

void act_shout(struct step *s, bool reply)
{
	struct membership *m = s->m;
	act_news(m, m->self);
	if (m->shouted_ms != 0 && s->now - m->shouted_ms < m->timers.tick_ms / 10)
		return;
	m->shouted_ms = s->now;
	size_t start = random_below(m, m->count), sent = 0;
	size_t limit = is_mesh(m) ? m->count : 2 * MEMBERSHIP_PROBES;
	for (size_t n = 0; n < m->count && sent < limit; n++) {
		size_t i = (start + n) % m->count;
		if (i == m->self || !is_active(&m->member[i]))
			continue;
		struct membership_action *action = act_send(s, i);
		if (action)
			action->reply |= reply;
		sent++;
	}
}

void act_gone(struct step *s)
{
	s->m->gone = true;
	add_action(s, MEMBERSHIP_GONE, s->m->self);
}

/* --- changes */

void act_news(struct membership *m, size_t index)
{
	struct member *x = &m->member[index];
	x->news_left = m->news_limit;
	if (x->news || m->count < 2)
		return;
	/* In front: what is new must not wait behind what has been told often. */
	x->news = true;
	x->news_next = m->news_first;
	m->news_first = (uint16_t)index;
	if (m->news_last == MEMBERSHIP_NONE)
		m->news_last = (uint16_t)index;
	m->news_count++;
}

void act_changed(struct step *s, size_t index, enum member_change what)
{
	struct membership *m = s->m;
	struct member *x = &m->member[index];
	act_news(m, index);
	/* Never full: judging stops before that, and a packet holds fewer records. */
	if (s->changes == STEP_CHANGES_MAX)
		return;
	s->changes++;
	if (what != MEMBER_CHANGE_NUMBERS)
		m->changes++;
	struct membership_action *action = add_action(s, MEMBERSHIP_CHANGED, index);
	action->change = (struct membership_change){
		.sequence = m->changes,
		.what = (uint8_t)what,
		.state = x->state,
		.ready = x->status.ready,
		.generation = x->generation,
		.incarnation = x->incarnation,
		.boot_id = x->boot_id,
	};
}

static enum member_change change_to(uint8_t before, uint8_t state)
{
	switch (state) {
	case MEMBER_SUSPECT:
		return MEMBER_CHANGE_SUSPECT;
	case MEMBER_DEAD:
		return MEMBER_CHANGE_DEAD;
	case MEMBER_LEFT:
		return MEMBER_CHANGE_LEFT;
	default:
		return before == MEMBER_SUSPECT ? MEMBER_CHANGE_ALIVE : MEMBER_CHANGE_JOINED;
	}
}

void act_state(struct step *s, size_t index, uint8_t state, enum member_change what)
{
	struct member *x = &s->m->member[index];
	uint8_t before = x->state;
	if (state != MEMBER_SUSPECT && state != MEMBER_DEAD)
		x->own = false;
	if (state != MEMBER_SUSPECT)
		x->agreed = 0;
	if (state == MEMBER_ALIVE && x->evidence_ms == 0)
		x->evidence_ms = s->now;
	if (before != state) {
		x->state = state;
		x->since_ms = s->now;
		if (what != MEMBER_CHANGE_JOINED || state != MEMBER_ALIVE)
			what = change_to(before, state);
	}
	if (!is_active(x)) {
		x->probe_ms = 0;
		x->asked = false;
		judge_close_case(s->m, index);
	} else if (index != s->m->self && (is_mesh(s->m) || state == MEMBER_SUSPECT)) {
		judge_watch(s->m, index);
	}
	if (before != state || what != MEMBER_CHANGE_NUMBERS)
		act_changed(s, index, what);
}
