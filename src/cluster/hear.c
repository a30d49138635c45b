/* What others say: of themselves, of us, of third ones; and their questions. */
#include "src/cluster/step.h"

#include <string.h>

/*
 * Numbers only grow; so who got others to believe in a number close to the largest would silence
 * its holder for good. Hearsay that leaps further than that ahead is not believed, and what a
 * member says itself overrules it.
 */
#define LIFE_LEAP (1u << 20)

static bool leaps(const struct member *x, uint32_t generation, uint32_t incarnation)
{
	return (generation > x->generation && generation - x->generation > LIFE_LEAP) ||
	       (generation == x->generation && incarnation > x->incarnation &&
		incarnation - x->incarnation > LIFE_LEAP);
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

/* --- taking over */

/* The tags of a record of the same or a newer life. */
static bool take_tags(struct membership *m, size_t index, const struct membership_record *r,
		      const char *text, bool newer)
{
	struct member *x = &m->member[index];
	uint32_t before = x->tags_hash;
	if (!r->tagged) {
		/* Told by somebody who knows of no tags: they may be others now. */
		if (newer)
			x->tags_hash = 0;
	} else if (newer || before == 0 || r->tags_hash > before) {
		x->tags_hash = r->tags_hash;
	} else if (r->tags_hash != before) {
		return false;
	}
	if (x->tags_hash != before)
		x->tags_missing = m->tags && x->tags_hash != 0;
	if (m->tags && x->tags_hash == 0)
		m->tags[index].bytes = 0;
	bool came = m->tags && x->tags_missing && r->tagged && r->tags_bytes != 0 &&
		    r->tags_hash == x->tags_hash;
	if (came) {
		m->tags[index].bytes = r->tags_bytes;
		memcpy(m->tags[index].text, text + r->tags_at, r->tags_bytes);
		x->tags_missing = false;
	}
	if (came || x->tags_hash != before)
		x->news_tags = true;
	return came || (x->tags_hash != before && x->tags_hash == 0);
}

/* Numbers, boot, status and tags; what changed by that, as act_state() and act_changed() want it.
 */
static enum member_change adopt(struct step *s, size_t index, const struct membership_record *r,
				const char *text, bool direct)
{
	struct member *x = &s->m->member[index];
	/* Another boot may have come to the same numbers while nobody could tell it better. */
	bool newer =
		compare_lives(r->generation, r->incarnation, x) != 0 || x->boot_id != r->boot_id;
	enum member_change what = MEMBER_CHANGE_NUMBERS;
	if (!same_status(&x->status, &r->status))
		what = MEMBER_CHANGE_UPDATED;
	if (x->state != MEMBER_UNKNOWN && x->boot_id != r->boot_id && r->state == MEMBER_ALIVE)
		what = MEMBER_CHANGE_JOINED;
	if (newer && x->state == MEMBER_SUSPECT) {
		/* Another statement is accused, if it is: the time it has to object starts anew. */
		x->since_ms = s->now;
		x->agreed = 0;
	}
	x->generation = r->generation;
	x->incarnation = r->incarnation;
	x->boot_id = r->boot_id;
	x->status = r->status;
	x->direct = direct;
	if (take_tags(s->m, index, r, text, newer) && what == MEMBER_CHANGE_NUMBERS)
		what = MEMBER_CHANGE_UPDATED;
	struct membership_case *c = judge_case(s->m, index, false);
	if (c && compare_lives(c->accused_generation, c->accused_incarnation, x) < 0)
		c->accused_state = 0;
	if (newer)
		act_news(s->m, index);
	return what;
}

static void become(struct step *s, size_t index, uint8_t state, enum member_change what, bool news)
{
	struct member *x = &s->m->member[index];
	if (x->state == state && what == MEMBER_CHANGE_NUMBERS && news)
		act_changed(s, index, what);
	else
		act_state(s, index, state, what);
}

/* --- what others say of us */

static void on_own_record(struct step *s, size_t from, const struct membership_record *r)
{
	struct membership *m = s->m;
	struct member *self = &m->member[m->self];
	int newer = compare_lives(r->generation, r->incarnation, self);
	bool other = !same_status(&r->status, &self->status) ||
		     (r->tagged && m->tags && r->tags_hash != self->tags_hash);

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
	} else if (newer > 0 || (newer == 0 && (r->state != MEMBER_ALIVE || other))) {
		/* Newer than what we know of ourselves, or other words under the same number: said
		 * by the process of this boot that we replace. */
		if (r->incarnation >= MEMBERSHIP_LIVES_MAX)
			return;
		self->generation = r->generation;
		self->incarnation = r->incarnation + 1;
		m->objections++;
		if (r->state == MEMBER_SUSPECT)
			judge_health_worse(m, 1);
	} else {
		return;
	}
	self->news_tags = self->tags_hash != 0;
	act_changed(s, m->self, MEMBER_CHANGE_NUMBERS);
	act_shout(s, false);
}

/* --- what a member says of itself: nobody knows better. `fresh`: and it hears us. */

/* Its numbers are behind what is remembered of it: told, it takes the ones after. An accusation
 * that waits to be passed on must not take the place of that. */
static void tell_its_past(struct step *s, size_t from)
{
	struct membership_case *c = judge_case(s->m, from, false);
	if (c)
		c->accused_state = 0;
	act_send_about(s, from, from);
}

static void on_statement(struct step *s, const struct membership_event *event,
			 const struct membership_record *r, bool fresh)
{
	size_t from = event->from;
	struct member *x = &s->m->member[from];
	if (r->boot_id != event->boot_id || !event->newest ||
	    (r->state != MEMBER_ALIVE && r->state != MEMBER_LEFT))
		return;

	int newer = compare_lives(r->generation, r->incarnation, x);
	bool known = x->state != MEMBER_UNKNOWN;
	if (known && x->boot_id != r->boot_id && r->generation <= x->generation &&
	    x->generation < MEMBERSHIP_LIVES_MAX) {
		tell_its_past(s, from);
		return;
	}
	struct member said = {.generation = r->generation, .incarnation = r->incarnation};
	if (known && x->boot_id == r->boot_id && newer < 0 &&
	    (x->direct || !leaps(&said, x->generation, x->incarnation))) {
		tell_its_past(s, from);
		return;
	}
	if (x->state == MEMBER_LEFT && x->boot_id == r->boot_id && newer <= 0)
		return;

	enum member_change what = adopt(s, from, r, event->heartbeat->text, true);
	bool news = newer != 0 || !known;
	if (r->state == MEMBER_LEFT) {
		become(s, from, MEMBER_LEFT, what, news);
	} else if (fresh || newer > 0 || !known) {
		if (!is_active(x) || newer > 0) {
			x->evidence_ms = s->now;
			x->probe_ms = 0;
		}
		become(s, from, MEMBER_ALIVE, what, news);
	} else if (what != MEMBER_CHANGE_NUMBERS) {
		act_changed(s, from, what);
	}
}

/* --- what others say of third ones */

/* Somebody whom we asked about it has spoken. */
static void helper_answered(struct step *s, size_t from, size_t index)
{
	struct membership_case *c = judge_case(s->m, index, false);
	for (size_t i = 0; c && i < MEMBERSHIP_HELPERS; i++) {
		if (c->helper[i] == from)
			c->helper[i] = MEMBERSHIP_NONE;
	}
}

/* Two that disagree must not come to shout at each other. */
static void tell_better(struct step *s, size_t to, size_t about)
{
	if (s->now - s->m->member[to].sent_ms >= s->m->timers.tick_ms / 2)
		act_send_about(s, to, about);
}

/* Not believed; but the accused shall know, and object, and the accuser is told better. */
static void pass_on_accusation(struct step *s, size_t from, const struct membership_record *r)
{
	struct membership *m = s->m;
	struct member *x = &m->member[r->index];
	struct membership_case *c = judge_case(m, r->index, true);
	m->disbelieved++;
	if (c) {
		bool again =
			c->accused_state == r->state && c->accused_incarnation == r->incarnation;
		c->accused_state = r->state;
		c->accused_generation = r->generation;
		c->accused_incarnation = r->incarnation;
		c->accused_boot_id = r->boot_id;
		if (!again || s->now - x->sent_ms >= m->timers.tick_ms / 2)
			act_send(s, r->index);
	}
	tell_better(s, from, r->index);
}

static void agree(struct step *s, size_t from, const struct membership_record *r)
{
	struct membership *m = s->m;
	struct member *x = &m->member[r->index];
	/* In a mesh everyone speaks for himself; beyond, agreement has to be passed on. */
	uint16_t agreed = x->agreed;
	if (r->own)
		agreed |= (uint16_t)(1u << from % 16);
	if (!is_mesh(m))
		agreed |= r->agreed;
	if (agreed == x->agreed)
		return;
	x->agreed = agreed;
	if (!is_mesh(m))
		act_news(m, r->index);
	judge_soon(m, r->index);
}

static void on_accusation(struct step *s, size_t from, const struct membership_record *r,
			  const char *text)
{
	struct membership *m = s->m;
	size_t index = r->index;
	struct member *x = &m->member[index];
	int newer = compare_lives(r->generation, r->incarnation, x);
	bool known = x->state != MEMBER_UNKNOWN;
	if (newer < 0) {
		tell_better(s, from, index);
		return;
	}
	if (known && leaps(x, r->generation, r->incarnation))
		return;
	if (judge_is_vivid(s, x)) {
		pass_on_accusation(s, from, r);
		return;
	}
	/* Two boots of one name that ended at the same numbers: any order will do, if it is one. */
	bool twin = newer == 0 && known && !is_active(x) && r->state == x->state &&
		    r->boot_id > x->boot_id;
	if (newer > 0 || r->state > x->state || twin) {
		bool was_own = x->own;
		enum member_change what = adopt(s, index, r, text, false);
		become(s, index, r->state, what, newer > 0);
		x->own = was_own && is_active(x);
		if (r->state == MEMBER_SUSPECT) {
			/* Beyond mesh size the rounds probe it soon enough; a question of everyone
			 * at once would drown it. */
			if (is_mesh(m) || random_below(m, m->count) < 2 * MEMBERSHIP_PROBES)
				act_send_reply_wanted(s, index);
			if (!is_mesh(m) && x->probe_ms == 0)
				x->probe_ms = s->now;
			judge_soon(m, index);
		}
	} else if (r->boot_id == x->boot_id && take_tags(m, index, r, text, false)) {
		act_changed(s, index, MEMBER_CHANGE_UPDATED);
	}
	if (x->state == MEMBER_SUSPECT && x->boot_id == r->boot_id)
		agree(s, from, r);
}

static void on_rumour(struct step *s, size_t from, const struct membership_record *r,
		      const char *text, bool fresh)
{
	struct membership *m = s->m;
	size_t index = r->index;
	struct member *x = &m->member[index];
	helper_answered(s, from, index);
	if (r->state != MEMBER_ALIVE) {
		on_accusation(s, from, r, text);
		return;
	}
	int newer = compare_lives(r->generation, r->incarnation, x);
	bool known = x->state != MEMBER_UNKNOWN;
	bool witness = fresh && r->heard_age_ms != MEMBERSHIP_AGE_NEVER;
	uint64_t when = s->now > r->heard_age_ms ? s->now - r->heard_age_ms : 1;

	if (newer > 0 || !known) {
		bool hears = is_active(x) && x->direct && x->heard_ms != 0 &&
			     s->now - x->heard_ms < patience(m, m->timers.ask_ms);
		if (known && leaps(x, r->generation, r->incarnation))
			return;
		if (is_mesh(m) && hears)
			return; /* it tells us itself */
		uint64_t heard_ms = x->heard_ms;
		enum member_change what = adopt(s, index, r, text, false);
		x->evidence_ms = s->now;
		x->probe_ms = 0;
		become(s, index, MEMBER_ALIVE, what, true);
		if (is_mesh(m) && witness && s->now - heard_ms > patience(m, m->timers.ask_ms))
			act_send_reply_wanted(s, index);
	} else if (newer == 0 && r->boot_id == x->boot_id) {
		if (take_tags(m, index, r, text, false))
			act_changed(s, index, MEMBER_CHANGE_UPDATED);
		if (witness && is_active(x))
			judge_evidence(s, index, when);
	}
}

/* --- questions */

static void on_question(struct step *s, size_t from, size_t index)
{
	struct membership *m = s->m;
	struct member *x = &m->member[index];
	if (index == m->self || !is_active(x)) {
		act_send_about(s, from, index);
		return;
	}
	if (x->heard_ms != 0 && s->now - x->heard_ms <= m->timers.tick_ms * 3 / 2) {
		act_send_about(s, from, index);
		return;
	}
	/* No, so far: our silence would look like the member's. But we try, and pass on what comes.
	 */
	act_send_nack(s, from, index);
	struct membership_case *c = judge_case(m, index, true);
	if (!c)
		return;
	list_add(c->asker, (uint16_t)from);
	act_send_reply_wanted(s, index);
}

/* One that was called dead comes back by its own word (on_statement): it is told, and objects. */
static void heard(struct step *s, size_t from)
{
	struct membership *m = s->m;
	m->member[from].heard_ms = s->now;
	struct membership_case *c = judge_case(m, from, false);
	for (size_t i = 0; c && i < MEMBERSHIP_HELPERS && c->asker[i] != MEMBERSHIP_NONE; i++)
		act_send_about(s, c->asker[i], from);
	if (c)
		judge_list_clear(c->asker);
	judge_evidence(s, from, s->now);
}

static void on_digests(struct step *s, size_t from, const struct membership_heartbeat *hb)
{
	struct membership *m = s->m;
	for (size_t i = 0; i < hb->digest_count; i++) {
		const struct membership_digest *d = &hb->digest[i];
		if (d->segment >= tell_segments(m) || tell_digest(m, d->segment) == d->hash)
			continue;
		m->differences++;
		struct membership_action *action = act_send(s, from);
		/* There is room for one; not always the same one. */
		if (action && (action->segment == MEMBERSHIP_NONE || random_below(m, 2) == 0))
			action->segment = d->segment;
	}
}

static void note_version(struct membership *m, const struct membership_event *event)
{
	if (event->version != 0)
		m->member[event->from].version = event->version;
}

void hear_heartbeat(struct step *s, const struct membership_event *event)
{
	struct membership *m = s->m;
	const struct membership_heartbeat *hb = event->heartbeat;
	size_t from = event->from;
	bool fresh = event->age_ms <= patience(m, m->timers.fresh_ms);
	note_version(m, event);
	if (fresh)
		heard(s, from);

	for (size_t i = 0; i < hb->record_count; i++) {
		const struct membership_record *r = &hb->record[i];
		if (r->index >= m->count || r->state == MEMBER_UNKNOWN || r->boot_id == 0)
			continue;
		if (r->index == m->self)
			on_own_record(s, from, r);
		else if (r->index == from)
			on_statement(s, event, r, fresh);
		else
			on_rumour(s, from, r, hb->text, fresh);
	}
	for (size_t i = 0; i < hb->ask_count; i++) {
		if (hb->ask[i] < m->count && hb->ask[i] != from)
			on_question(s, from, hb->ask[i]);
	}
	for (size_t i = 0; i < hb->nack_count; i++) {
		if (hb->nack[i] < m->count)
			helper_answered(s, from, hb->nack[i]);
	}
	on_digests(s, from, hb);
	if (hb->reply)
		act_send(s, from);
}

void hear_contact(struct step *s, const struct membership_event *event)
{
	note_version(s->m, event);
	heard(s, event->from);
	struct membership_action *action = act_send(s, event->from);
	if (action)
		action->full = action->digest = true;
}
